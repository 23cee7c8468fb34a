//! macvlan and ipvlan.

use std::fs::File;
use std::os::fd::AsFd;

use netlink_packet_core::Nla;
use netlink_packet_route::link::LinkAttribute;

use super::*;

fn macvlan(parent: &str, mode: MacvlanMode, number: u8) -> Plug {
    let kind = Kind::Macvlan { parent: parent.into(), mode };
    Plug { kind, inside: veth(number).inside }
}

/// What iproute2 6.1 sends, recorded: `ip link add link p0 name eth0 type macvlan mode passthru`,
/// `… type ipvlan mode l3s private`; without the kind, which it writes without a zero behind.
#[test]
fn kinds_are_laid_out_as_iproute2_does() {
    let data = |attribute: &LinkAttribute| {
        let mut bytes = vec![0; attribute.value_len()];
        attribute.emit_value(&mut bytes);
        let all = answer::pairs(&bytes).map(|(kind, value)| (kind, value.to_vec()));
        all.filter(|(kind, _)| *kind == 2).map(|(_, value)| value).next().unwrap()
    };
    assert_eq!(data(&plug::macvlan(MacvlanMode::Passthru)), b"\x08\0\x01\0\x08\0\0\0");
    assert_eq!(
        data(&plug::ipvlan(IpvlanMode::L3s, IpvlanFlag::Private)),
        b"\x06\0\x01\0\x02\0\0\0\x06\0\x02\0\x01\0\0\0"
    );
    assert_eq!(
        data(&plug::ipvlan(IpvlanMode::L2, IpvlanFlag::Bridge)),
        b"\x06\0\x01\0\0\0\0\0\x06\0\x02\0\0\0\0\0"
    );
}

#[test]
fn macvlan_containers_reach_each_other_as_their_mode_says() {
    alone(|| {
        ip("ip link add p0 type veth peer name p1; ip link set p0 up; ip link set p1 up");
        let host = Socket::here().unwrap();
        for (mode, together) in [(MacvlanMode::Bridge, true), (MacvlanMode::Private, false)] {
            let spaces = [namespace(), namespace()];
            for (ns, number) in spaces.iter().zip(2..) {
                let inside = Socket::within(ns.as_fd()).unwrap();
                plug(&host, &inside, ns.as_fd(), &macvlan("p0", mode, number)).unwrap();
                let eth0 = get(&inside, "eth0");
                assert_eq!(eth0.kind, "macvlan");
                assert_eq!(eth0.mac, format!("02:42:0a:09:00:{number:02x}"));
                assert_eq!(defaults(&inside), ["10.9.0.1", "fd09::1"]);
            }
            if together {
                reaches(&spaces[0], &spaces[1], "10.9.0.3");
            }
            let inside = spaces.map(|ns| Socket::within(ns.as_fd()).unwrap());
            for inside in &inside {
                unplug(inside, "eth0").unwrap();
            }
        }
        let (one, other) = (namespace(), namespace());
        let plugged = |ns: &File, mode| {
            let inside = Socket::within(ns.as_fd()).unwrap();
            plug(&host, &inside, ns.as_fd(), &macvlan("p0", mode, 2))
        };
        plugged(&one, MacvlanMode::Passthru).unwrap();
        let error = plugged(&other, MacvlanMode::Bridge).unwrap_err();
        assert!(error.message.contains("carries one container alone"), "{error}");
        assert_eq!(list(&Socket::within(other.as_fd()).unwrap()).unwrap().len(), 1);
    });
}

/// KERNEL: up to 6.14 a name that the parent's namespace has was taken in the child's, too.
#[test]
fn bug_a_child_of_eth0_could_not_be_eth0_itself() {
    alone(|| {
        ip("ip link add eth0 type veth peer name p1; ip link set eth0 up; ip link set p1 up");
        let host = Socket::here().unwrap();
        let ns = namespace();
        let inside = Socket::within(ns.as_fd()).unwrap();
        let plugged = || plug(&host, &inside, ns.as_fd(), &macvlan("eth0", MacvlanMode::Bridge, 2));
        plugged().unwrap();
        assert_eq!(get(&inside, "eth0").kind, "macvlan");
        let error = plugged().unwrap_err();
        assert_eq!(error.message, "create macvlan eth0: File exists");
        assert_eq!(list(&inside).unwrap().len(), 2, "lo and the first one");
    });
}

#[test]
fn a_parent_is_found_made_or_told() {
    alone(|| {
        ip("ip link add p0 type veth peer name p1");
        let host = Socket::here().unwrap();
        let parent = |name: &str, isolated| Parent {
            name: name.into(),
            alias: "dhow network m 0123 /run/test".into(),
            isolated,
        };
        ensure_parent(&host, &parent("p0", false)).unwrap();
        // The administrator's stays as it is.
        assert!(!get(&host, "p0").up);
        let error = ensure_parent(&host, &parent("eth9", false)).unwrap_err();
        assert!(error.message.starts_with("the host has no interface eth9"), "{error}");
        let error = ensure_parent(&host, &parent("eth9.5", false)).unwrap_err();
        assert!(error.message.starts_with("the host has no interface eth9.5"), "{error}");
        let error = ensure_parent(&host, &parent("p0", true)).unwrap_err();
        assert!(error.message.contains("somebody else's"), "{error}");
        // What a kernel has differs: made, or told what lacks.
        for (name, isolated, module) in [("p0.50", false, "8021q"), ("dh-x", true, "dummy")] {
            match ensure_parent(&host, &parent(name, isolated)) {
                Ok(()) => {
                    assert!(get(&host, name).up && get(&host, name).alias.starts_with("dhow "));
                    ensure_parent(&host, &parent(name, isolated)).unwrap();
                    remove(&host, name).unwrap();
                }
                Err(error) => assert!(error.message.contains(module), "{error}"),
            }
            assert_eq!(find(&host, name).unwrap(), None);
        }
    });
}

#[test]
fn ipvlan_is_made_or_told_to_lack() {
    alone(|| {
        ip("ip link add p0 type veth peer name p1; ip link set p0 up; ip link set p1 up");
        let host = Socket::here().unwrap();
        let ns = namespace();
        let inside = Socket::within(ns.as_fd()).unwrap();
        let kind =
            Kind::Ipvlan { parent: "p0".into(), mode: IpvlanMode::L3, flag: IpvlanFlag::Bridge };
        let mut wanted = Plug { kind, inside: veth(2).inside };
        (wanted.inside.gateway4, wanted.inside.gateway6) = (None, None);
        wanted.inside.mac = String::new();
        wanted.inside.through = true;
        match plug(&host, &inside, ns.as_fd(), &wanted) {
            Ok(()) => assert_eq!(defaults(&inside), ["device", "device"]),
            Err(error) => {
                assert!(error.message.contains("this kernel has no ipvlan"), "{error}");
                assert_eq!(list(&inside).unwrap().len(), 1);
            }
        }
    });
}
