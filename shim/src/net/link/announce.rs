//! What neighbours remember of an address that had another container.
//!
//! An entry that was used a moment ago holds for up to 45 seconds, and the container that answered
//! is gone: whoever gets its address with another MAC address is unreachable for so long. docker
//! polls until the new port forwards, then sends three announcements, a second apart.

use std::net::{IpAddr, Ipv6Addr, SocketAddrV6};
use std::os::fd::AsRawFd;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage::NewNeighbour;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn6, sendto, setsockopt,
    socket, sockopt::Ipv6MulticastHops,
};

use super::message::{Request, family};
use crate::model::network::{Subnet, address_of, number_of};

/// Mends what the host itself remembers of `addresses` behind `bridge`; what it doesn't know, it
/// need not: the table has 1024 places for all containers together.
pub(super) fn mend<'a>(
    bridge: &'a str,
    index: u32,
    mac: [u8; 6],
    addresses: &[Subnet],
) -> Vec<Request<'a>> {
    let of = |subnet: &Subnet| {
        let mut message = neighbour(index, subnet.address);
        message.header.state = NeighbourState::Stale;
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
        Request::new("mend the neighbours of", bridge, NewNeighbour(message)).with(NLM_F_REPLACE)
    };
    addresses.iter().map(of).collect()
}

/// Has the kernel ask for the MAC address of the network's first neighbour.
///
/// KERNEL: arp_process(): an ARP request goes to all, and all mend what they remember of who asks.
/// It is repeated after a second should the port not forward yet, and nobody waits for it. The
/// answer is what the container's first packet would have waited for.
pub(super) fn ask(interface: &str, index: u32, to: IpAddr) -> Request<'_> {
    let mut message = neighbour(index, to);
    message.header.flags = NeighbourFlags::Use;
    Request::new("ask the neighbours of", interface, NewNeighbour(message)).with(NLM_F_CREATE)
}

/// Whom to ask: the gateway, else the first address that isn't the container's own.
pub(super) fn first(subnet: Subnet, gateway: Option<IpAddr>) -> Option<IpAddr> {
    let first = number_of(subnet.network().address) + 1;
    let mut others = [first, first + 1].into_iter().map(|n| address_of(n, subnet.address));
    gateway.or_else(|| others.find(|to| *to != subnet.address && subnet.contains(*to)))
}

fn neighbour(index: u32, to: IpAddr) -> NeighbourMessage {
    let to = match to {
        IpAddr::V4(to) => NeighbourAddress::Inet(to),
        IpAddr::V6(to) => NeighbourAddress::Inet6(to),
    };
    let mut message = NeighbourMessage::default();
    message.header.ifindex = index;
    message.header.family = match &to {
        NeighbourAddress::Inet6(to) => family((*to).into()),
        _ => netlink_packet_route::AddressFamily::Inet,
    };
    message.attributes.push(NeighbourAttribute::Destination(to));
    message
}

/// KERNEL: hosts of a link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Tells the neighbours behind the device `index` of this namespace whose MAC address an IPv6
/// address has now; ARP's way tells nobody but the neighbour that is asked for.
///
/// The host tells it for the container, through the bridge: nobody waits until the container's
/// port forwards. Not heard is not worth a failure: what is remembered wrongly ages.
pub(super) fn tell(index: u32, mac: [u8; 6], address: Ipv6Addr) {
    let kind = SockType::Raw;
    let Ok(raw) = socket(AddressFamily::Inet6, kind, SockFlag::SOCK_CLOEXEC, SockProtocol::IcmpV6)
    else {
        return;
    };
    // SPEC: RFC 4861 §7.1.2: what came through a router is thrown away.
    let _ = setsockopt(&raw, Ipv6MulticastHops, &255);
    let to = SockaddrIn6::from(SocketAddrV6::new(ALL_NODES, 0, 0, index));
    let _ = sendto(raw.as_raw_fd(), &advertisement(mac, address), &to, MsgFlags::MSG_DONTWAIT);
}

/// SPEC: RFC 4861 §4.4, unsolicited, to override; the kernel sums it up.
fn advertisement(mac: [u8; 6], address: Ipv6Addr) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0] = 136;
    bytes[4] = 0x20;
    bytes[8..24].copy_from_slice(&address.octets());
    bytes[24..26].copy_from_slice(&[2, 1]);
    bytes[26..].copy_from_slice(&mac);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_is_asked_else_the_first_that_is_another() {
        let to = |subnet: &str, gateway: Option<&str>| {
            let gateway = gateway.map(|to| to.parse().unwrap());
            first(subnet.parse().unwrap(), gateway).map(|to| to.to_string())
        };
        assert_eq!(to("10.9.0.7/24", Some("10.9.0.254")).as_deref(), Some("10.9.0.254"));
        assert_eq!(to("10.9.0.7/24", None).as_deref(), Some("10.9.0.1"));
        assert_eq!(to("10.9.0.1/24", None).as_deref(), Some("10.9.0.2"));
        assert_eq!(to("10.9.0.0/31", None).as_deref(), Some("10.9.0.1"));
        assert_eq!(to("10.9.0.9/32", None), None);
    }

    #[test]
    fn an_advertisement_has_address_and_mac() {
        let bytes = advertisement([2, 1, 2, 3, 4, 5], "fd00::7".parse().unwrap());
        assert_eq!(
            (bytes[0], bytes[4], bytes[23], &bytes[24..]),
            (136, 0x20, 7, &[2, 1, 2, 1, 2, 3, 4, 5][..])
        );
    }
}
