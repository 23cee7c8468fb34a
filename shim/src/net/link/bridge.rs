//! A network's bridge on the host.

use dhow_image::digest::Digest;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage::{NewLink, SetLink};
use netlink_packet_route::link::{InfoKind, LinkAttribute};

use super::answer::Found;
use super::message::{
    NEW, Request, address, alias, get, info, link, mac, name, no_address, no_own_address,
    own_address, up,
};
use super::query::{addresses_of, all_routes, find, gone, list, one};
use super::socket::Socket;
use super::sysctl;
use crate::error::{Error, Result};
use crate::model::network::Subnet;

/// What Ethernet carries when nothing else is said, and the most that dhow takes by itself.
const USUAL_MTU: u32 = 1500;

/// A bridge as it is to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bridge {
    /// The device.
    pub name: String,
    /// Whose it is; it begins with `dhow network `.
    pub alias: String,
    /// Unset: that of the way out, and at most 1500.
    pub mtu: Option<u32>,
    /// The gateways' addresses, each with its network's length.
    pub addresses: Vec<Subnet>,
    /// Its containers have IPv6.
    pub ipv6: bool,
    /// Somebody else's device of that name is taken, and given what lacks (docker's
    /// `com.docker.network.bridge.name` of one that is there).
    pub adopts: bool,
}

/// Makes the bridge, or mends what differs from it. Two round trips when all is well.
///
/// - Its MAC address is its own, of its alias: it stays when containers come and go, when somebody
///   removes it and when the host reboots, and what neighbours remember of it stays true.
///   KERNEL: a bridge without one takes the lowest of its ports'.
/// - No spanning tree, the kernel's default: ports forward at once.
/// - It takes no routers' advertisements: containers could send them.
/// - DIFFERS: docker leaves IPv6 on where the network has none; the host would answer containers
///   there at `fe80::…`, past all its rules for IPv4.
/// - DIFFERS: docker's MTU is 1500 also where the way out has less, as in many clouds; packets
///   that are too long then vanish wherever ICMP is filtered.
pub fn ensure_bridge(socket: &Socket, bridge: &Bridge) -> Result<()> {
    let Some(found) = find(socket, &bridge.name)? else {
        return make(socket, bridge);
    };
    let adopted = whose(&found, bridge)?;
    mend(socket, bridge, &found, adopted)
}

/// Whether a device of that name is the administrator's, to be used as it is.
fn whose(found: &Found, bridge: &Bridge) -> Result<bool> {
    let name = &bridge.name;
    if found.kind != "bridge" {
        let kind = if found.kind.is_empty() { "network card" } else { &found.kind };
        return Err(Error::conflict(format!(
            "network device {name} is no bridge but a {kind} of somebody else's; give the network another name for its bridge: -o com.docker.network.bridge.name=NAME"
        )));
    }
    if found.alias == alias(&bridge.alias) || is_forerunner(&found.alias, &bridge.alias) {
        return Ok(false);
    }
    if found.alias.starts_with("dhow ") {
        return Err(Error::conflict(format!(
            "bridge {name} belongs to another network: '{}'; if nobody uses that, remove it: ip link delete {name}",
            found.alias
        )));
    }
    if bridge.adopts {
        return Ok(true);
    }
    Err(Error::conflict(format!(
        "there is a bridge {name} that dhow did not make; remove it: ip link delete {name}"
    )))
}

/// The same world's network of the same name, whose records are gone: `dhow network NAME ID RUN`.
fn is_forerunner(old: &str, new: &str) -> bool {
    let of = |text: &str| {
        let mut words = text.strip_prefix("dhow network ")?.splitn(3, ' ').map(str::to_owned);
        Some((words.next()?, words.nth(1)?))
    };
    of(old).is_some_and(|old| of(new) == Some(old))
}

fn make(socket: &Socket, bridge: &Bridge) -> Result<()> {
    let device = &bridge.name;
    name(device)?;
    let attributes = vec![
        LinkAttribute::IfName(device.clone()),
        LinkAttribute::Address(own_mac(&bridge.alias).to_vec()),
        info(InfoKind::Bridge, None),
    ];
    let new = Request::new("create bridge", device, NewLink(link(0, attributes))).with(NEW);
    let found = one(&socket.batch(&[new, get(device)])?, device)?;
    let mtu = match bridge.mtu {
        Some(mtu) => mtu,
        None => uplink_mtu(socket)?.map_or(USUAL_MTU, |mtu| mtu.min(USUAL_MTU)),
    };
    let wanted = Bridge { mtu: Some(mtu), ..bridge.clone() };
    mend(socket, &wanted, &found, false).inspect_err(|_| {
        // What is left of it would be mended next time; but nothing stays of what failed.
        let _ = gone(socket, device, found.index);
    })
}

fn own_mac(alias: &str) -> [u8; 6] {
    let digest = Digest::of(alias.as_bytes());
    let hex = &digest.hex()[..8];
    mac(&format!("02:42:{}:{}:{}:{}", &hex[..2], &hex[2..4], &hex[4..6], &hex[6..8]))
        .unwrap_or([2, 0x42, 0, 0, 0, 1])
}

/// What differs, in one send; then the sysctls, then up.
fn mend(socket: &Socket, bridge: &Bridge, found: &Found, adopted: bool) -> Result<()> {
    let device = &bridge.name;
    let mut requests = Vec::new();
    let mut attributes = Vec::new();
    if !adopted && found.alias != alias(&bridge.alias) {
        attributes.push(LinkAttribute::IfAlias(alias(&bridge.alias)));
    }
    // KERNEL: br_mtu_auto_adjust(): until it is set once, the last port that leaves makes it 1500.
    if let Some(mtu) = bridge.mtu.filter(|&mtu| !adopted && (mtu != found.mtu || !found.up)) {
        attributes.push(LinkAttribute::Mtu(mtu));
    }
    let own = bridge.ipv6 && !adopted && found.inet6.is_some();
    if own && !found.up {
        attributes.push(no_own_address());
    }
    if !attributes.is_empty() {
        requests.push(Request::new(
            "set up bridge",
            device,
            SetLink(link(found.index, attributes)),
        ));
    }
    if !adopted {
        sysctls(bridge, found)?;
    }
    if !found.up {
        let message = up(link(found.index, Vec::new()));
        requests.push(Request::new("bring up bridge", device, SetLink(message)));
    }
    let held = addresses_of(socket, found.index)?;
    // KERNEL: while a bridge asks its neighbours whether one has its address fe80::…, which takes
    // one or two seconds, it asks for no other (ndisc_send_ns()): nothing that is forwarded reaches
    // a first container. Given like this it is not asked about.
    if own && !held.iter().any(|held| held.link_local) {
        requests.push(address(device, found.index, own_address(mac(&found.mac)?)));
    }
    for family in [false, true] {
        let of = |subnet: &Subnet| subnet.address.is_ipv6() == family;
        let lacking = bridge.addresses.iter().filter(|wanted| of(wanted));
        let lacking: Vec<_> = lacking.filter(|w| !held.iter().any(|h| h.subnet == **w)).collect();
        if lacking.is_empty() {
            continue;
        }
        // Another one of that family was the network's before; what was given beside the right
        // one by hand stays.
        let others = held.iter().filter(|h| of(&h.subnet) && !h.link_local && !adopted);
        let others = others.filter(|h| !bridge.addresses.contains(&h.subnet));
        requests.extend(others.map(|other| no_address(device, found.index, other.subnet)));
        requests.extend(lacking.into_iter().map(|wanted| address(device, found.index, *wanted)));
    }
    if requests.is_empty() { Ok(()) } else { socket.batch(&requests).map(drop) }
}

/// KERNEL: ip-sysctl: what netlink can't set.
fn sysctls(bridge: &Bridge, found: &Found) -> Result<()> {
    let Some(inet6) = found.inet6 else { return Ok(()) };
    if inet6.disabled == bridge.ipv6 {
        sysctl::set_ipv6(&bridge.name, bridge.ipv6)?;
    }
    if inet6.accept_ra != 0 {
        sysctl::set("ipv6", &bridge.name, "accept_ra", "0")?;
    }
    Ok(())
}

/// The MTU of the device that the default route goes through.
fn uplink_mtu(socket: &Socket) -> Result<Option<u32>> {
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let routes = all_routes(socket, family)?;
        let out = routes.iter().filter(|r| r.to.bits == 0 && r.kind == libc::RTN_UNICAST);
        let out = out.filter_map(|r| r.device.map(|device| (r.metric, device))).min();
        if let Some((_, device)) = out {
            let all = list(socket)?;
            return Ok(all.iter().find(|found| found.index == device).map(|found| found.mtu));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_of_the_same_world_and_name_is_taken_over() {
        let new = "dhow network bridge 22 /run/dhow";
        assert!(is_forerunner("dhow network bridge 11 /run/dhow", new));
        for old in [
            "",
            "dhow network bridge 11 /run/x",
            "dhow network b 11 /run/dhow",
            "dhow 1 2 /run/dhow",
        ] {
            assert!(!is_forerunner(old, new), "{old}");
        }
        assert!(!is_forerunner("x", "y"));
    }
}
