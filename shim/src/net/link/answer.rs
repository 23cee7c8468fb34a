//! What the kernel answers.
//!
//! Messages and attributes are walked by netlink-packet-core; its route crate would refuse a whole
//! device for one attribute that a newer kernel made longer, and read hundreds of counters that
//! nobody asks for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN, NlasIterator};

use crate::model::network::Subnet;

/// KERNEL: netlink(7): flags of an answer.
const DISTURBED: u16 = libc::NLM_F_DUMP_INTR as u16;
const CAPPED: u16 = 0x100;
const WITH_WORDS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;
const HEADER: usize = 16;

/// One message of a datagram.
pub(super) struct Message<'a> {
    pub kind: u16,
    pub sequence: u32,
    /// The list changed while it was read.
    pub disturbed: bool,
    pub body: &'a [u8],
    /// The request's end.
    pub ending: Option<Ending>,
}

/// How a request ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ending {
    /// 0 or positive.
    pub errno: i32,
    pub text: Option<String>,
}

/// Hands over each message of a datagram.
pub(super) fn messages(
    mut rest: &[u8],
    each: &mut impl FnMut(Message<'_>),
) -> Result<(), &'static str> {
    while !rest.is_empty() {
        let header = (word(rest, 0), half(rest, 4), half(rest, 6), word(rest, 8));
        let (Some(length), Some(kind), Some(flags), Some(sequence)) = header else {
            return Err("a header is cut off");
        };
        let length = length as usize;
        let Some(body) = rest.get(HEADER..length) else { return Err("a message is cut off") };
        let ending = match kind {
            NLMSG_ERROR => Some(refusal(body, flags)),
            NLMSG_DONE => Some(done(body)),
            NLMSG_OVERRUN => return Err("answers were lost"),
            _ => None,
        };
        if kind != NLMSG_NOOP {
            let disturbed = flags & DISTURBED != 0;
            each(Message { kind, sequence, disturbed, body, ending });
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(())
}

fn positive(errno: u32) -> i32 {
    (errno as i32).saturating_neg().max(0)
}

/// KERNEL: an errno, the request's header, the request itself unless capped, then attributes.
fn refusal(body: &[u8], flags: u16) -> Ending {
    let errno = word(body, 0).map_or(libc::EPROTO, positive);
    let request = word(body, 4).unwrap_or(0) as usize;
    let behind = if flags & CAPPED != 0 { HEADER } else { request.max(HEADER) };
    let words = (flags & WITH_WORDS != 0)
        .then(|| body.get(4usize.saturating_add(behind.next_multiple_of(4))..))
        .flatten();
    Ending { errno, text: words.and_then(text) }
}

/// KERNEL: the end of a list has an errno too, and attributes right behind it.
fn done(body: &[u8]) -> Ending {
    let errno = word(body, 0).map_or(0, positive);
    Ending { errno, text: body.get(4..).and_then(text) }
}

fn text(attributes: &[u8]) -> Option<String> {
    pairs(attributes).find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG).map(|(_, value)| string(value))
}

/// The attributes up to the first that makes no sense.
pub(super) fn pairs(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(Result::ok).map(|attribute| {
        let value = attribute.into_inner();
        let kind = half(value, 2).unwrap_or(0) & netlink_packet_core::NLA_TYPE_MASK;
        let length = usize::from(half(value, 0).unwrap_or(0));
        (kind, value.get(4..length).unwrap_or_default())
    })
}

/// A device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Its number in its namespace.
    pub index: u32,
    /// `dhow0`
    pub name: String,
    /// `bridge`, `veth`, …; empty for what the kernel makes by itself.
    pub kind: String,
    /// Whose it is, when dhow made it.
    pub alias: String,
    /// It is up, whether or not anything is plugged in.
    pub up: bool,
    /// Of its frames, in bytes.
    pub mtu: u32,
    /// Lower case with colons; empty if it has none.
    pub mac: String,
    /// The bridge it is a port of.
    pub master: Option<u32>,
    /// A pair's other end, or what it stands on; often in another namespace.
    pub peer: Option<u32>,
    /// Frames go through it: it is up, and so is what it is plugged into.
    pub carries: bool,
    /// What its IPv6 is set to; nothing where the kernel has none.
    pub(super) inet6: Option<Inet6>,
}

/// The settings of a device's IPv6 that dhow cares for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Inet6 {
    pub accept_ra: i32,
    pub disabled: bool,
}

/// KERNEL: linux/if.h: IF_OPER_UNKNOWN, of devices that have nothing to be plugged into, and
/// IF_OPER_UP.
const CARRIES: [u8; 2] = [0, 6];

/// KERNEL: linux/ipv6.h, places in the array of settings.
const DEVCONF_ACCEPT_RA: usize = 3;
const DEVCONF_DISABLE_IPV6: usize = 26;
const IFLA_INET6_CONF: u16 = 2;
const IFLA_INFO_KIND: u16 = 1;

impl Found {
    /// Of a message's body.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let (index, flags) = (word(body, 4)?, word(body, 8)?);
        let mut found = Self { index, up: flags & libc::IFF_UP as u32 != 0, ..Self::default() };
        for (kind, value) in pairs(body.get(16..)?) {
            match kind {
                libc::IFLA_IFNAME => found.name = string(value),
                libc::IFLA_IFALIAS => found.alias = string(value),
                libc::IFLA_ADDRESS => found.mac = mac(value),
                libc::IFLA_MTU => found.mtu = word(value, 0)?,
                libc::IFLA_OPERSTATE => {
                    found.carries = value.first().is_some_and(|s| CARRIES.contains(s));
                }
                libc::IFLA_MASTER => found.master = word(value, 0),
                libc::IFLA_LINK => found.peer = word(value, 0),
                libc::IFLA_LINKINFO => {
                    let named = pairs(value).find(|(kind, _)| *kind == IFLA_INFO_KIND);
                    found.kind = named.map(|(_, name)| string(name)).unwrap_or_default();
                }
                libc::IFLA_AF_SPEC => found.inet6 = inet6(value),
                _ => {}
            }
        }
        Some(found)
    }
}

fn inet6(families: &[u8]) -> Option<Inet6> {
    let (_, inner) = pairs(families).find(|(kind, _)| i32::from(*kind) == libc::AF_INET6)?;
    let (_, settings) = pairs(inner).find(|(kind, _)| *kind == IFLA_INET6_CONF)?;
    let at = |place: usize| word(settings, place * 4).map_or(0, |value| value as i32);
    Some(Inet6 { accept_ra: at(DEVCONF_ACCEPT_RA), disabled: at(DEVCONF_DISABLE_IPV6) != 0 })
}

/// An address of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The device's number.
    pub index: u32,
    /// With the length of its network.
    pub subnet: Subnet,
    /// It is of this link alone (`fe80::…`).
    pub link_local: bool,
}

impl Address {
    /// Of a message's body.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let (family, bits, scope) = (*body.first()?, *body.get(1)?, *body.get(3)?);
        let index = word(body, 4)?;
        // KERNEL: of a pair of tunnel's ends, IFA_LOCAL is ours; IPv6 has it only there.
        let (mut local, mut shown) = (None, None);
        for (kind, value) in pairs(body.get(8..)?) {
            match kind {
                libc::IFA_LOCAL => local = ip(family, value),
                libc::IFA_ADDRESS => shown = ip(family, value),
                _ => {}
            }
        }
        let subnet = subnet(local.or(shown)?, bits)?;
        Some(Self { index, subnet, link_local: scope == libc::RT_SCOPE_LINK })
    }
}

/// A route, as much of it as is asked for here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    pub to: Subnet,
    pub table: u32,
    pub protocol: u8,
    pub kind: u8,
    pub device: Option<u32>,
    pub gateway: Option<IpAddr>,
    pub metric: u32,
}

impl Route {
    /// Of a message's body.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let (family, bits, table, protocol) =
            (*body.first()?, *body.get(1)?, *body.get(4)?, *body.get(5)?);
        let kind = *body.get(7)?;
        let any: IpAddr = match i32::from(family) {
            libc::AF_INET => Ipv4Addr::UNSPECIFIED.into(),
            libc::AF_INET6 => Ipv6Addr::UNSPECIFIED.into(),
            _ => return None,
        };
        let mut route = Self {
            to: subnet(any, bits)?,
            table: table.into(),
            protocol,
            kind,
            device: None,
            gateway: None,
            metric: 0,
        };
        for (kind, value) in pairs(body.get(12..)?) {
            match kind {
                libc::RTA_DST => route.to = subnet(ip(family, value)?, bits)?,
                libc::RTA_TABLE => route.table = word(value, 0)?,
                libc::RTA_OIF => route.device = word(value, 0),
                libc::RTA_PRIORITY => route.metric = word(value, 0)?,
                libc::RTA_GATEWAY => route.gateway = ip(family, value),
                _ => {}
            }
        }
        Some(route)
    }
}

fn subnet(address: IpAddr, bits: u8) -> Option<Subnet> {
    let width = if address.is_ipv4() { 32 } else { 128 };
    (bits <= width).then_some(Subnet { address, bits })
}

fn ip(family: u8, value: &[u8]) -> Option<IpAddr> {
    match i32::from(family) {
        libc::AF_INET => <[u8; 4]>::try_from(value).ok().map(IpAddr::from),
        libc::AF_INET6 => <[u8; 16]>::try_from(value).ok().map(IpAddr::from),
        _ => None,
    }
}

fn mac(value: &[u8]) -> String {
    value.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

/// Up to the first zero; what isn't UTF-8 can't be a name of ours.
fn string(value: &[u8]) -> String {
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}
