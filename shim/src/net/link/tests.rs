//! On the real kernel, each case in network namespaces of its own; as root.

use std::fs::File;
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;

use netlink_packet_route::AddressFamily;
use nix::sched::{CloneFlags, unshare};

use super::query::all_routes;
use super::*;
use crate::model::network::Subnet;

/// Runs a case in a namespace of its own, that of a thread.
fn alone(case: impl FnOnce() + Send + 'static) {
    if nix::unistd::geteuid().is_root() {
        let ran = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            case();
        });
        ran.join().unwrap();
    }
}

/// Another namespace, which lives as long as the descriptor.
fn namespace() -> File {
    let made = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        dhow_kernel::net::loopback_up().unwrap();
        File::open("/proc/thread-self/ns/net").unwrap()
    });
    made.join().unwrap()
}

fn subnet(text: &str) -> Subnet {
    text.parse().unwrap()
}

fn bridge() -> Bridge {
    Bridge {
        name: "dh-test".into(),
        alias: "dhow network test 0123 /run/test".into(),
        mtu: None,
        addresses: vec![subnet("10.9.0.1/24"), subnet("fd09::1/64")],
        ipv6: true,
        adopts: false,
    }
}

fn veth(number: u8) -> Plug {
    Plug {
        kind: Kind::Veth {
            host_name: format!("dhtest.{number}"),
            bridge: "dh-test".into(),
            alias: format!("dhow {number:064} 0123 /run/test"),
            isolated: false,
        },
        inside: Inside {
            interface: "eth0".into(),
            mac: format!("02:42:0a:09:00:{number:02x}"),
            addresses: vec![
                subnet(&format!("10.9.0.{number}/24")),
                subnet(&format!("fd09::{number:x}/64")),
            ],
            gateway4: Some("10.9.0.1".parse().unwrap()),
            gateway6: Some("fd09::1".parse().unwrap()),
            ..Inside::default()
        },
    }
}

fn get(socket: &Socket, name: &str) -> Found {
    find(socket, name).unwrap().unwrap_or_else(|| panic!("no {name}"))
}

fn addresses_on(socket: &Socket, name: &str) -> Vec<String> {
    let index = get(socket, name).index;
    let all = addresses(socket).unwrap().into_iter().filter(|a| a.index == index);
    all.map(|a| a.subnet.to_string()).collect()
}

fn defaults(socket: &Socket) -> Vec<String> {
    let both = [AddressFamily::Inet, AddressFamily::Inet6];
    let all = both.into_iter().flat_map(|family| all_routes(socket, family).unwrap());
    let all = all.filter(|r| r.to.bits == 0 && r.kind == libc::RTN_UNICAST);
    all.map(|r| r.gateway.map_or("device".into(), |to| to.to_string())).collect()
}

/// Something is said from one namespace to another, by TCP.
fn reaches(from: &File, to: &File, address: &str) {
    let address: IpAddr = address.parse().unwrap();
    let listener = enter(to.as_fd(), || TcpListener::bind((address, 0)).unwrap()).unwrap();
    let port = listener.local_addr().unwrap().port();
    let limit = std::time::Duration::from_secs(10);
    let begun = std::time::Instant::now();
    let connected =
        enter(from.as_fd(), || TcpStream::connect_timeout(&(address, port).into(), limit));
    // A first packet that is lost comes again after a second; see `carrier` for IPv6.
    assert!(
        address.is_ipv6() || begun.elapsed().as_millis() < 900,
        "{address} after {:?}",
        begun.elapsed()
    );
    connected.unwrap().unwrap_or_else(|e| panic!("{address}: {e}"));
}

#[test]
fn a_container_reaches_its_gateway_and_its_neighbour() {
    alone(|| {
        let here = File::open("/proc/thread-self/ns/net").unwrap();
        let host = Socket::here().unwrap();
        ensure_bridge(&host, &bridge()).unwrap();
        let (one, other) = (namespace(), namespace());
        for (ns, number) in [(&one, 2), (&other, 3)] {
            let inside = Socket::within(ns.as_fd()).unwrap();
            plug(&host, &inside, ns.as_fd(), &veth(number)).unwrap();
            assert_eq!(defaults(&inside), ["10.9.0.1", "fd09::1"]);
            let eth0 = get(&inside, "eth0");
            assert_eq!((eth0.up, eth0.mtu, eth0.kind.as_str()), (true, 1500, "veth"));
            assert_eq!(eth0.mac, format!("02:42:0a:09:00:{number:02x}"));
            assert_eq!(
                addresses_on(&inside, "eth0"),
                [
                    format!("10.9.0.{number}/24"),
                    format!("fd09::{number}/64"),
                    format!("fe80::42:aff:fe09:{number}/64"),
                ]
            );
            let end = get(&host, &format!("dhtest.{number}"));
            assert_eq!(end.master, Some(get(&host, "dh-test").index));
            assert!(end.up && end.alias.starts_with("dhow 0000"), "{end:?}");
            assert!(addresses_on(&host, &end.name).is_empty());
        }
        for address in ["10.9.0.2", "fd09::2"] {
            reaches(&here, &one, address);
            reaches(&other, &one, address);
        }
        // Usable at once, also what is of this link alone.
        let bound = enter(one.as_fd(), || UdpSocket::bind("[fe80::42:aff:fe09:2%2]:0"));
        drop(bound.unwrap());
    });
}

#[test]
fn a_bridge_is_mended_and_nothing_is_done_when_all_is_well() {
    alone(|| {
        let host = Socket::here().unwrap();
        ensure_bridge(&host, &bridge()).unwrap();
        let first = get(&host, "dh-test");
        assert!(first.up && first.mtu == 1500 && first.mac.starts_with("02:42:"), "{first:?}");
        assert_eq!(first.inet6.unwrap().accept_ra, 0);
        ensure_bridge(&host, &bridge()).unwrap();
        assert_eq!(get(&host, "dh-test"), first);
        // Somebody sets it down, and gives it another network's address.
        ip(
            "ip link set dh-test down mtu 1400; ip addr flush dev dh-test; ip addr add 10.8.0.1/24 dev dh-test",
        );
        let wanted = Bridge { mtu: Some(1500), ..bridge() };
        ensure_bridge(&host, &wanted).unwrap();
        assert_eq!(get(&host, "dh-test"), first);
        let mut held = addresses_on(&host, "dh-test");
        held.retain(|address| !address.starts_with("fe80"));
        assert_eq!(held, ["10.9.0.1/24", "fd09::1/64"]);
        // Removed, by hand or by a reboot: the same again.
        remove(&host, "dh-test").unwrap();
        assert_eq!(find(&host, "dh-test").unwrap(), None);
        remove(&host, "dh-test").unwrap();
        ensure_bridge(&host, &bridge()).unwrap();
        assert_eq!(get(&host, "dh-test").mac, first.mac);
    });
}

fn ip(script: &str) {
    let done = std::process::Command::new("sh").args(["-ec", script]).status().unwrap();
    assert!(done.success(), "{script}");
}

/// By hand: what a container's interface costs.
/// `cargo test -p dhow --lib -- --ignored --nocapture link::tests::what_a_plug_costs`
#[test]
#[ignore = "prints figures"]
fn what_a_plug_costs() {
    for ipv6 in [false, true] {
        alone(move || figures(ipv6));
    }
}

fn figures(ipv6: bool) {
    println!("IPv6 {ipv6}");
    let veth = |number| {
        let mut plug = veth(number);
        if !ipv6 {
            plug.inside.addresses.truncate(1);
            plug.inside.gateway6 = None;
        }
        plug
    };
    let bridge = || {
        let mut bridge = Bridge { ipv6, ..bridge() };
        bridge.addresses.truncate(1 + usize::from(ipv6));
        bridge
    };
    let host = Socket::here().unwrap();
    ensure_bridge(&host, &bridge()).unwrap();
    let spaces: Vec<File> = (2..202).map(|_| namespace()).collect();
    let mut figures: [Vec<u128>; 6] = Default::default();
    let mut note = |at: usize, begun: std::time::Instant| {
        figures[at].push(begun.elapsed().as_micros());
    };
    for (ns, number) in spaces.iter().zip(2..) {
        let begun = std::time::Instant::now();
        ensure_bridge(&host, &bridge()).unwrap();
        note(0, begun);
        let begun = std::time::Instant::now();
        let inside = Socket::within(ns.as_fd()).unwrap();
        note(1, begun);
        let begun = std::time::Instant::now();
        plug(&host, &inside, ns.as_fd(), &veth(number)).unwrap();
        note(2, begun);
    }
    // Each time another namespace ends, with its interface in it.
    for number in 202..250 {
        let ns = namespace();
        let inside = Socket::within(ns.as_fd()).unwrap();
        let begun = std::time::Instant::now();
        plug(&host, &inside, ns.as_fd(), &veth(number)).unwrap();
        note(5, begun);
    }
    for (ns, number) in spaces.iter().zip(2_u8..) {
        let inside = Socket::within(ns.as_fd()).unwrap();
        let begun = std::time::Instant::now();
        if number % 2 == 0 {
            unplug(&inside, "eth0").unwrap();
            note(3, begun);
        } else {
            remove(&host, &format!("dhtest.{number}")).unwrap();
            note(4, begun);
        }
    }
    let names = ["ensure", "within", "plug", "unplug", "remove", "after an end"];
    for (what, mut all) in names.iter().zip(figures) {
        all.sort_unstable();
        let (middle, most) = (all[all.len() / 2], all[all.len() - 1]);
        println!("{what:12} least {} median {middle} most {most} µs", all[0]);
    }
}

#[test]
fn an_address_that_gets_another_container_is_reached_at_once() {
    alone(|| {
        let here = File::open("/proc/thread-self/ns/net").unwrap();
        let host = Socket::here().unwrap();
        ensure_bridge(&host, &bridge()).unwrap();
        let (one, two, other) = (namespace(), namespace(), namespace());
        let neighbour = Socket::within(other.as_fd()).unwrap();
        plug(&host, &neighbour, other.as_fd(), &veth(3)).unwrap();
        let inside = Socket::within(one.as_fd()).unwrap();
        plug(&host, &inside, one.as_fd(), &veth(2)).unwrap();
        for address in ["10.9.0.2", "fd09::2"] {
            reaches(&other, &one, address);
            reaches(&here, &one, address);
        }
        unplug(&inside, "eth0").unwrap();
        let mut another = veth(2);
        another.inside.mac = "02:42:00:00:00:77".into();
        let inside = Socket::within(two.as_fd()).unwrap();
        plug(&host, &inside, two.as_fd(), &another).unwrap();
        for address in ["10.9.0.2", "fd09::2"] {
            reaches(&here, &two, address);
            reaches(&other, &two, address);
        }
    });
}
