//! Published ports: who reaches them, from where, and whom the container sees.

use e2e::{Wires, World, needs};

use super::net_tools::{address, at, from_within, mirror, port};

#[test]
fn published_ports_are_reached_from_everywhere_and_sources_are_kept() {
    needs!(Root, Nftables);
    let w = World::wired();
    mirror(&w, "mm", &["-p", "8080:7", "-p", "8080:7/udp", "-p", "8081:9"]);
    mirror(&w, "nn", &[]);
    let (own, gateway) = (address(&w, "nn"), "172.17.0.1");
    let wires = w.wires();
    for protocol in ["tcp", "udp"] {
        let direct = at(Wires::SERVER, 8080);
        wires.client.is_seen_as(Wires::CLIENT, protocol, &direct);
        wires.router.is_seen_as(Wires::ROUTER, protocol, &direct);
        wires.client.is_seen_as(Wires::CLIENT, protocol, &at(Wires::SECOND, 8080));
        // The host itself, by its address and by loopback, where the monitor hands on.
        wires.server.is_seen_as(Wires::SERVER, protocol, &direct);
        wires.server.is_seen_as(gateway, protocol, "127.0.0.1:8080");
        wires.server.is_seen_as(gateway, protocol, "[::1]:8080");
        // The container has no IPv6: the monitor hands that on, too, as docker's proxy does.
        wires.client.is_seen_as(gateway, protocol, &at(Wires::SERVER6, 8080));
        // The host by the container's own address.
        wires.server.is_seen_as(gateway, protocol, &at(&address(&w, "mm"), 7));
    }
    wires.client.is_seen_as(Wires::CLIENT, "tcp", &at(Wires::SERVER, 8081));
    wires.client.is_not_heard("udp", &at(Wires::SERVER, 8081));
    // Containers: to each other directly, and through the host's address, the own one, too.
    let seen = |from: &str, host: &str, port| from_within(&w, from, host, port).unwrap();
    assert_eq!(seen("nn", &address(&w, "mm"), 7), own);
    // KERNEL: with br_netfilter, a bridge's packets pass the rules before they are routed: such a
    // one stays in its bridge, and so does its sender's address.
    for bridges_filter in ["0", "1"] {
        let _ = wires.server.try_sysctl("bridge/bridge-nf-call-iptables", bridges_filter);
        for (from, address) in [("nn", &own), ("mm", &address(&w, "mm"))] {
            let seen = seen(from, Wires::SERVER, 8080);
            assert!(
                seen == gateway || (bridges_filter == "1" && seen == *address),
                "{from}: {seen}"
            );
        }
    }
    w.remove_all();
    wires.client.is_not_heard("tcp", &at(Wires::SERVER, 8080));
    wires.server.is_not_heard("tcp", "127.0.0.1:8080");
}

#[test]
fn containers_of_other_networks_reach_what_is_published_and_nothing_else() {
    needs!(Root, Nftables);
    let w = World::wired();
    w.dhow(["network", "create", "far"]).ok();
    mirror(&w, "mm", &["-p", "8080:7"]);
    mirror(&w, "ff", &["--network", "far"]);
    let seen = |host: &str, port| from_within(&w, "ff", host, port);
    // As with docker, under the other network's address: they know no way to each other.
    assert_eq!(seen(Wires::SERVER, 8080).as_deref(), Some("172.17.0.1"));
    assert_eq!(seen(&address(&w, "mm"), 7), None, "published, but not by that address");
    assert_eq!(seen(&address(&w, "mm"), 9), None);
    w.remove_all();
    w.dhow(["network", "rm", "far"]).ok();
}

#[test]
fn ipv6_is_as_good_as_ipv4() {
    needs!(Root, Nftables);
    let w = World::wired();
    let subnet = "fd00:da::/64";
    w.dhow(["network", "create", "--ipv6", "--subnet", subnet, "six"]).ok();
    mirror(&w, "mm", &["--network", "six", "-p", "8080:7", "-p", "8080:7/udp"]);
    mirror(&w, "nn", &["--network", "six"]);
    let wires = w.wires();
    let format = "{{.NetworkSettings.Networks.six.GlobalIPv6Address}}";
    let own = w.dhow(["inspect", "-f", format, "mm"]).ok().out();
    let other = w.dhow(["inspect", "-f", format, "nn"]).ok().out();
    for protocol in ["tcp", "udp"] {
        wires.client.is_seen_as(Wires::CLIENT6, protocol, &at(Wires::SERVER6, 8080));
        wires.client.is_seen_as(Wires::CLIENT, protocol, &at(Wires::SERVER, 8080));
        wires.server.is_seen_as(Wires::SERVER6, protocol, &at(Wires::SERVER6, 8080));
        wires.server.is_seen_as("fd00:da::1", protocol, "[::1]:8080");
        wires.router.is_seen_as(Wires::ROUTER6, protocol, &at(Wires::SERVER6, 8080));
    }
    let seen = |host: &str, port| from_within(&w, "nn", host, port).unwrap();
    assert_eq!(seen(&own, 7), other);
    assert_eq!(seen(Wires::SERVER6, 8080), "fd00:da::1", "there and back again");
    // Out of it, under the host's address.
    let mut mirror = w.cmd(w.mirror()).arg("77").space(Some(&wires.client)).start();
    e2e::until("a mirror elsewhere", || wires.server.ask("tcp", &at(Wires::CLIENT6, 77)).is_ok());
    assert_eq!(seen(Wires::CLIENT6, 77), Wires::SERVER6);
    assert_eq!(seen(Wires::CLIENT, 77), Wires::SERVER);
    mirror.kill().unwrap();
    mirror.wait().unwrap();
    // A neighbour who knows the way gets nowhere.
    wires.router.ip(&format!("route add {subnet} via {}", Wires::SERVER6));
    for (protocol, port) in [("tcp", 7), ("udp", 7), ("tcp", 9), ("udp", 9)] {
        wires.router.is_not_heard(protocol, &at(&own, port));
    }
    w.remove_all();
    w.dhow(["network", "rm", "six"]).ok();
}

#[test]
fn a_port_is_published_at_the_address_that_was_said_alone() {
    needs!(Root, Nftables);
    let w = World::wired();
    let second = format!("{}:8081:7", Wires::SECOND);
    let six = format!("[{}]:8083:7", Wires::SERVER6);
    mirror(&w, "mm", &["-p", &second, "-p", "127.0.0.1:8082:7", "-p", &six, "-p", "[::1]:8084:7"]);
    let wires = w.wires();
    for space in [&wires.client, &wires.server] {
        assert!(space.ask("tcp", &at(Wires::SECOND, 8081)).is_ok());
        space.is_not_heard("tcp", &at(Wires::SERVER, 8081));
        space.is_not_heard("tcp", &at(Wires::SERVER6, 8081));
        assert!(space.ask("tcp", &at(Wires::SERVER6, 8083)).is_ok());
        space.is_not_heard("tcp", &at(Wires::SERVER, 8083));
        for host in [Wires::SERVER, Wires::SECOND, Wires::SERVER6] {
            space.is_not_heard("tcp", &at(host, 8082));
            space.is_not_heard("tcp", &at(host, 8084));
        }
    }
    wires.server.is_not_heard("tcp", "127.0.0.1:8081");
    assert!(wires.server.ask("tcp", "127.0.0.1:8082").is_ok());
    wires.server.is_not_heard("tcp", "[::1]:8082");
    assert!(wires.server.ask("tcp", "[::1]:8084").is_ok());
    w.remove_all();
}

#[test]
fn what_the_image_exposes_is_published_by_a_capital_p() {
    needs!(Root, Nftables);
    let w = World::wired();
    mirror(&w, "mm", &["-P"]);
    let wires = w.wires();
    for private in ["7/tcp", "7/udp", "9/tcp", "9/udp"] {
        let public = port(&w, "mm", private);
        let protocol = &private[2..];
        wires.client.is_seen_as(Wires::CLIENT, protocol, &at(Wires::SERVER, public));
    }
    assert!(w.dhow(["ps", "--format", "{{.Ports}}"]).ok().out().contains("->7/udp"));
    w.remove_all();
}

#[test]
fn containers_reach_the_outside_under_the_hosts_address() {
    needs!(Root, Nftables);
    let w = World::wired();
    let wires = w.wires();
    let mut outside = w.cmd(w.mirror()).arg("77").space(Some(&wires.client)).start();
    e2e::until("a mirror elsewhere", || wires.server.ask("tcp", &at(Wires::CLIENT, 77)).is_ok());
    let nc = format!("echo 'who asks?' | nc -w 5 {} 77", Wires::CLIENT);
    let run = w.dhow(["run", "--rm", "busybox", "sh", "-c", &nc]).ok();
    assert_eq!(run.lines(), [Wires::SERVER, "who asks?"]);
    w.dhow([
        "network",
        "create",
        "-o",
        "com.docker.network.bridge.enable_ip_masquerade=false",
        "plain",
    ])
    .ok();
    // Nobody answers to an address that nobody knows the way to.
    wires.router.ip("route add 172.16.0.0/12 via 203.0.113.2");
    let run = w.dhow(["run", "--rm", "--network", "plain", "busybox", "sh", "-c", &nc]).ok();
    assert!(run.lines()[0].starts_with("172."), "not masqueraded: {run}");
    w.dhow(["network", "rm", "plain"]).ok();
    outside.kill().unwrap();
    outside.wait().unwrap();
}

#[test]
fn a_port_in_use_is_told_with_who_has_it() {
    needs!(Root, Nftables);
    let w = World::wired();
    mirror(&w, "first", &["-p", "8080:7"]);
    let clash = w.dhow(["run", "-d", "--name", "second", "-p", "8080:7", "mirror"]).code(125);
    clash.err_has("8080").err_has("first");
    w.wires().client.is_seen_as(Wires::CLIENT, "tcp", &at(Wires::SERVER, 8080));
    // A program of the host's is as good a holder.
    let mut other = w.cmd(w.mirror()).arg("8090").start();
    e2e::until("the host's", || w.wires().server.ask("tcp", "127.0.0.1:8090").is_ok());
    w.dhow(["run", "--rm", "-p", "8090:7", "mirror"]).code(125).err_has("8090");
    other.kill().unwrap();
    other.wait().unwrap();
    // Stopped, it has none.
    w.dhow(["stop", "-t", "1", "first"]).ok();
    w.dhow(["start", "second"]).ok();
    w.dhow(["start", "first"]).code(1).err_has("second");
    w.remove_all();
}
