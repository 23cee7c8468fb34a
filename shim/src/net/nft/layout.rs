//! What stands in a world's table: chains and rules that never change, and the sets that say
//! which devices, networks and ports they are about.
//!
//! ```text
//! prerouting (nat, dstnat)    a port of 127.0.0.1, from afar  → dropped
//! output     (nat, dstnat)    to this machine                 → ports
//! ports                       published                       → the container's address and port
//! forward    (filter, -10)    out by a bridge of ours         → into
//!                             in by a bridge of ours          → out
//!                             neither, and it was dhow that turned forwarding on → guard
//! into       known → pass; within its network → pass; sealed → dropped; redirected → pass;
//!            what a routed network opens → pass; all else dropped
//! out        known → pass; sealed → dropped; else → pass
//! pass       accepted, and marked where another firewall must see that (beside.rs)
//! guard      what neither comes from nor goes to a virtual device is dropped; a bridge that leads
//!            outside is none
//! postrouting (nat, srcnat)   redirected back into its own network, or leaving one → masqueraded
//! ```
//!
//! KERNEL: nat in inet tables 5.2, ranges joined with names (pipapo) 5.6, the device that a packet
//! came by in postrouting 5.7.

use super::object::{Field, Field::*, Hook, Place, Set};
use super::rule::{End, Meta, Rule, Tracked, Verdict::*};
use super::wire::Requests;

/// Of the rules below; when they change, so does this, and the next command puts them anew.
pub const VERSION: u32 = 2;

/// The bit of a packet's mark that other firewalls' one rule looks for.
pub const MARK: u32 = 0x4000_0000;

const SERVICE: &[Field] = &[Protocol, Port];
const SERVICE4: &[Field] = &[V4, Protocol, Port];
const SERVICE6: &[Field] = &[V6, Protocol, Port];

const fn set(name: &'static str, key: &'static [Field]) -> Set {
    Set { name, key, data: &[], ranges: false }
}

const fn map(name: &'static str, key: &'static [Field], data: &'static [Field]) -> Set {
    Set { name, key, data, ranges: false }
}

/// The world's bridges; an element's comment tells the network's rules.
pub const BRIDGES: &str = "bridges";
/// Bridges that nothing enters or leaves.
pub const SEALED: &str = "sealed";
/// `bridge . bridge`: containers of this network may speak to each other.
pub const WITHIN: &str = "within";
/// `bridge . bridge`: they may not.
pub const APART: &str = "apart";
/// Whose senders' addresses are translated.
pub const TRANSLATED: [&str; 2] = ["translated4", "translated6"];
/// To which address, where not to that of the device they leave by.
pub const SENDERS: [&str; 2] = ["senders4", "senders6"];
/// `bridge . IP`: containers are reached by their own addresses, by opened ports and ping.
pub const ROUTED: &str = "routed";
/// `bridge . IP`: all of their ports are open.
pub const UNPROTECTED: &str = "unprotected";
/// Ports of all of the machine's addresses.
pub const PUBLISHED: [&str; 2] = ["published4", "published6"];
/// Ports of one of them.
pub const PUBLISHED_AT: [&str; 2] = ["published4-at", "published6-at"];
/// Opened ports of containers in routed networks.
pub const OPENED: [&str; 2] = ["opened4", "opened6"];
/// Ports of 127.0.0.0/8.
pub const LOCAL: &str = "local4";
/// The IPs that were not forwarded before dhow.
pub const GUARDED: &str = "guarded";
/// The IPs that another firewall lets pass only if marked.
pub const BESIDE: &str = "beside";
/// Bridges that lead out of the machine.
pub const UPLINKS: &str = "uplinks";

/// All sets.
pub const SETS: &[Set] = &[
    set(BRIDGES, &[Device]),
    set(SEALED, &[Device]),
    set(WITHIN, &[Device, Device]),
    set(APART, &[Device, Device]),
    Set { ranges: true, ..set(TRANSLATED[0], &[Device, V4]) },
    Set { ranges: true, ..set(TRANSLATED[1], &[Device, V6]) },
    map(SENDERS[0], &[Device], &[V4]),
    map(SENDERS[1], &[Device], &[V6]),
    set(ROUTED, &[Device, Ip]),
    set(UNPROTECTED, &[Device, Ip]),
    map(PUBLISHED[0], SERVICE, &[V4, Port]),
    map(PUBLISHED[1], SERVICE, &[V6, Port]),
    map(PUBLISHED_AT[0], SERVICE4, &[V4, Port]),
    map(PUBLISHED_AT[1], SERVICE6, &[V6, Port]),
    set(OPENED[0], SERVICE4),
    set(OPENED[1], SERVICE6),
    set(LOCAL, SERVICE4),
    set(GUARDED, &[Ip]),
    set(BESIDE, &[Ip]),
    set(UPLINKS, &[Device]),
];

/// Sets whose keys begin with a network's device.
pub const OF_NETWORKS: &[&str] = &[
    BRIDGES,
    SEALED,
    WITHIN,
    APART,
    TRANSLATED[0],
    TRANSLATED[1],
    SENDERS[0],
    SENDERS[1],
    ROUTED,
    UNPROTECTED,
];

/// Sets whose elements are containers'.
pub const OF_CONTAINERS: &[&str] =
    &[PUBLISHED[0], PUBLISHED[1], PUBLISHED_AT[0], PUBLISHED_AT[1], OPENED[0], OPENED[1], LOCAL];

/// Where forwarded packets are judged: before others at 0, so that these can see a mark.
const FORWARD: Hook = Hook { kind: "filter", number: 2, priority: -10 };
const PREROUTING: Hook = Hook { kind: "nat", number: 0, priority: -100 };
const OUTPUT: Hook = Hook { kind: "nat", number: 3, priority: -100 };
const POSTROUTING: Hook = Hook { kind: "nat", number: 4, priority: 100 };

/// The requests that make or mend all of this; sets keep their elements.
pub fn lay_out(place: &Place, requests: &mut Requests) {
    let mut on = place.on(requests);
    on.table();
    for (at, set) in SETS.iter().enumerate() {
        on.set(set, at as u32 + 1);
    }
    let base = [
        ("forward", FORWARD),
        ("prerouting", PREROUTING),
        ("output", OUTPUT),
        ("postrouting", POSTROUTING),
    ];
    for (name, hook) in base {
        on.chain(name, Some(hook));
    }
    for name in ["into", "out", "pass", "tag", "guard", "ports"] {
        on.chain(name, None);
    }
    on.no_rules();
    for (chain, rule) in filter().into_iter().chain(translation()) {
        on.rule(chain, rule);
    }
}

fn filter() -> Vec<(&'static str, Rule)> {
    let rule = Rule::new;
    let mut rules = vec![
        ("forward", rule().device(Meta::Output, BRIDGES).then(Goto("into"))),
        ("forward", rule().device(Meta::Input, BRIDGES).then(Goto("out"))),
        ("forward", rule().ip_in(GUARDED).then(Goto("guard"))),
        ("into", rule().tracked(Tracked::KNOWN).then(Goto("pass"))),
        ("into", rule().pair(WITHIN).then(Goto("pass"))),
        ("into", rule().device(Meta::Input, SEALED).then(Drop)),
        ("into", rule().device(Meta::Output, SEALED).then(Drop)),
        ("into", rule().tracked(Tracked::REDIRECTED).then(Goto("pass"))),
        ("into", rule().pair(APART).then(Drop)),
    ];
    for (six, ping) in [(false, 1), (true, 58)] {
        rules.extend([
            ("into", Rule::ip(six).destination(six, OPENED[usize::from(six)]).then(Goto("pass"))),
            ("into", rule().device_and_ip(Meta::Output, ROUTED).carries(ping).then(Goto("pass"))),
        ]);
    }
    rules.extend([
        ("into", rule().device_and_ip(Meta::Output, UNPROTECTED).then(Goto("pass"))),
        ("into", rule().then(Drop)),
        ("out", rule().tracked(Tracked::KNOWN).then(Goto("pass"))),
        ("out", rule().device(Meta::Input, SEALED).then(Drop)),
    ]);
    // What conntrack holds for no part of a connection is not translated either, and would leave
    // with the container's own address.
    for six in [false, true] {
        let own = Rule::ip(six).origin(six, TRANSLATED[usize::from(six)]);
        rules.push(("out", own.tracked(Tracked::INVALID).then(Drop)));
    }
    rules.extend([
        ("out", rule().then(Goto("pass"))),
        ("pass", rule().ip_in(BESIDE).then(Jump("tag"))),
        ("pass", rule().then(Accept)),
    ]);
    // What comes from or goes to another engine's bridge is for that engine to judge.
    for (kind, device) in [(Meta::InputKind, Meta::Input), (Meta::OutputKind, Meta::Output)] {
        let theirs = rule().kind(kind, "bridge").device_not(device, BRIDGES);
        rules.push(("tag", theirs.device_not(device, UPLINKS).then(Return)));
    }
    rules.push(("tag", rule().mark(MARK)));
    for (by, device) in [(Meta::InputKind, Meta::Input), (Meta::OutputKind, Meta::Output)] {
        // A bridge that leads outside is what others' physical devices are.
        let engines = rule().kind(by, "bridge").device_not(device, UPLINKS);
        rules.push(("guard", engines.then(Accept)));
        rules
            .extend(["tun", "wireguard"].map(|kind| ("guard", rule().kind(by, kind).then(Accept))));
    }
    rules.push(("guard", rule().then(Drop)));
    rules
}

fn translation() -> Vec<(&'static str, Rule)> {
    let rule = Rule::new;
    let mut rules = vec![
        ("prerouting", Rule::ip(false).afar().destination(false, LOCAL).then(Drop)),
        ("prerouting", rule().local().then(Goto("ports"))),
        ("output", Rule::ip(false).address_is(false, End::Destination, &[127]).then(Return)),
        (
            "output",
            Rule::ip(true)
                .address_is(true, End::Destination, &std::net::Ipv6Addr::LOCALHOST.octets())
                .then(Return),
        ),
        ("output", rule().local().then(Goto("ports"))),
        // The monitor's own socket answers those whose addresses mean something on one link only,
        // and can't be forwarded,
        ("ports", Rule::ip(true).device_not(Meta::Input, SEALED).link_local_source().then(Return)),
        // and those that may not speak to their neighbours but by way of the machine: where
        // bridges call the firewall, a port within the same bridge would be kept from them.
        ("ports", rule().device_not(Meta::Input, SEALED).pair_of_input(APART).then(Return)),
    ];
    for (at, six) in [(0, false), (1, true)] {
        rules.push(("ports", Rule::ip(six).redirect(six, true, PUBLISHED_AT[at])));
        rules.push(("ports", Rule::ip(six).redirect(six, false, PUBLISHED[at])));
    }
    // Back into its own network: the answer has to come this way too.
    for set in [WITHIN, APART] {
        rules.push(("postrouting", rule().pair(set).tracked(Tracked::REDIRECTED).masquerade()));
        rules.push(("postrouting", rule().pair(set).then(Return)));
    }
    for (at, six) in [(0, false), (1, true)] {
        // KERNEL: where bridges call the firewall for what stays within them (br_netfilter), the
        // device that it came by is not told here.
        let own = Rule::ip(six).at_home(six, TRANSLATED[at]);
        rules.push(("postrouting", own.tracked(Tracked::REDIRECTED).masquerade()));
    }
    for (at, six) in [(0, false), (1, true)] {
        let own = || Rule::ip(six).origin(six, TRANSLATED[at]);
        rules.push(("postrouting", own().sender(six, SENDERS[at])));
        rules.push(("postrouting", own().masquerade()));
    }
    rules
}
