//! What it costs, by hand.

use std::fs::File;
use std::os::fd::AsFd;

use super::*;

/// By hand: what a container's interface costs.
/// `cargo test -p dhow --lib -- --ignored --nocapture link::tests::figures`
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

/// By hand: the kernel's limit, in so many words.
#[test]
#[ignore = "a thousand namespaces"]
fn a_full_bridge_says_so() {
    alone(|| {
        let host = Socket::here().unwrap();
        let mut wanted = bridge();
        wanted.ipv6 = false;
        wanted.addresses = vec![subnet("10.9.0.1/16")];
        ensure_bridge(&host, &wanted).unwrap();
        let mut spaces = Vec::new();
        for number in 2_u16..1100 {
            let ns = namespace();
            let inside = Socket::within(ns.as_fd()).unwrap();
            let address = std::net::Ipv4Addr::from(0x0a09_0000 + u32::from(number));
            let mut wanted = veth(2);
            wanted.inside.addresses = vec![subnet(&format!("{address}/16"))];
            wanted.inside.mac = mac_of(address);
            wanted.inside.gateway6 = None;
            if let Kind::Veth { host_name, .. } = &mut wanted.kind {
                *host_name = format!("dhtest.{number}");
            }
            if let Err(error) = plug(&host, &inside, ns.as_fd(), &wanted) {
                println!("{} containers: {error}", spaces.len());
                assert!(error.message.contains("at most 1023 containers"), "{error}");
                assert_eq!(list(&inside).unwrap().len(), 1);
                assert_eq!(spaces.len(), 1023);
                return;
            }
            spaces.push(ns);
        }
        panic!("no limit");
    });
}
