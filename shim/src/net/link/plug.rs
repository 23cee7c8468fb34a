//! A container's interface.
//!
//! What it costs on four busy processors (Linux 6.18, a build for debugging; `tests/figures.rs`):
//! 0.6 ms at best, 0.9 in the middle, in eight round trips. Of it 0.25 are the pair itself (two
//! devices with their directories in sysfs and `/proc/sys`), 0.08 the bridge's new port, 0.05 the
//! first look after it is up ([`super::carrier`]), 0.05 the sysctl that turns IPv6 off, and a few
//! µs each everything else. The kernel has one lock for all changes of devices (RTNL), of all
//! namespaces: while another container's namespace is taken apart a start waits half a millisecond
//! in the middle.
//!
//! Taking a pair away takes 15 to 30 ms, as its caller waits until no processor can use it any more.
//! So nobody does so at a container's end: the kernel takes it with the namespace, in a worker.
//! Only a disconnect waits, and a start that finds its own last pair still there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_route::RouteNetlinkMessage::{NewLink, NewRoute, SetLink};
use netlink_packet_route::link::{
    InfoBridgePort, InfoData, InfoIpVlan, InfoKind, InfoMacVlan, InfoPortData, InfoPortKind,
    InfoVeth, IpVlanFlags, IpVlanMode, LinkAttribute, LinkInfo, MacVlanMode,
};

use super::announce;
use super::answer::Found;
use super::carrier::await_up;
use super::enter::enter;
use super::message::{
    self, NEW, Request, address, alias, default_route, get, info, link, no_own_address, on_link,
    own_address, up,
};
use super::query::{find, gone, one};
use super::routes::REPLACE;
use super::socket::{Socket, Told};
use super::{sysctl, words};
use crate::error::{Error, Result};
use crate::model::network::Subnet;

/// An interface as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plug {
    /// What it is, as seen from the host.
    pub kind: Kind,
    /// What the container sees.
    pub inside: Inside,
}

/// What an interface is, as seen from the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A pair; one end is a port of a bridge.
    Veth {
        /// The host's end.
        host_name: String,
        /// The bridge, which is there.
        bridge: String,
        /// Whose it is; it begins with `dhow `.
        alias: String,
        /// It reaches the bridge's own addresses, and no other such port (docker's `icc=false`).
        isolated: bool,
    },
    /// A further Ethernet address of a parent.
    Macvlan {
        /// The host's interface, which is there.
        parent: String,
        /// Who hears whom.
        mode: MacvlanMode,
    },
    /// Further IP addresses of a parent.
    Ipvlan {
        /// The host's interface, which is there.
        parent: String,
        /// Whether the parent switches or routes.
        mode: IpvlanMode,
        /// Who hears whom.
        flag: IpvlanFlag,
    },
}

/// docker's `macvlan_mode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MacvlanMode {
    /// Containers of a parent reach each other.
    #[default]
    Bridge,
    /// They don't.
    Private,
    /// The switch outside decides.
    Vepa,
    /// The parent is the container's alone.
    Passthru,
}

/// docker's `ipvlan_mode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IpvlanMode {
    /// The parent switches.
    #[default]
    L2,
    /// The parent routes; no broadcast, no gateway.
    L3,
    /// The same, and the host's connection tracking sees it.
    L3s,
}

/// docker's `ipvlan_flag`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IpvlanFlag {
    /// Containers of a parent reach each other.
    #[default]
    Bridge,
    /// They don't.
    Private,
    /// The switch outside decides.
    Vepa,
}

/// What the container sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inside {
    /// `eth0`
    pub interface: String,
    /// With colons; without meaning for ipvlan, which has its parent's.
    pub mac: String,
    /// Unset: its bridge's or its parent's.
    pub mtu: Option<u32>,
    /// Each with its network's length.
    pub addresses: Vec<Subnet>,
    /// Where IPv4 leaves, when it leaves here.
    pub gateway4: Option<Ipv4Addr>,
    /// Where IPv6 leaves, when it leaves here.
    pub gateway6: Option<Ipv6Addr>,
    /// All leaves here, without a gateway (ipvlan's modes l3 and l3s).
    pub through: bool,
    /// `net.ipv4.conf.IFNAME.KEY` and its value.
    pub sysctls: Vec<(String, String)>,
}

impl Inside {
    fn has_ipv6(&self) -> bool {
        self.addresses.iter().any(|subnet| subnet.address.is_ipv6())
    }
}

/// Makes the interface in the network namespace `ns`, which `inside` is a socket of. On failure
/// nothing of it stays.
pub fn plug(host: &Socket, inside: &Socket, ns: BorrowedFd<'_>, plug: &Plug) -> Result<()> {
    let wanted = &plug.inside;
    message::name(&wanted.interface)?;
    let Kind::Veth { host_name, bridge, alias, isolated } = &plug.kind else {
        let index = child(host, inside, ns, plug)?;
        let done = configure(inside, ns, wanted, index);
        done.inspect_err(|_| drop(gone(inside, &wanted.interface, index)))?;
        announce(inside, wanted, index);
        return Ok(());
    };
    let mac = message::mac(&wanted.mac)?;
    let ends = pair(host, ns, wanted, mac, host_name, bridge, alias)?;
    let done = join(host, host_name, &ends, alias, *isolated)
        .and_then(|()| configure(inside, ns, wanted, ends.inner))
        .and_then(|()| await_up(host, &[host_name, bridge]));
    // The other end goes with it, and its addresses and routes.
    done.inspect_err(|_| drop(gone(host, host_name, ends.outer)))?;
    let doubtful = announce::doubtful(&wanted.addresses, &wanted.mac);
    if !doubtful.is_empty() {
        let _ = host.attempt(&announce::mend(bridge, ends.bridge, mac, &doubtful));
        announce::tell(ends.bridge, mac, &doubtful);
        announce(inside, wanted, ends.inner);
    }
    Ok(())
}

/// Tells it from inside. Not heard is not worth a failure: what neighbours remember wrongly ages.
fn announce(inside: &Socket, wanted: &Inside, index: u32) {
    let doubtful = announce::doubtful(&wanted.addresses, &wanted.mac);
    if let (true, Ok(mac)) =
        (doubtful.iter().any(|s| s.address.is_ipv4()), message::mac(&wanted.mac))
    {
        let _ = inside.attempt(&announce::shout(&wanted.interface, index, mac));
    }
}

/// Both ends of a pair, by number, and what the host's one joins.
struct Ends {
    outer: u32,
    inner: u32,
    bridge: u32,
    ipv6: bool,
}

fn parent_of(host: &Socket, name: &str) -> Result<Found> {
    find(host, name)?.ok_or_else(|| {
        Error::not_found(format!(
            "the host has no interface {name}, which the network stands on; see: ip link"
        ))
    })
}

/// Makes the pair with its inner end in the namespace.
///
/// KERNEL: making it there costs nothing more; moving it there later waits for all processors
/// (synchronize_net() in dev_change_net_namespace()). Each queue is a directory of sysfs, and there
/// would be one a processor and direction: on four processors they are half of the whole cost. A
/// pair without XDP uses none of them.
fn pair(
    host: &Socket,
    ns: BorrowedFd<'_>,
    inside: &Inside,
    mac: [u8; 6],
    outer: &str,
    bridge: &str,
    owner: &str,
) -> Result<Ends> {
    message::name(outer)?;
    let bridge = parent_of(host, bridge)?;
    if bridge.kind != "bridge" {
        return Err(Error::conflict(format!("network device {} is no bridge", bridge.name)));
    }
    let mtu = inside.mtu.unwrap_or(bridge.mtu);
    let end = |name: &str| {
        let mut attributes = vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::Mtu(mtu)];
        attributes.extend([LinkAttribute::NumTxQueues(1), LinkAttribute::NumRxQueues(1)]);
        attributes
    };
    let (mut attributes, mut inner) = (end(outer), end(&inside.interface));
    inner.extend([LinkAttribute::Address(mac.to_vec()), LinkAttribute::NetNsFd(ns.as_raw_fd())]);
    attributes.push(info(InfoKind::Veth, Some(InfoData::Veth(InfoVeth::Peer(link(0, inner))))));
    let new = Request::new("create pair", outer, NewLink(link(0, attributes))).with(NEW);
    let requests = [new, get(outer)];
    let found = match host.attempt(&requests)? {
        (told, None) => one(&told, outer)?,
        (told, Some((0, failure))) if failure.errno == libc::EEXIST => {
            cleared(host, &told, &requests[0], &inside.interface, owner)?;
            one(&host.batch(&requests)?, outer)?
        }
        (_, Some((at, failure))) => return Err(words::of(&requests[at], &failure)),
    };
    let inner = found.peer.ok_or_else(|| {
        let _ = gone(host, outer, found.index);
        Error::engine(format!("create pair {outer}: the kernel doesn't tell its other end"))
    })?;
    Ok(Ends { outer: found.index, inner, bridge: bridge.index, ipv6: found.inet6.is_some() })
}

/// Takes away what is left of this container's last life: the kernel removes a namespace's
/// devices some time after its end, and who restarts at once finds them. What was killed before
/// it named its pair left one that is down and nobody's.
fn cleared(
    host: &Socket,
    told: &[Told],
    request: &Request<'_>,
    interface: &str,
    owner: &str,
) -> Result<()> {
    let outer = request.device;
    let Ok(found) = one(told, outer) else {
        return Err(Error::conflict(format!("the container has an interface {interface} already")));
    };
    let old = found.alias == alias(owner) || (found.alias.is_empty() && !found.up);
    if found.kind == "veth" && old {
        return gone(host, outer, found.index);
    }
    Err(Error::conflict(format!(
        "there is a network device {outer} that is not this container's; see: ip -d link show {outer}"
    )))
}

/// Makes the host's end a port of its bridge, with the owner's name on it.
fn join(host: &Socket, name: &str, ends: &Ends, owner: &str, isolated: bool) -> Result<()> {
    let mut named = vec![LinkAttribute::IfAlias(alias(owner))];
    // A port needs no address; without this it makes one, and asks its neighbours about it.
    named.extend(ends.ipv6.then(no_own_address));
    let joined = vec![LinkAttribute::Controller(ends.bridge)];
    let mut requests = vec![
        Request::new("name", name, SetLink(link(ends.outer, named))),
        Request::new("join its bridge with", name, SetLink(up(link(ends.outer, joined)))),
    ];
    // KERNEL: rtnl_changelink(): a port's own settings take a device that is a port already. Its
    // other end is down until then.
    let settings = port(isolated, sysctl::bridges_are_filtered());
    if !settings.is_empty() {
        let settings = LinkInfo::PortData(InfoPortData::BridgePort(settings));
        let data = vec![LinkInfo::PortKind(InfoPortKind::Bridge), settings];
        let data = link(ends.outer, vec![LinkAttribute::LinkInfo(data)]);
        requests.push(Request::new("set up the port", name, NewLink(data)));
    }
    host.batch(&requests).map(drop)
}

/// What a port of a bridge has for settings of its own.
///
/// KERNEL: where br_netfilter filters bridges (docker and Kubernetes turn it on), a published port
/// is translated on the bridge: what comes back to the container that asked leaves by the port it
/// came from, and what goes to an isolated neighbour never passes the host's routing. There the
/// host's rules see what goes between ports, so they isolate, as docker's do.
fn port(isolated: bool, filtered: bool) -> Vec<InfoBridgePort> {
    let hairpin = filtered.then_some(InfoBridgePort::HairpinMode(true));
    let alone = (isolated && !filtered).then_some(InfoBridgePort::Isolated(true));
    hairpin.into_iter().chain(alone).collect()
}

/// Makes a device on a parent, right in the namespace; its number there.
fn child(host: &Socket, inside: &Socket, ns: BorrowedFd<'_>, plug: &Plug) -> Result<u32> {
    let (what, parent, kind) = match &plug.kind {
        Kind::Macvlan { parent, mode } => ("create macvlan", parent, macvlan(*mode)),
        Kind::Ipvlan { parent, mode, flag } => ("create ipvlan", parent, ipvlan(*mode, *flag)),
        Kind::Veth { .. } => return Err(Error::engine("a pair has no parent")),
    };
    let name = &plug.inside.interface;
    let parent = parent_of(host, parent)?;
    // KERNEL: before 6.15 the name has to be free where the parent is, too: there "eth0" rarely is.
    let taken = find(host, name)?.is_some();
    let born = if taken { BORN } else { name };
    let mut attributes = vec![
        LinkAttribute::IfName(born.to_owned()),
        LinkAttribute::Link(parent.index),
        LinkAttribute::NetNsFd(ns.as_raw_fd()),
    ];
    attributes.extend(plug.inside.mtu.map(LinkAttribute::Mtu));
    // KERNEL: an ipvlan device has its parent's and takes no other; the one container of mode
    // passthru would give the parent its own.
    if matches!(plug.kind, Kind::Macvlan { .. }) && !plug.inside.mac.is_empty() {
        attributes.push(LinkAttribute::Address(message::mac(&plug.inside.mac)?.to_vec()));
    }
    attributes.push(kind);
    host.batch(&[Request::new(what, name, NewLink(link(0, attributes))).with(NEW)])?;
    let index = find(inside, born)?
        .map(|found| found.index)
        .ok_or_else(|| Error::engine(format!("{what} {name}: the kernel made it elsewhere")))?;
    if taken {
        let named = link(index, vec![LinkAttribute::IfName(name.clone())]);
        let done = inside.batch(&[Request::new(what, name, SetLink(named))]);
        done.inspect_err(|_| drop(gone(inside, born, index)))?;
    }
    Ok(index)
}

/// What a device is called in its first moment, where its own name is taken.
const BORN: &str = "dhow-new";

pub(super) fn macvlan(mode: MacvlanMode) -> LinkAttribute {
    let mode = match mode {
        MacvlanMode::Bridge => MacVlanMode::Bridge,
        MacvlanMode::Private => MacVlanMode::Private,
        MacvlanMode::Vepa => MacVlanMode::Vepa,
        MacvlanMode::Passthru => MacVlanMode::Passthrough,
    };
    info(InfoKind::MacVlan, Some(InfoData::MacVlan(vec![InfoMacVlan::Mode(mode)])))
}

pub(super) fn ipvlan(mode: IpvlanMode, flag: IpvlanFlag) -> LinkAttribute {
    let mode = match mode {
        IpvlanMode::L2 => IpVlanMode::L2,
        IpvlanMode::L3 => IpVlanMode::L3,
        IpvlanMode::L3s => IpVlanMode::L3S,
    };
    let flags = match flag {
        IpvlanFlag::Bridge => IpVlanFlags::empty(),
        IpvlanFlag::Private => IpVlanFlags::Private,
        IpvlanFlag::Vepa => IpVlanFlags::Vepa,
    };
    let data = vec![InfoIpVlan::Mode(mode), InfoIpVlan::Flags(flags)];
    info(InfoKind::IpVlan, Some(InfoData::IpVlan(data)))
}

/// Gives the interface all that the container sees of it, in one send.
fn configure(inside: &Socket, ns: BorrowedFd<'_>, wanted: &Inside, index: u32) -> Result<()> {
    // Looking costs a tenth of entering and writing, and IPv6 is on unless somebody turned it off.
    let name = &wanted.interface;
    let is_on = || -> Result<bool> {
        let found = find(inside, name)?.and_then(|found| found.inet6);
        Ok(found.is_none_or(|inet6| !inet6.disabled))
    };
    if !wanted.has_ipv6() || !wanted.sysctls.is_empty() || !is_on()? {
        enter(ns, || sysctls(wanted))??;
    }
    inside.batch(&requests(wanted, index)?).map(drop)
}

/// Before it is up: what comes up with IPv6 has made itself an address already.
fn sysctls(wanted: &Inside) -> Result<()> {
    let name = &wanted.interface;
    sysctl::set_ipv6(name, wanted.has_ipv6())?;
    wanted.sysctls.iter().try_for_each(|(key, value)| sysctl::set_typed(name, key, value))
}

fn requests(wanted: &Inside, index: u32) -> Result<Vec<Request<'_>>> {
    let name = &wanted.interface;
    let mut all = Vec::new();
    if wanted.has_ipv6() {
        let quiet = link(index, vec![no_own_address()]);
        all.push(Request::new("set up", name, SetLink(quiet)));
    }
    all.push(Request::new("bring up", name, SetLink(up(link(index, Vec::new())))));
    all.extend(wanted.addresses.iter().map(|subnet| address(name, index, *subnet)));
    // The address that the kernel would make, but at once: it would ask its neighbours for one or
    // two seconds first.
    if wanted.has_ipv6() && !wanted.mac.is_empty() {
        all.push(address(name, index, own_address(message::mac(&wanted.mac)?)));
    }
    let gateways = [wanted.gateway4.map(IpAddr::from), wanted.gateway6.map(IpAddr::from)];
    for gateway in gateways.into_iter().flatten() {
        let near = wanted.addresses.iter().any(|subnet| subnet.contains(gateway));
        let route = default_route(gateway.is_ipv6(), Some(gateway), Some(index), 0);
        let route = if near { route } else { on_link(route) };
        all.push(Request::new("set the default route of", name, NewRoute(route)).with(REPLACE));
    }
    if wanted.through {
        for ipv6 in [false, true] {
            if wanted.addresses.iter().any(|subnet| subnet.address.is_ipv6() == ipv6) {
                let route = NewRoute(default_route(ipv6, None, Some(index), 0));
                all.push(Request::new("set the default route of", name, route).with(REPLACE));
            }
        }
    }
    Ok(all)
}
