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
