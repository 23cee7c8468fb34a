//! A network's bridge.

use super::*;

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

#[test]
fn a_device_of_the_name_that_is_anothers_is_left_and_told() {
    alone(|| {
        let host = Socket::here().unwrap();
        let refused = |words: &str| {
            let error = ensure_bridge(&host, &bridge()).unwrap_err();
            assert!(
                error.kind == crate::Kind::Conflict && error.message.contains(words),
                "{error}"
            );
        };
        ip("ip link add dh-test type veth peer name other");
        refused("dh-test is no bridge but a veth of somebody else's");
        remove(&host, "dh-test").unwrap();
        assert_eq!(get(&host, "dh-test").kind, "veth");
        ip("ip link del dh-test; ip link add dh-test mtu 1400 type bridge");
        refused("that dhow did not make");
        let adopting = Bridge { adopts: true, ..bridge() };
        ensure_bridge(&host, &adopting).unwrap();
        let found = get(&host, "dh-test");
        assert!(found.up && found.mtu == 1400 && found.alias.is_empty(), "{found:?}");
        assert!(addresses_on(&host, "dh-test").contains(&"10.9.0.1/24".to_owned()));
        remove(&host, "dh-test").unwrap();
        ip("ip link set dh-test alias 'dhow network other 99 /run/other'");
        refused("belongs to another network: 'dhow network other 99 /run/other'");
        assert!(ensure_bridge(&host, &adopting).is_err());
    });
}

#[test]
fn an_mtu_is_the_way_outs_and_stays_when_the_last_container_goes() {
    alone(|| {
        ip(
            "ip link add up0 mtu 1400 type veth peer name up1; ip link set up0 up; ip link set up1 up; \
            ip addr add 192.0.2.2/24 dev up0; ip route add default via 192.0.2.1",
        );
        let host = Socket::here().unwrap();
        ensure_bridge(&host, &bridge()).unwrap();
        assert_eq!(get(&host, "dh-test").mtu, 1400);
        let ns = namespace();
        let inside = Socket::within(ns.as_fd()).unwrap();
        plug(&host, &inside, ns.as_fd(), &veth(2)).unwrap();
        assert_eq!(get(&inside, "eth0").mtu, 1400);
        unplug(&inside, "eth0").unwrap();
        assert_eq!(get(&host, "dh-test").mtu, 1400);
        let large = Bridge { mtu: Some(9000), ..bridge() };
        ensure_bridge(&host, &large).unwrap();
        assert_eq!(get(&host, "dh-test").mtu, 9000);
        let wanted = routes(&host).unwrap();
        assert!(
            wanted.contains(&subnet("192.0.2.0/24")) && wanted.contains(&subnet("10.9.0.0/24"))
        );
        assert!(!wanted.iter().any(|to| to.bits == 0), "{wanted:?}");
    });
}

#[test]
fn a_long_alias_is_cut_and_still_known() {
    alone(|| {
        let host = Socket::here().unwrap();
        let long = Bridge { alias: format!("dhow network {}", "ü".repeat(200)), ..bridge() };
        ensure_bridge(&host, &long).unwrap();
        ensure_bridge(&host, &long).unwrap();
        assert_eq!(get(&host, "dh-test").alias.len(), 253);
    });
}
