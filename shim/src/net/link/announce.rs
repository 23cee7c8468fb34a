//! What neighbours remember of an address that had another container.
//!
//! An entry that was used a moment ago holds for up to 45 seconds, and the container that answered
//! is gone: whoever gets its address with another MAC address is unreachable for so long. docker
//! sends three announcements, a second apart, by a thread of the daemon's.
//!
//! An announcement goes to every container of the network, which costs 2 ms where there are 200; so
//! a MAC address is best made of the address ([`mac_of`]): what neighbours remember stays true.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6};
use std::os::fd::AsRawFd;

use netlink_packet_core::{DefaultNla, Emitable, NLA_F_NESTED, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage::{NewNeighbour, SetLink};
use netlink_packet_route::link::{AfSpecInet, AfSpecUnspec, LinkAttribute};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn6, sendto, setsockopt,
    socket, sockopt::Ipv6MulticastHops,
};

use super::message::{Request, family, link};
use crate::model::network::Subnet;

/// The MAC address that a container gets with its IPv4 address, docker's until 27.
///
/// DIFFERS: docker 28 makes one by chance.
pub fn mac_of(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// Those of `addresses` that another MAC address than `mac` could have had before.
pub(super) fn doubtful(addresses: &[Subnet], mac: &str) -> Vec<Subnet> {
    let certain = |subnet: &Subnet| match subnet.address {
        IpAddr::V4(v4) => mac_of(v4) == mac,
        IpAddr::V6(_) => false,
    };
    addresses.iter().copied().filter(|subnet| !certain(subnet)).collect()
}

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

/// Has the kernel tell the neighbours behind `interface` whose MAC address its IPv4 addresses have.
///
/// KERNEL: a device whose MAC address is set, be it to what it was, tells so when `arp_notify` is
/// on (inetdev_event()); a socket of our own for it (AF_PACKET) waits for all processors when it
/// is closed. Such a gratuitous ARP counts at once; the first packet's question would not for what
/// neighbours learned within the last second.
pub(super) fn shout(interface: &str, index: u32, mac: [u8; 6]) -> [Request<'_>; 3] {
    let of = |attribute| {
        Request::new("announce the addresses of", interface, SetLink(link(index, vec![attribute])))
    };
    let notify = |on: u32| {
        // The crate leaves out what is 0.
        let value = DefaultNla::new(IPV4_DEVCONF_ARP_NOTIFY, on.to_ne_bytes().to_vec());
        let mut bytes = vec![0; value.buffer_len()];
        value.emit(&mut bytes);
        let settings = AfSpecInet::Other(DefaultNla::new(IFLA_INET_CONF | NLA_F_NESTED, bytes));
        of(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![settings])]))
    };
    [notify(1), of(LinkAttribute::Address(mac.to_vec())), notify(0)]
}

/// KERNEL: linux/if_link.h, linux/ip.h
const IFLA_INET_CONF: u16 = 1;
const IPV4_DEVCONF_ARP_NOTIFY: u16 = 22;

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
/// The host tells it for the container, through the bridge.
pub(super) fn tell(index: u32, mac: [u8; 6], addresses: &[Subnet]) {
    let of = |subnet: &Subnet| match subnet.address {
        IpAddr::V6(v6) => Some(v6),
        IpAddr::V4(_) => None,
    };
    let mut addresses = addresses.iter().filter_map(of).peekable();
    if addresses.peek().is_none() {
        return;
    }
    let kind = SockType::Raw;
    let Ok(raw) = socket(AddressFamily::Inet6, kind, SockFlag::SOCK_CLOEXEC, SockProtocol::IcmpV6)
    else {
        return;
    };
    // SPEC: RFC 4861 §7.1.2: what came through a router is thrown away.
    let _ = setsockopt(&raw, Ipv6MulticastHops, &255);
    let to = SockaddrIn6::from(SocketAddrV6::new(ALL_NODES, 0, 0, index));
    for address in addresses {
        let text = advertisement(mac, address);
        let _ = sendto(raw.as_raw_fd(), &text, &to, MsgFlags::MSG_DONTWAIT);
    }
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
    fn an_advertisement_has_address_and_mac() {
        let bytes = advertisement([2, 1, 2, 3, 4, 5], "fd00::7".parse().unwrap());
        assert_eq!(
            (bytes[0], bytes[4], bytes[23], &bytes[24..]),
            (136, 0x20, 7, &[2, 1, 2, 1, 2, 3, 4, 5][..])
        );
    }
}
