//! Pairs: what the container sees, what the host, and what is left when it fails.

use std::fs::File;
use std::net::UdpSocket;
use std::os::fd::AsFd;

use super::*;

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

#[test]
fn a_failure_leaves_nothing() {
    alone(|| {
        let host = Socket::here().unwrap();
        ensure_bridge(&host, &bridge()).unwrap();
        let before = list(&host).unwrap().len();
        let ns = namespace();
        let inside = Socket::within(ns.as_fd()).unwrap();
        let fails = |plugged: &Plug, words: &str| {
            let error = plug(&host, &inside, ns.as_fd(), plugged).unwrap_err();
            assert!(error.message.contains(words), "{}", error.message);
            assert_eq!(list(&host).unwrap().len(), before, "{words}");
            assert_eq!(list(&inside).unwrap().len(), 1, "{words}");
        };
        let mut wanted = veth(2);
        wanted.inside.sysctls = vec![("net.ipv4.conf.IFNAME.nope".into(), "1".into())];
        fails(&wanted, "net/ipv4/conf/eth0/nope");
        wanted.inside.sysctls = vec![("kernel.hostname".into(), "x".into())];
        fails(&wanted, "sysctl kernel.hostname is not one of an interface");
        let mut wanted = veth(2);
        wanted.inside.addresses.push(subnet("10.9.0.2/24"));
        fails(&wanted, "give an address to eth0: File exists");
        let mut wanted = veth(2);
        wanted.inside.mac = "01:00:00:00:00:00".into();
        fails(&wanted, "no MAC address");
        let mut wanted = veth(2);
        wanted.inside.mtu = Some(10);
        fails(&wanted, "create pair dhtest.2: Invalid argument");
        let mut wanted = veth(2);
        if let Kind::Veth { bridge, .. } = &mut wanted.kind {
            *bridge = "dh-none".into();
        }
        fails(&wanted, "the host has no interface dh-none");
        // And then it works.
        plug(&host, &inside, ns.as_fd(), &veth(2)).unwrap();
        let error = plug(&host, &inside, ns.as_fd(), &veth(3)).unwrap_err();
        assert_eq!(error.message, "the container has an interface eth0 already");
    });
}

#[test]
fn what_the_last_life_left_makes_place_and_what_is_anothers_does_not() {
    alone(|| {
        let host = Socket::here().unwrap();
        ensure_bridge(&host, &bridge()).unwrap();
        let (old, new) = (namespace(), namespace());
        let inside = Socket::within(old.as_fd()).unwrap();
        plug(&host, &inside, old.as_fd(), &veth(2)).unwrap();
        // The old namespace is not gone yet.
        let inside = Socket::within(new.as_fd()).unwrap();
        plug(&host, &inside, new.as_fd(), &veth(2)).unwrap();
        unplug(&inside, "eth0").unwrap();
        unplug(&inside, "eth0").unwrap();
        assert_eq!(find(&host, "dhtest.2").unwrap(), None);
        // Killed before it had a name.
        ip("ip link add dhtest.2 type veth peer name left");
        plug(&host, &inside, new.as_fd(), &veth(2)).unwrap();
        unplug(&inside, "eth0").unwrap();
        ip("ip link add dhtest.2 type bridge");
        let error = plug(&host, &inside, new.as_fd(), &veth(2)).unwrap_err();
        assert!(error.message.starts_with("there is a network device dhtest.2"), "{error}");
        assert_eq!(get(&host, "dhtest.2").kind, "bridge");
    });
}

#[test]
fn a_network_without_ipv6_has_none_at_all() {
    alone(|| {
        let host = Socket::here().unwrap();
        let mut wanted = bridge();
        wanted.ipv6 = false;
        wanted.addresses.truncate(1);
        ensure_bridge(&host, &wanted).unwrap();
        let ns = namespace();
        let inside = Socket::within(ns.as_fd()).unwrap();
        let mut plugged = veth(2);
        plugged.inside.addresses.truncate(1);
        plugged.inside.gateway6 = None;
        plugged.inside.sysctls = vec![("net.ipv4.conf.IFNAME.log_martians".into(), "1".into())];
        plug(&host, &inside, ns.as_fd(), &plugged).unwrap();
        assert_eq!(addresses_on(&inside, "eth0"), ["10.9.0.2/24"]);
        assert_eq!(addresses_on(&host, "dh-test"), ["10.9.0.1/24"]);
        assert!(get(&inside, "eth0").inet6.unwrap().disabled);
        assert!(get(&host, "dh-test").inet6.unwrap().disabled);
        let path = "/proc/sys/net/ipv4/conf/eth0/log_martians";
        let set = enter(ns.as_fd(), || std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(set, "1\n");
    });
}

#[test]
fn isolated_containers_reach_the_host_and_not_each_other() {
    alone(|| {
        let here = File::open("/proc/thread-self/ns/net").unwrap();
        // Where bridges are filtered, the host's rules do it.
        let filter = "/proc/sys/net/bridge/bridge-nf-call-ip";
        for key in ["tables", "6tables"] {
            let _ = std::fs::write(format!("{filter}{key}"), "0");
        }
        let host = Socket::here().unwrap();
        ensure_bridge(&host, &bridge()).unwrap();
        let spaces = [namespace(), namespace()];
        for (ns, number) in spaces.iter().zip(2..) {
            let mut wanted = veth(number);
            if let Kind::Veth { isolated, .. } = &mut wanted.kind {
                *isolated = true;
            }
            let inside = Socket::within(ns.as_fd()).unwrap();
            plug(&host, &inside, ns.as_fd(), &wanted).unwrap();
        }
        reaches(&spaces[0], &here, "10.9.0.1");
        let limit = std::time::Duration::from_millis(300);
        let listener = enter(spaces[1].as_fd(), || TcpListener::bind("10.9.0.3:0").unwrap());
        let to = listener.unwrap().local_addr().unwrap();
        let tried = enter(spaces[0].as_fd(), || TcpStream::connect_timeout(&to, limit));
        assert!(tried.unwrap().is_err());
    });
}

#[test]
fn one_network_of_several_leads_out() {
    alone(|| {
        let host = Socket::here().unwrap();
        ensure_bridge(&host, &bridge()).unwrap();
        let ns = namespace();
        let inside = Socket::within(ns.as_fd()).unwrap();
        plug(&host, &inside, ns.as_fd(), &veth(2)).unwrap();
        let mut second = veth(3);
        second.inside.interface = "eth1".into();
        second.inside.addresses = vec![subnet("10.8.0.3/24")];
        (second.inside.gateway4, second.inside.gateway6) = (None, None);
        plug(&host, &inside, ns.as_fd(), &second).unwrap();
        assert_eq!(defaults(&inside), ["10.9.0.1", "fd09::1"]);
        let other = Some("10.8.0.1".parse().unwrap());
        default_routes(&inside, other, Some("fd09::1".parse().unwrap())).unwrap();
        assert_eq!(defaults(&inside), ["10.8.0.1", "fd09::1"]);
        default_routes(&inside, other, None).unwrap();
        assert_eq!(defaults(&inside), ["10.8.0.1"]);
        default_device(&inside, "eth0", true, true).unwrap();
        assert_eq!(defaults(&inside), ["device", "device"]);
        // One that somebody made inside is ours to change too.
        enter(ns.as_fd(), || ip("ip route add default via 10.8.0.9 metric 50")).unwrap();
        default_routes(&inside, None, None).unwrap();
        assert!(defaults(&inside).is_empty());
        // A gateway that is in none of its subnets is a neighbour all the same.
        let mut third = veth(4);
        third.inside.interface = "eth2".into();
        third.inside.addresses = vec![subnet("10.7.0.3/32")];
        third.inside.gateway4 = Some("10.6.0.1".parse().unwrap());
        third.inside.gateway6 = None;
        plug(&host, &inside, ns.as_fd(), &third).unwrap();
        assert_eq!(defaults(&inside), ["10.6.0.1"]);
    });
}

#[test]
fn who_enters_comes_back_even_from_a_panic() {
    alone(|| {
        let at = || std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let (home, ns) = (at(), namespace());
        let elsewhere = enter(ns.as_fd(), at).unwrap();
        assert_ne!(home, elsewhere);
        let panicked =
            std::panic::catch_unwind(|| enter(ns.as_fd(), || -> () { panic!("on purpose") }));
        assert!(panicked.is_err());
        assert_eq!(at(), home);
        assert!(enter(File::open("/dev/null").unwrap().as_fd(), || ()).is_err());
    });
}
