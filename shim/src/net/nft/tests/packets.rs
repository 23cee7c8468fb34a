//! What gets through, told by packets.

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use super::super::*;
use super::wires::{Node, Wires};
use super::{network, port, said};
use crate::model::network::Protocol;

/// Two networks, two containers in the first and one in the second.
struct Town {
    wires: Wires,
    table: Table,
    one: Node,
    two: Node,
    far: Node,
    notes: tempfile::TempDir,
}

const ONE: (&str, &str) = ("172.18.0.2", "fd00:18::2");
const TWO: (&str, &str) = ("172.18.0.3", "fd00:18::3");
const FAR: (&str, &str) = ("172.19.0.2", "fd00:19::2");

fn first() -> NetworkRules {
    network("dhow0", &["172.18.0.1/24", "fd00:18::1/64"])
}

fn second() -> NetworkRules {
    network("dh-second", &["172.19.0.1/24", "fd00:19::1/64"])
}

impl Town {
    fn of(first: &NetworkRules, second: &NetworkRules) -> Self {
        let wires = Wires::new();
        wires.bridge("dhow0", &["172.18.0.1/24", "fd00:18::1/64"]);
        wires.bridge("dh-second", &["172.19.0.1/24", "fd00:19::1/64"]);
        let table = Table::named("dhow").unwrap();
        table.ensure(&[first.clone(), second.clone()]).unwrap();
        let notes = tempfile::tempdir().unwrap();
        let town = Self {
            one: wires.container("dhow0", ONE.0, ONE.1),
            two: wires.container("dhow0", TWO.0, TWO.1),
            far: wires.container("dh-second", FAR.0, FAR.1),
            wires,
            table,
            notes,
        };
        town.forward();
        town
    }

    fn new() -> Self {
        Self::of(&first(), &second())
    }

    fn forward(&self) {
        let note = self.notes.path().join("forwarding");
        let want = Forwarding { ipv4: true, ipv6: true, guard: true, note };
        forwarding(&self.table, &want).unwrap();
    }

    fn publish(&self, holder: &str, ports: &[(&str, u16, &str)]) {
        self.table.publish(holder, &both(ports)).unwrap();
        self.table.forget_misled(&both(ports));
    }
}

/// br_netfilter, as docker and kubernetes turn it on.
fn bridged(on: bool) {
    for name in ["iptables", "ip6tables"] {
        let file = format!("/proc/sys/net/bridge/bridge-nf-call-{name}");
        if std::path::Path::new(&file).exists() {
            std::fs::write(file, u8::from(on).to_string()).unwrap();
        }
    }
}

/// By TCP and by UDP.
fn both(ports: &[(&str, u16, &str)]) -> Vec<(Published, IpAddr)> {
    let of = |protocol| {
        ports.iter().map(move |(host, number, inside)| {
            (Published { protocol, ..port(host, *number, 80) }, inside.parse().unwrap())
        })
    };
    of(Protocol::Tcp).chain(of(Protocol::Udp)).collect()
}

#[test]
fn a_published_port_is_reached_from_everywhere_and_tells_who_asks() {
    reached_from_everywhere(false);
}

#[test]
fn it_is_where_bridges_show_the_firewall_what_stays_within_them() {
    reached_from_everywhere(true);
}

fn reached_from_everywhere(bridges: bool) {
    let town = Town::new();
    bridged(bridges);
    let Town { wires, one, two, far, .. } = &town;
    town.publish("one", &[("0.0.0.0", 8080, ONE.0), ("::", 8080, ONE.1)]);
    for (address, client, host) in [
        ("203.0.113.1:8080", "203.0.113.9", "203.0.113.1"),
        ("[2001:db8::1]:8080", "2001:db8::9", "2001:db8::1"),
    ] {
        assert_eq!(wires.client.seen(address), client);
        assert_eq!(wires.client.seen_by_udp(address), client);
        // The machine itself, by one of its own addresses.
        assert_eq!(wires.machine.seen(address), host);
        // The container itself, its neighbour, and one of another network.
        for asker in [far, two, one] {
            asker.seen(address);
            asker.seen_by_udp(address);
        }
    }
    // By any address of the machine, and the other neighbour too.
    assert_eq!(wires.other.seen("203.0.113.1:8080"), "198.51.100.9");
    assert_eq!(two.seen("172.18.0.1:8080"), "172.18.0.1");
    town.table.withdraw("one", &both(&[("0.0.0.0", 8080, ONE.0), ("::", 8080, ONE.1)])).unwrap();
    wires.client.reaches_not("203.0.113.1:8080");
    wires.client.reaches_not("[2001:db8::1]:8080");
}

#[test]
fn nothing_unpublished_is_reached_not_even_by_who_knows_the_way() {
    let town = Town::new();
    let Town { wires, one, two, far, .. } = &town;
    town.publish("one", &[("0.0.0.0", 8080, ONE.0), ("::", 8080, ONE.1)]);
    // The client's default route is the machine: it sends straight to the container's address.
    for (four, six) in [ONE, TWO, FAR] {
        wires.client.reaches_not(&format!("{four}:80"));
        wires.client.reaches_not(&format!("[{six}]:80"));
    }
    // Networks are apart from each other, and their own containers are not.
    one.reaches_not(&format!("{}:80", FAR.0));
    far.reaches_not(&format!("[{}]:80", ONE.1));
    assert_eq!(one.seen(&format!("{}:80", TWO.0)), ONE.0);
    assert_eq!(two.seen_by_udp(&format!("[{}]:80", ONE.1)), TWO.1);
    // The machine reaches them all.
    assert_eq!(wires.machine.seen(&format!("{}:80", FAR.0)), "172.19.0.1");
}

#[test]
fn what_leaves_bears_the_machines_address() {
    let mut apart = second();
    apart.masquerade = false;
    let mut chosen = first();
    chosen.sender4 = Some("203.0.113.77".parse().unwrap());
    let town = Town::of(&chosen, &apart);
    let Town { wires, one, far, .. } = &town;
    wires.client.serve("203.0.113.9:7");
    wires.client.serve("[2001:db8::9]:7");
    said("ip address add 203.0.113.77/24 dev eth0");
    assert_eq!(one.seen("203.0.113.9:7"), "203.0.113.77");
    assert_eq!(one.seen_by_udp("[2001:db8::9]:7"), "2001:db8::1");
    assert_eq!(far.seen("203.0.113.9:7"), FAR.0);
    assert_eq!(far.seen_by_udp("[2001:db8::9]:7"), FAR.1);
}

#[test]
fn an_internal_network_has_no_way_out_or_in() {
    let mut sealed = second();
    sealed.internal = true;
    let town = Town::of(&first(), &sealed);
    let Town { wires, one, far, .. } = &town;
    wires.client.serve("203.0.113.9:7");
    town.publish("one", &[("0.0.0.0", 8080, ONE.0), ("::", 8080, ONE.1)]);
    town.publish("far", &[("0.0.0.0", 8081, FAR.0)]);
    far.reaches_not("203.0.113.9:7");
    // Not even by the monitor's own socket.
    wires.machine.serve("[::]:8080");
    far.reaches_not("203.0.113.1:8080");
    far.reaches_not("[fd00:19::1]:8080");
    let of_bridge = said("ip -6 -o address show dev dh-second scope link | awk '{print $4}'");
    let index = far.run("ip -o link show eth0 | cut -d: -f1");
    let (address, index) = (of_bridge.trim().trim_end_matches("/64"), index.trim());
    far.reaches_not(&format!("[{address}%{index}]:8080"));
    far.reaches_not(&format!("{}:80", ONE.0));
    wires.client.reaches_not("203.0.113.1:8081");
    one.reaches_not("203.0.113.1:8081");
    assert_eq!(one.seen("203.0.113.9:7"), "203.0.113.1");
}

#[test]
fn containers_that_may_not_speak_to_each_other_have_published_ports_all_the_same() {
    for bridges in [false, true] {
        let apart = NetworkRules { icc: false, ..first() };
        let town = Town::of(&apart, &second());
        let Town { wires, one, two, far, .. } = &town;
        bridged(bridges);
        // As link::plug has it.
        said("for p in v1721802 v1721803; do ip link set $p type bridge_slave isolated on; done");
        two.reaches_not(&format!("{}:80", ONE.0));
        two.reaches_not(&format!("[{}]:80", ONE.1));
        town.publish("one", &[("0.0.0.0", 8080, ONE.0), ("::", 8080, ONE.1)]);
        assert_eq!(wires.client.seen("203.0.113.1:8080"), "203.0.113.9");
        far.seen("[2001:db8::1]:8080");
        // Among themselves by the monitor's own socket, which would lead on to the container.
        wires.machine.serve("[::]:8080");
        assert_eq!(two.seen("203.0.113.1:8080"), format!("::ffff:{}", TWO.0));
        assert_eq!(one.seen("[2001:db8::1]:8080"), ONE.1);
        two.seen_by_udp("172.18.0.1:8080");
    }
}

#[test]
fn a_port_of_one_address_is_that_addresses() {
    let town = Town::new();
    let Town { wires, .. } = &town;
    town.publish(
        "one",
        &[("203.0.113.1", 8080, ONE.0), ("2001:db8::1", 8080, ONE.1), ("127.0.0.1", 8081, ONE.0)],
    );
    assert_eq!(wires.client.seen("203.0.113.1:8080"), "203.0.113.9");
    assert_eq!(wires.client.seen("[2001:db8::1]:8080"), "2001:db8::9");
    wires.client.reaches_not("198.51.100.1:8080");
    wires.client.reaches_not("[2001:db8:0:1::1]:8080");
    wires.client.reaches_not("203.0.113.1:8081");
}

#[test]
fn a_port_of_loopback_is_not_reached_by_who_sends_there_from_afar() {
    let town = Town::new();
    let Town { wires, .. } = &town;
    town.publish("one", &[("127.0.0.1", 8081, ONE.0)]);
    // The monitor's own socket.
    wires.machine.serve("127.0.0.1:8081");
    wires.machine.serve("127.0.0.1:8082");
    assert_eq!(wires.machine.seen("127.0.0.1:8081"), "127.0.0.1");
    // The worst of neighbours, on the worst of machines: both route 127.0.0.0/8 (kube-proxy does).
    said("echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet");
    wires.client.run(
        "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet
         ip address flush dev lo
         ip route add 127.0.0.1 via 203.0.113.1 src 203.0.113.9",
    );
    assert_eq!(wires.client.seen("127.0.0.1:8082"), "203.0.113.9", "the attack works");
    wires.client.reaches_not("127.0.0.1:8081");
}

#[test]
fn a_routed_network_is_reached_at_its_own_addresses_where_it_opens_ports() {
    let mut routed = second();
    routed.modes = [GatewayMode::Routed; 2];
    let mut open = first();
    open.modes = [GatewayMode::NatUnprotected, GatewayMode::Nat];
    let town = Town::of(&open, &routed);
    let Town { wires, far, .. } = &town;
    wires.client.serve("203.0.113.9:7");
    assert_eq!(far.seen("203.0.113.9:7"), FAR.0, "not translated");
    let ping = |address: &str| wires.client.run(&format!("ping -c1 -W2 {address}"));
    assert!(ping(FAR.0).contains(" 0% packet loss") && ping(FAR.1).contains(" 0% packet loss"));
    wires.client.reaches_not(&format!("{}:80", FAR.0));
    town.publish("far", &[("0.0.0.0", 0, FAR.0), ("::", 0, FAR.1)]);
    assert_eq!(wires.client.seen(&format!("{}:80", FAR.0)), "203.0.113.9");
    assert_eq!(wires.client.seen_by_udp(&format!("[{}]:80", FAR.1)), "2001:db8::9");
    // All of its ports are open by IPv4 where that was asked for.
    assert_eq!(wires.client.seen(&format!("{}:80", ONE.0)), "203.0.113.9");
    wires.client.reaches_not(&format!("[{}]:80", ONE.1));
}

#[test]
fn udp_clients_follow_a_port_to_its_new_container_at_once() {
    let town = Town::new();
    let Town { wires, .. } = &town;
    let asker = wires.client.asker("203.0.113.1:8080");
    let six = wires.client.asker("[2001:db8::1]:8080");
    // Before: the machine's own socket, as the monitor's.
    wires.machine.serve("0.0.0.0:8080");
    assert_eq!(asker.hears(), "203.0.113.9");
    town.publish("one", &[("0.0.0.0", 8080, ONE.0), ("::", 8080, ONE.1)]);
    let seen = || said("cat /proc/thread-self/net/nf_conntrack");
    assert_eq!(asker.hears(), "203.0.113.9");
    assert!(seen().contains("src=172.18.0.2 "), "{}", seen());
    six.hears();
    // Another container has the port, before the flows of the first are forgotten.
    town.table.withdraw("one", &both(&[("0.0.0.0", 8080, ONE.0), ("::", 8080, ONE.1)])).unwrap();
    town.publish("two", &[("0.0.0.0", 8080, TWO.0), ("::", 8080, TWO.1)]);
    asker.hears();
    six.hears();
    assert!(seen().contains("src=172.18.0.3 "), "{}", seen());
    assert!(seen().contains(":0003 "), "{}", seen());
    // What others have with port 8080 elsewhere goes on.
    wires.client.serve("203.0.113.9:8080");
    let passing = town.far.asker("203.0.113.9:8080");
    passing.hears();
    let flow = |text: String| text.lines().filter(|l| l.contains("src=172.19.0.2")).count();
    assert_eq!(flow(seen()), 1);
    town.publish("three", &[("198.51.100.1", 8080, TWO.0)]);
    town.table.withdraw("two", &both(&[("0.0.0.0", 8080, TWO.0)])).unwrap();
    assert_eq!(flow(seen()), 1);
}

#[test]
fn who_spoke_to_the_last_container_of_an_address_does_not_reach_the_next() {
    let town = Town::new();
    let Town { wires, one, two, .. } = &town;
    let bind = |node: &Node, at: &str| node.within(|| UdpSocket::bind(at).unwrap());
    for (machine, outer, own, other) in [
        ("203.0.113.1", "203.0.113.9:7", ONE.0, TWO.0),
        ("[2001:db8::1]", "[2001:db8::9]:7", ONE.1, TWO.1),
    ] {
        let (accomplice, at) = (bind(&wires.client, outer), format!("[{own}]:5353"));
        let at = if own.contains(':') { at } else { format!("{own}:5353") };
        let socket = bind(one, &at);
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let mut room = [0; 8];
        socket.send_to(b"open", outer).unwrap();
        let (_, door) = accomplice.recv_from(&mut room).unwrap();
        assert_eq!(door.ip().to_string(), machine.trim_matches(['[', ']']));
        accomplice.send_to(b"in", door).unwrap();
        assert!(socket.recv(&mut room).is_ok(), "the attack works");
        let stays = two.asker(&format!("{machine}:80"));
        let _ = stays.ask(Duration::from_millis(10));
        let seen = || said("cat /proc/thread-self/net/nf_conntrack");
        let of = |address: &str| {
            let long: IpAddr = address.parse().unwrap();
            let text = match long {
                IpAddr::V4(v4) => v4.to_string(),
                IpAddr::V6(v6) => v6.segments().map(|s| format!("{s:04x}")).join(":"),
            };
            seen().matches(&format!("src={text} ")).count()
        };
        let before = of(other);
        assert!(before > 0 && of(own) > 0, "{}", seen());
        forget_flows(&[own.parse().unwrap()].into()).unwrap();
        assert_eq!((of(own), of(other)), (0, before), "{}", seen());
        accomplice.send_to(b"in", door).unwrap();
        assert!(socket.recv(&mut room).is_err());
    }
    // What was led to it is forgotten, too.
    town.publish("one", &[("0.0.0.0", 8080, ONE.0)]);
    wires.client.seen("203.0.113.1:8080");
    let seen = || said("cat /proc/thread-self/net/nf_conntrack");
    assert!(seen().contains("src=172.18.0.2 "), "{}", seen());
    forget_flows(&[ONE.0.parse().unwrap()].into()).unwrap();
    assert!(!seen().contains("src=172.18.0.2 "), "{}", seen());
}

#[test]
fn the_machine_routes_for_its_containers_and_nobody_else() {
    let town = Town::new();
    let Town { wires, one, .. } = &town;
    wires.other.serve("198.51.100.9:7");
    wires.other.serve("[2001:db8:0:1::9]:7");
    wires.client.reaches_not("198.51.100.9:7");
    wires.client.reaches_not("[2001:db8:0:1::9]:7");
    assert_eq!(one.seen("198.51.100.9:7"), "198.51.100.1");
    // Other engines' bridges are theirs.
    wires.bridge("docker0", &["172.30.0.1/24", "fd00:30::1/64"]);
    let theirs = wires.container("docker0", "172.30.0.2", "fd00:30::2");
    assert_eq!(theirs.seen("198.51.100.9:7"), "172.30.0.2");
    // But what they have for themselves, they don't reach of ours.
    theirs.reaches_not(&format!("{}:80", ONE.0));
    // With the last network, all goes but the guard.
    town.table.remove().unwrap();
    wires.client.reaches_not("198.51.100.9:7");
    assert!(town.table.networks().unwrap().is_empty());
    // What forwarded before goes on forwarding: the guard is for what dhow turned on.
    said("nft flush ruleset");
    let table = Table::named("dhow-again").unwrap();
    table.ensure(&[first(), second()]).unwrap();
    let note = town.notes.path().join("other");
    let want = Forwarding { ipv4: true, ipv6: true, guard: true, note: note.clone() };
    forwarding(&table, &want).unwrap();
    assert!(!note.exists());
    assert_eq!(wires.client.seen("198.51.100.9:7"), "203.0.113.9");
    // And by the note, it comes back after somebody has flushed all rules.
    table.remove().unwrap();
    assert_eq!(said("nft list ruleset"), "");
    town.table.ensure(&[first(), second()]).unwrap();
    town.forward();
    wires.client.reaches_not("198.51.100.9:7");
}

#[test]
fn advertisements_are_heard_where_they_were() {
    let wires = Wires::new();
    let table = Table::named("dhow").unwrap();
    table.ensure(&[]).unwrap();
    said("echo 0 > /proc/sys/net/ipv6/conf/eth1/accept_ra");
    let notes = tempfile::tempdir().unwrap();
    let note = notes.path().join("forwarding");
    forwarding(&table, &Forwarding { ipv4: false, ipv6: true, guard: true, note }).unwrap();
    let say =
        |name: &str| wires.machine.run(&format!("cat /proc/sys/net/{name}")).trim().to_owned();
    assert_eq!(say("ipv6/conf/eth0/accept_ra"), "2");
    assert_eq!(say("ipv6/conf/eth1/accept_ra"), "0");
    assert_eq!(say("ipv6/conf/all/forwarding"), "1");
    assert_eq!(say("ipv4/ip_forward"), "0");
}
