//! Requests, as the crates lay them out.

use std::net::{IpAddr, Ipv6Addr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope,
};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, LinkAttribute, LinkExtentMask,
    LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::error::{Error, Result};
use crate::model::network::Subnet;

/// Made, and nothing of that name may be there.
pub(super) const NEW: u16 = NLM_F_CREATE | NLM_F_EXCL;

/// KERNEL: IFALIASZ, with the crate's zero and the kernel's own.
const LONGEST_ALIAS: usize = 254;

/// KERNEL: IFNAMSIZ, with the zero.
const LONGEST_NAME: usize = 15;

/// One request, and what it is for, should it fail.
#[derive(Debug, Clone)]
pub(super) struct Request<'a> {
    /// `create bridge`; the device follows.
    pub what: &'static str,
    /// The device it is about.
    pub device: &'a str,
    pub flags: u16,
    pub message: RouteNetlinkMessage,
}

impl<'a> Request<'a> {
    pub fn new(what: &'static str, device: &'a str, message: RouteNetlinkMessage) -> Self {
        Self { what, device, flags: 0, message }
    }

    pub fn with(mut self, flags: u16) -> Self {
        self.flags |= flags;
        self
    }
}

/// A device of that number.
pub(super) fn link(index: u32, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = attributes;
    message
}

/// The same, set up.
pub(super) fn up(mut message: LinkMessage) -> LinkMessage {
    message.header.flags |= LinkFlags::Up;
    message.header.change_mask |= LinkFlags::Up;
    message
}

/// The same, set down.
pub(super) fn down(mut message: LinkMessage) -> LinkMessage {
    message.header.change_mask |= LinkFlags::Up;
    message
}

/// Asks for a device by its name, without its counters.
pub(super) fn get(device: &str) -> Request<'_> {
    let attributes = vec![
        LinkAttribute::IfName(device.into()),
        LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]),
    ];
    Request::new("look at", device, RouteNetlinkMessage::GetLink(link(0, attributes)))
}

/// Asks for all devices.
pub(super) fn get_all() -> Request<'static> {
    let attributes = vec![LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])];
    Request::new("list", "network devices", RouteNetlinkMessage::GetLink(link(0, attributes)))
}

/// Takes a device away.
pub(super) fn delete(device: &str, index: u32) -> Request<'_> {
    Request::new("remove", device, RouteNetlinkMessage::DelLink(link(index, Vec::new())))
}

/// What kind of device it is to be.
pub(super) fn info(kind: InfoKind, data: Option<InfoData>) -> LinkAttribute {
    let data = data.map(LinkInfo::Data);
    LinkAttribute::LinkInfo([LinkInfo::Kind(kind)].into_iter().chain(data).collect())
}

/// The kernel makes no address `fe80::…` by itself.
pub(super) fn no_own_address() -> LinkAttribute {
    let none = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![none])])
}

/// An alias as the kernel keeps it: cut to what it takes.
pub(super) fn alias(text: &str) -> String {
    let mut end = text.len().min(LONGEST_ALIAS);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// Gives a device an address, usable at once.
///
/// KERNEL: an IPv6 address waits a second or two for a neighbour that has it already, and nobody
/// can bind it until then; those here are leased.
pub(super) fn address(device: &str, index: u32, subnet: Subnet) -> Request<'_> {
    let message = RouteNetlinkMessage::NewAddress(address_message(index, subnet));
    Request::new("give an address to", device, message).with(NEW)
}

/// Takes an address of a device away.
pub(super) fn no_address(device: &str, index: u32, subnet: Subnet) -> Request<'_> {
    let message = RouteNetlinkMessage::DelAddress(address_message(index, subnet));
    Request::new("take an address from", device, message)
}

fn address_message(index: u32, subnet: Subnet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = subnet.bits;
    message.header.family = family(subnet.address);
    message.attributes =
        vec![AddressAttribute::Local(subnet.address), AddressAttribute::Address(subnet.address)];
    match (subnet.address, subnet.last()) {
        (IpAddr::V4(_), IpAddr::V4(last)) if subnet.bits < 31 => {
            message.attributes.push(AddressAttribute::Broadcast(last));
        }
        (IpAddr::V6(v6), _) => {
            message.header.flags = AddressHeaderFlags::Nodad;
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
            if v6.is_unicast_link_local() {
                message.header.scope = AddressScope::Link;
            }
        }
        _ => {}
    }
    message
}

/// Asks for the addresses of one device, or of all (0).
pub(super) fn get_addresses(index: u32) -> Request<'static> {
    let mut message = AddressMessage::default();
    message.header.index = index;
    Request::new("list", "addresses", RouteNetlinkMessage::GetAddress(message))
}

/// Asks for all routes of a family.
pub(super) fn get_routes(family: AddressFamily) -> Request<'static> {
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    Request::new("list", "routes", RouteNetlinkMessage::GetRoute(message))
}

/// A default route; by a gateway, or right through the device.
pub(super) fn default_route(
    ipv6: bool,
    gateway: Option<IpAddr>,
    device: Option<u32>,
    metric: u32,
) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = if ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Boot;
    message.header.kind = RouteType::Unicast;
    message.header.scope =
        if gateway.is_none() && !ipv6 { RouteScope::Link } else { RouteScope::Universe };
    message.attributes.extend(device.map(RouteAttribute::Oif));
    message.attributes.extend(gateway.map(|to| RouteAttribute::Gateway(to.into())));
    message.attributes.extend((metric != 0).then_some(RouteAttribute::Priority(metric)));
    message
}

/// The gateway is a neighbour, though no address of the device says so.
pub(super) fn on_link(mut message: RouteMessage) -> RouteMessage {
    message.header.flags |= RouteFlags::Onlink;
    message
}

/// A route's gateway as the crate has it.
pub(super) fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

/// The address that a device would make itself of its MAC address.
///
/// SPEC: RFC 4291 appendix A: a bit flipped, and `fffe` in the middle.
pub(super) fn own_address(mac: [u8; 6]) -> Subnet {
    let mut last = [0, 0, 0, 0xff, 0xfe, 0, 0, 0];
    last[..3].copy_from_slice(&mac[..3]);
    last[5..].copy_from_slice(&mac[3..]);
    last[0] ^= 2;
    let number = (0xfe80_u128 << 112) | u128::from(u64::from_be_bytes(last));
    Subnet { address: Ipv6Addr::from(number).into(), bits: 64 }
}

/// Six pairs of hex digits with colons.
pub(super) fn mac(text: &str) -> Result<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    let all = bytes.iter_mut().all(|byte| {
        let part = parts.next().filter(|part| part.len() == 2);
        let number = part.and_then(|part| u8::from_str_radix(part, 16).ok());
        number.is_some_and(|number| {
            *byte = number;
            true
        })
    });
    // KERNEL: is_valid_ether_addr(): neither many nor none.
    if all && parts.next().is_none() && bytes[0] & 1 == 0 && bytes != [0; 6] {
        return Ok(bytes);
    }
    Err(Error::usage(format!("{text} is no MAC address of one device; try 02:42:0a:00:00:02")))
}

/// Whether the kernel takes it as a device's name.
///
/// KERNEL: dev_valid_name(): and what would be a path is none.
pub(super) fn name(text: &str) -> Result<()> {
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if text.is_empty()
        || text.len() > LONGEST_NAME
        || [".", ".."].contains(&text)
        || text.contains(bad)
    {
        return Err(Error::usage(format!(
            "{text:?} is no name for a network device: at most {LONGEST_NAME} bytes, without '/', ':' and spaces"
        )));
    }
    Ok(())
}
