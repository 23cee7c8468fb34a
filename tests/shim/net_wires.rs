//! The harness of the network cases itself: what the others rely on.

use e2e::{Space, Wires, World, needs};

#[test]
fn client_and_server_reach_each_other_through_the_router() {
    needs!(Root, Nftables);
    let w = World::wired();
    let wires = w.wires();
    let mut mirror = w.cmd(w.mirror()).args(["7"]).start();
    for (to, seen) in [
        (format!("{}:7", Wires::SERVER), Wires::CLIENT),
        (format!("{}:7", Wires::SECOND), Wires::CLIENT),
        (format!("[{}]:7", Wires::SERVER6), Wires::CLIENT6),
    ] {
        e2e::until("the mirror listens", || wires.client.ask("tcp", &to).is_ok());
        wires.client.is_seen_as(seen, "tcp", &to);
        wires.client.is_seen_as(seen, "udp", &to);
    }
    wires.server.is_seen_as("127.0.0.1", "tcp", "127.0.0.1:7");
    wires.server.is_seen_as("::1", "udp", "[::1]:7");
    wires.client.is_not_heard("udp", &format!("{}:8", Wires::SERVER));
    wires.client.is_not_heard("tcp", &format!("{}:8", Wires::SERVER));
    assert_eq!(wires.server.devices(), ["lo", "eth0"]);
    assert_eq!(wires.server.tables(), [""; 0]);
    assert_eq!(wires.server.sysctl("ipv4/ip_forward"), "0");
    mirror.kill().unwrap();
    mirror.wait().unwrap();
}

#[test]
fn programs_of_a_wired_world_are_not_on_the_machines_network() {
    needs!(Root, Nftables);
    let w = World::wired();
    let ours = std::fs::read_link("/proc/self/ns/net").unwrap().display().to_string();
    let theirs = w.server(["readlink", "/proc/self/ns/net"]).ok().out();
    assert_ne!(ours, theirs);
    assert_eq!(
        w.dhow_cmd([
            "run",
            "--rm",
            "--network",
            "host",
            "busybox",
            "readlink",
            "/proc/self/ns/net"
        ])
        .run()
        .ok()
        .out(),
        theirs
    );
    assert_ne!(w.client(["readlink", "/proc/self/ns/net"]).ok().out(), theirs);
    assert_eq!(Space::new().devices(), ["lo"]);
}
