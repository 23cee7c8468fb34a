//! The interface that macvlan and ipvlan stand on.

use netlink_packet_route::RouteNetlinkMessage::{NewLink, SetLink};
use netlink_packet_route::link::{InfoData, InfoKind, InfoVlan, LinkAttribute};

use super::answer::Found;
use super::message::{NEW, Request, alias, get, info, link, name, up};
use super::query::{find, gone, one};
use super::socket::Socket;
use crate::error::{Error, Result};

/// A parent as it is to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parent {
    /// `eth0`; `eth0.50`, which is made when it isn't there; of an isolated one, the name to make.
    pub name: String,
    /// Whose it is, should it be made.
    pub alias: String,
    /// No parent was named: one that leads nowhere.
    pub isolated: bool,
}

/// Makes the parent when it isn't there and can be made; [`super::remove`] takes away what was.
pub fn ensure_parent(socket: &Socket, parent: &Parent) -> Result<()> {
    let Some(found) = find(socket, &parent.name)? else {
        let message = if parent.isolated { isolated(parent)? } else { vlan(socket, parent)? };
        return make(socket, parent, message);
    };
    if parent.isolated && found.alias != alias(&parent.alias) {
        return Err(Error::conflict(format!(
            "network device {} is somebody else's; remove it, or name a parent: -o parent=eth0",
            parent.name
        )));
    }
    // The administrator's is as he wants it; what stands on one that is down waits with it.
    if found.up || found.alias != alias(&parent.alias) {
        Ok(())
    } else {
        bring_up(socket, parent, &found)
    }
}

fn isolated(parent: &Parent) -> Result<Request<'_>> {
    name(&parent.name)?;
    let attributes = vec![LinkAttribute::IfName(parent.name.clone()), info(InfoKind::Dummy, None)];
    Ok(Request::new("create dummy", &parent.name, NewLink(link(0, attributes))))
}

fn vlan<'a>(socket: &Socket, parent: &'a Parent) -> Result<Request<'a>> {
    let absent = || {
        Error::not_found(format!(
            "the host has no interface {}, which the network stands on; see: ip link",
            parent.name
        ))
    };
    let (base, number) = tagged(&parent.name)?.ok_or_else(absent)?;
    name(&parent.name)?;
    let base = find(socket, base)?.ok_or_else(absent)?;
    let data = InfoData::Vlan(vec![InfoVlan::Id(number)]);
    let attributes = vec![
        LinkAttribute::IfName(parent.name.clone()),
        LinkAttribute::Link(base.index),
        info(InfoKind::Vlan, Some(data)),
    ];
    Ok(Request::new("create vlan", &parent.name, NewLink(link(0, attributes))))
}

/// `eth0.50` → `eth0` and 50; what has no dot is no VLAN.
fn tagged(name: &str) -> Result<Option<(&str, u16)>> {
    let Some((base, number)) = name.rsplit_once('.') else { return Ok(None) };
    // KERNEL: 0 is no VLAN, 4095 reserved (IEEE 802.1Q).
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let number: Option<u16> = number.parse().ok().filter(|n| plain && (1..4095).contains(n));
    number.map(|number| Some((base, number))).ok_or_else(|| {
        Error::usage(format!("{name} is no VLAN: write INTERFACE.NUMBER, 1 to 4094, as eth0.50"))
    })
}

fn make(socket: &Socket, parent: &Parent, request: Request<'_>) -> Result<()> {
    let told = socket.batch(&[request.with(NEW), get(&parent.name)])?;
    let found = one(&told, &parent.name)?;
    bring_up(socket, parent, &found).inspect_err(|_| {
        let _ = gone(socket, &parent.name, found.index);
    })
}

fn bring_up(socket: &Socket, parent: &Parent, found: &Found) -> Result<()> {
    let named = link(found.index, vec![LinkAttribute::IfAlias(alias(&parent.alias))]);
    socket.batch(&[Request::new("bring up", &parent.name, SetLink(up(named)))]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parents_name_tells_its_vlan() {
        assert_eq!(tagged("eth0").unwrap(), None);
        assert_eq!(tagged("eth0.50").unwrap(), Some(("eth0", 50)));
        assert_eq!(tagged("a.b.4094").unwrap(), Some(("a.b", 4094)));
        for bad in ["eth0.0", "eth0.4095", "eth0.x", "eth0.", "eth0.+5"] {
            assert!(tagged(bad).is_err(), "{bad}");
        }
    }
}
