//! What must not be reached: other networks, what isn't published, what is for loopback alone.

use e2e::{Space, Wires, World, needs};
use serde_json::Value;

use super::net_tools::{address, at, from_within, is_deaf_within, mirror};

#[test]
fn what_is_not_published_is_not_reached_by_a_neighbour_who_knows_the_way() {
    needs!(Root, Nftables);
    let w = World::wired();
    mirror(&w, "mm", &["-p", "8080:7", "-p", "8080:7/udp"]);
    let wires = w.wires();
    let inside = address(&w, "mm");
    wires.router.ip("route add 172.16.0.0/12 via 203.0.113.2");
    assert!(wires.server.ask("tcp", &at(&inside, 9)).is_ok(), "the host itself may");
    for space in [&wires.router, &wires.client] {
        for port in [7, 9] {
            space.is_not_heard("tcp", &at(&inside, port));
            space.is_not_heard("udp", &at(&inside, port));
        }
    }
    w.router(["busybox", "ping", "-c1", "-W1", &inside]).code(1);
    assert!(wires.client.ask("tcp", &at(Wires::SERVER, 8080)).is_ok());
    w.remove_all();
}

/// What dhow turned on must not make a router of a machine that was none: docker's answer is the
/// policy DROP of `FORWARD`.
#[test]
fn the_host_forwards_for_nobody_else() {
    needs!(Root, Nftables);
    for bridged in [false, true] {
        forwards_for_nobody_else(bridged);
    }
}

fn forwards_for_nobody_else(bridged: bool) {
    let w = World::wired();
    let wires = w.wires();
    if bridged {
        // The way out is a bridge, as on machines of virtual ones.
        wires.server.ip("link add br0 type bridge
            link set br0 up
            link set eth0 down
            addr flush dev eth0
            link set eth0 master br0
            link set eth0 up
            addr add 203.0.113.2/24 dev br0
            addr add 2001:db8:5::2/64 dev br0 nodad
            route add default via 203.0.113.1
            route add default via 2001:db8:5::1");
    }
    let behind = Space::new();
    wires.server.ip(&format!(
        "link add lan type veth peer name eth0 netns {}
        link set lan up
        addr add 192.0.2.1/24 dev lan
        addr add 2001:db8:b::1/64 dev lan nodad",
        behind.path()
    ));
    behind.ip("link set eth0 up
        addr add 192.0.2.2/24 dev eth0
        addr add 2001:db8:b::2/64 dev eth0 nodad
        route add default via 192.0.2.1
        route add default via 2001:db8:b::1");
    wires.router.ip("route add 192.0.2.0/24 via 203.0.113.2
        route add 2001:db8:b::/64 via 2001:db8:5::2");
    w.dhow(["network", "create", "--ipv6", "--subnet", "fd00:da::/64", "six"]).ok();
    mirror(&w, "mm", &["--network", "six", "-p", "8080:7"]);
    let mut there = w.cmd(w.mirror()).arg("7").space(Some(&behind)).start();
    e2e::until("it listens", || wires.server.ask("tcp", "192.0.2.2:7").is_ok());
    wires.router.is_not_heard("tcp", "192.0.2.2:7");
    wires.router.is_not_heard("tcp", "[2001:db8:b::2]:7");
    // But a container may go there, and who is there may use what is published.
    assert_eq!(from_within(&w, "mm", "192.0.2.2", 7).as_deref(), Some("192.0.2.1"));
    behind.is_seen_as("192.0.2.2", "tcp", "192.0.2.1:8080");
    there.kill().unwrap();
    there.wait().unwrap();
    w.remove_all();
    w.dhow(["network", "rm", "six"]).ok();
    wires.server.ip("link del lan");
    if bridged {
        wires.server.ip("link del br0");
    }
}

/// A machine that forwarded before goes on.
#[test]
fn a_router_stays_one() {
    needs!(Root, Nftables);
    let w = World::wired();
    let wires = w.wires();
    let behind = Space::new();
    wires.server.ip(&format!(
        "link add lan type veth peer name eth0 netns {}
        link set lan up
        addr add 192.0.2.1/24 dev lan",
        behind.path()
    ));
    behind.ip("link set eth0 up
        addr add 192.0.2.2/24 dev eth0
        route add default via 192.0.2.1");
    wires.router.ip("route add 192.0.2.0/24 via 203.0.113.2");
    wires.server.set_sysctl("ipv4/ip_forward", "1");
    let mut there = w.cmd(w.mirror()).arg("7").space(Some(&behind)).start();
    e2e::until("it listens", || wires.router.ask("tcp", "192.0.2.2:7").is_ok());
    mirror(&w, "mm", &["-p", "8080:7"]);
    wires.router.is_seen_as(Wires::ROUTER, "tcp", "192.0.2.2:7");
    there.kill().unwrap();
    there.wait().unwrap();
    w.remove_all();
    wires.server.ip("link del lan");
}

/// Packets that the only rule of a chain of the table `watch` has counted.
fn counted(space: &Space, chain: &str) -> u64 {
    let of_chain =
        |entry: &&Value| entry["rule"]["table"] == "watch" && entry["rule"]["chain"] == chain;
    let rules = space.ruleset();
    let expressions = rules.iter().find(of_chain).unwrap()["rule"]["expr"].as_array().unwrap();
    expressions.iter().find_map(|e| e["counter"]["packets"].as_u64()).unwrap()
}

/// A neighbour sends to 127.0.0.1, to this machine's Ethernet address: what was published for
/// loopback alone was once to be had that way (moby, "127.0.0.1" reached by layer 2 neighbours).
#[test]
fn loopbacks_ports_are_not_reached_by_who_sends_there_from_outside() {
    needs!(Root, Nftables);
    let w = World::wired();
    let wires = w.wires();
    let loopback = ["-p", "127.0.0.1:8080:7", "-p", "127.0.0.1:8080:7/udp", "-p", "8081:7"];
    mirror(&w, "mm", &loopback);
    wires.server.nft(
        "table ip watch {
            chain comes { type filter hook prerouting priority -250;
                iifname eth0 ip daddr 127.0.0.1 counter; }
            chain arrives { type filter hook postrouting priority 300;
                ip saddr 203.0.113.1 oifname != eth0 counter; }
        }",
    );
    wires.router.set_sysctl("ipv4/conf/s/route_localnet", "1");
    wires.router.ip("route del table local local 127.0.0.0/8 dev lo
        route del table local local 127.0.0.1 dev lo
        route add 127.0.0.1 via 203.0.113.2 src 203.0.113.1");
    wires.router.is_not_heard("tcp", "127.0.0.1:8080");
    wires.router.is_not_heard("udp", "127.0.0.1:8080");
    assert!(counted(&wires.server, "comes") >= 2, "the machine was told");
    assert_eq!(counted(&wires.server, "arrives"), 0, "the container wasn't");
    assert!(wires.server.ask("tcp", "127.0.0.1:8080").is_ok());
    wires.router.is_seen_as(Wires::ROUTER, "tcp", &at(Wires::SERVER, 8081));
    assert_ne!(counted(&wires.server, "arrives"), 0, "what arrives is counted");
    assert_eq!(wires.server.sysctl("ipv4/conf/all/route_localnet"), "0");
    assert_eq!(wires.server.sysctl("ipv4/conf/eth0/route_localnet"), "0");
    w.remove_all();
}

#[test]
fn networks_do_not_reach_each_other_unless_a_container_is_in_both() {
    needs!(Root, Nftables);
    let w = World::wired();
    w.dhow(["network", "create", "red"]).ok();
    w.dhow(["network", "create", "blue"]).ok();
    mirror(&w, "rr", &["--network", "red"]);
    mirror(&w, "bb", &["--network", "blue"]);
    mirror(&w, "dd", &[]);
    for (from, to) in [("rr", "bb"), ("bb", "rr"), ("rr", "dd"), ("dd", "rr")] {
        assert!(is_deaf_within(&w, from, &address(&w, to), 7), "{from} reaches {to}");
        w.dhow(["exec", from, "ping", "-c1", "-W1", &address(&w, to)]).code(1);
    }
    w.dhow(["exec", "rr", "nslookup", "bb"]).code(1);
    let red = address(&w, "rr");
    mirror(&w, "both", &["--network", "red", "--network", "blue"]);
    assert!(from_within(&w, "both", "rr", 7).is_some());
    assert!(from_within(&w, "both", "bb", 7).is_some());
    assert_eq!(from_within(&w, "bb", "both", 7), Some(address(&w, "bb")));
    assert!(is_deaf_within(&w, "bb", &red, 7), "no way through who is in both");
    w.remove_all();
    w.dhow(["network", "rm", "red", "blue"]).ok();
}

#[test]
fn an_internal_network_has_no_way_out_and_none_in() {
    needs!(Root, Nftables);
    let w = World::wired();
    let wires = w.wires();
    w.dhow(["network", "create", "--internal", "cellar"]).ok();
    mirror(&w, "mm", &["--network", "cellar", "-p", "8080:7"]);
    mirror(&w, "nn", &["--network", "cellar"]);
    assert_eq!(from_within(&w, "nn", "mm", 7), Some(address(&w, "nn")));
    let mut outside = w.cmd(w.mirror()).arg("77").space(Some(&wires.router)).start();
    e2e::until("it listens", || wires.server.ask("tcp", &at(Wires::ROUTER, 77)).is_ok());
    assert!(is_deaf_within(&w, "nn", Wires::ROUTER, 77));
    w.dhow(["exec", "nn", "ip", "route", "get", Wires::ROUTER]).code(2);
    // Not even by a way of its own making.
    let gateway =
        w.dhow(["network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "cellar"]);
    let gateway = gateway.ok().out();
    mirror(&w, "bold", &["--network", "cellar", "--cap-add", "NET_ADMIN"]);
    w.dhow(["exec", "bold", "ip", "route", "add", "default", "via", &gateway]).ok();
    assert!(is_deaf_within(&w, "bold", Wires::ROUTER, 77));
    wires.router.is_not_heard("tcp", &at(Wires::SERVER, 8080));
    wires.router.ip("route add 172.16.0.0/12 via 203.0.113.2");
    wires.router.is_not_heard("tcp", &at(&address(&w, "mm"), 7));
    outside.kill().unwrap();
    outside.wait().unwrap();
    w.remove_all();
    w.dhow(["network", "rm", "cellar"]).ok();
}

#[test]
fn without_icc_containers_of_a_network_reach_what_is_published_alone() {
    needs!(Root, Nftables);
    let w = World::wired();
    let icc = "com.docker.network.bridge.enable_icc=false";
    w.dhow(["network", "create", "-o", icc, "shy"]).ok();
    mirror(&w, "mm", &["--network", "shy", "-p", "8080:7"]);
    mirror(&w, "nn", &["--network", "shy"]);
    assert!(is_deaf_within(&w, "nn", &address(&w, "mm"), 7));
    assert!(from_within(&w, "nn", Wires::SERVER, 8080).is_some());
    w.remove_all();
    w.dhow(["network", "rm", "shy"]).ok();
}

/// podman 2021-20199, rootless ports: every client looked like 127.0.0.1, and who trusts loopback
/// trusted all. containerd 2020-15257: a socket without a file is to be had from every container
/// in the host's network namespace.
#[test]
fn nobody_from_outside_looks_like_loopback_and_no_socket_is_abstract() {
    needs!(Root, Nftables);
    let w = World::wired();
    let wires = w.wires();
    w.dhow(["network", "create", "--ipv6", "--subnet", "fd00:da::/64", "six"]).ok();
    mirror(&w, "mm", &["-p", "8080:7", "-p", "8080:7/udp"]);
    mirror(&w, "ss", &["--network", "six", "-p", "8081:7", "-p", "8081:7/udp"]);
    for space in [&wires.client, &wires.router, &wires.server] {
        for host in [Wires::SERVER, Wires::SERVER6] {
            for port in [8080, 8081] {
                for protocol in ["tcp", "udp"] {
                    let seen = space.ask(protocol, &at(host, port)).unwrap();
                    assert!(!seen.starts_with("127.") && seen != "::1", "{host}:{port}: {seen}");
                }
            }
        }
    }
    let seen = wires.server.ask("tcp", "127.0.0.1:8080").unwrap();
    assert!(!seen.starts_with("127."), "the host's loopback is not the container's: {seen}");
    let sockets = w.server(["cat", "/proc/net/unix"]).ok().out();
    assert!(!sockets.contains('@'), "{sockets}");
    w.remove_all();
    w.dhow(["network", "rm", "six"]).ok();
}
