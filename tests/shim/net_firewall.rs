//! dhow's own rules as `network create` and `run` make them; each statement of the rules by itself
//! stands in shim/src/net/nft/tests.

use std::net::UdpSocket;
use std::time::Duration;

use e2e::{Wires, World, needs, until};

fn mirror(w: &World, name: &str, flags: &[&str]) {
    w.dhow([&["run", "-d", "--name", name][..], flags, &["mirror"]].concat()).ok();
}

#[test]
fn a_routed_network_takes_no_port_of_the_host_and_opens_its_own_addresses() {
    needs!(Root, Nftables);
    let w = World::wired();
    let wires = w.wires();
    w.dhow([
        "network",
        "create",
        "--subnet",
        "10.77.0.0/24",
        "-o",
        "com.docker.network.bridge.gateway_mode_ipv4=routed",
        "routed",
    ])
    .ok();
    wires.router.ip("route add 10.77.0.0/24 via 203.0.113.2");
    mirror(&w, "mm", &["--network", "routed", "-p", "8080:7", "-p", "8080:7/udp"]);
    until("the mirror listens", || wires.server.ask("tcp", "10.77.0.2:7").is_ok());
    wires.client.is_seen_as(Wires::CLIENT, "tcp", "10.77.0.2:7");
    wires.client.is_seen_as(Wires::CLIENT, "udp", "10.77.0.2:7");
    w.client(["busybox", "ping", "-c1", "-W20", "10.77.0.2"]).ok();
    wires.client.is_not_heard("tcp", "10.77.0.2:9");
    wires.client.is_not_heard("tcp", &format!("{}:8080", Wires::SERVER));
    // What it sends bears its own address.
    let mut outside = w.cmd(w.mirror()).arg("77").space(Some(&wires.client)).start();
    until("a mirror elsewhere", || {
        wires.server.ask("tcp", &format!("{}:77", Wires::CLIENT)).is_ok()
    });
    let ask = format!("echo 'who asks?' | nc -w 5 {} 77", Wires::CLIENT);
    let run = w.dhow(["run", "--rm", "--network", "routed", "busybox", "sh", "-c", &ask]).ok();
    assert_eq!(run.lines()[0], "10.77.0.3");
    outside.kill().unwrap();
    outside.wait().unwrap();
    w.dhow(["rm", "-f", "mm"]).ok();
    let rules = serde_json::to_string(&wires.server.ruleset()).unwrap();
    assert!(!rules.contains("10.77.0.2"), "{rules}");
    w.dhow(["network", "rm", "routed"]).ok();
}

#[test]
fn a_network_sends_under_the_address_that_was_chosen() {
    needs!(Root, Nftables);
    let w = World::wired();
    let wires = w.wires();
    let chosen = format!("com.docker.network.host_ipv4={}", Wires::SECOND);
    w.dhow(["network", "create", "-o", &chosen, "chosen"]).ok();
    let mut outside = w.cmd(w.mirror()).arg("77").space(Some(&wires.client)).start();
    until("a mirror elsewhere", || {
        wires.server.ask("tcp", &format!("{}:77", Wires::CLIENT)).is_ok()
    });
    let ask = format!("echo 'who asks?' | nc -w 5 {} 77", Wires::CLIENT);
    let run = w.dhow(["run", "--rm", "--network", "chosen", "busybox", "sh", "-c", &ask]).ok();
    assert_eq!(run.lines()[0], Wires::SECOND);
    outside.kill().unwrap();
    outside.wait().unwrap();
    w.dhow(["network", "rm", "chosen"]).ok();
}

/// docker leaves such a client with the container that is gone for as long as it asks.
#[test]
fn a_udp_client_that_goes_on_asking_is_led_to_the_next_container_at_once() {
    needs!(Root, Nftables);
    let w = World::wired();
    let wires = w.wires();
    let client = wires.client.within(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    client.connect(format!("{}:8080", Wires::SERVER)).unwrap();
    client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let answered = || client.send(b"?").is_ok() && client.recv(&mut [0; 64]).is_ok();
    mirror(&w, "one", &["-p", "8080:7/udp"]);
    until("the first answers", answered);
    w.dhow(["rm", "-f", "one"]).ok();
    // The next has another address.
    w.dhow(["run", "-d", "--name", "between", "busybox", "sleep", "100"]).ok();
    mirror(&w, "two", &["-p", "8080:7/udp"]);
    until("the second answers", answered);
    w.dhow(["rm", "-f", "two", "between"]).ok();
}
