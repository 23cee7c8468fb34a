//! Connection tracking forgets UDP flows that a port's change has made wrong.
//!
//! A flow is translated as its first packet was. A client that goes on asking from one port would
//! be led past a container that has come for as long as it asks.
//!
//! And all flows of an address whose container has ended: what that began or served is known, and
//! would let whoever was at its other end reach the next one's ports, published or not; or lead him
//! to nobody.

use std::collections::BTreeSet;
use std::net::{IpAddr, UdpSocket};

use nix::errno::Errno;

use super::network::{number, octets};
use super::socket::{Fault, Socket};
use super::wire::{DUMP, Family, Requests, TRACKING, Values};
use crate::model::network::{Protocol, Published};

/// How many flows there are in the network namespace of who reads it.
const COUNT: &str = "/proc/sys/net/netfilter/nf_conntrack_count";

const GET: u16 = 1;
const DELETE: u16 = 2;
/// `CTA_FILTER_FLAG`: protocol and port of the receiver; others are not even told of (5.8).
const BY_PROTOCOL: u32 = 1 << 3;
const BY_PORT: u32 = 1 << 5;

/// How the kernel names a flow: attributes of its message, by kind.
type Name = Vec<(u16, Vec<u8>)>;

/// One flow, both ways.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Flow {
    from: IpAddr,
    to: IpAddr,
    port: u16,
    /// Who answers.
    answers: IpAddr,
    /// To whom the answers go.
    answered: IpAddr,
    name: Name,
}

impl Flow {
    /// A UDP flow that the kernel tells of.
    fn read(message: &[u8]) -> Option<Self> {
        let all = Values::of(message.get(4..)?);
        let (asked, reply) = (all.within(1), all.within(2));
        // KERNEL: before 5.8 all flows are told of.
        if asked.within(2).first(1)? != [number(Protocol::Udp)] {
            return None;
        }
        let (from, to, port) = ends(&asked)?;
        let (answers, answered, _) = ends(&reply)?;
        Some(Self { from, to, port, answers, answered, name: name(&all) })
    }

    /// It was not led to where the port leads now, and would have been.
    fn misses(&self, port: &Published) -> bool {
        let asks = self.port == port.host_port
            && (port.host_ip.is_unspecified() || port.host_ip == self.to)
            && !self.to.is_loopback();
        let translated = self.answers != self.to;
        // What only passes through this machine is nobody's business here.
        let ours = || self.answered == self.from && UdpSocket::bind((self.to, 0)).is_ok();
        asks && (translated || ours())
    }
}

/// Its tuple, its number, its zone.
fn name(all: &Values<'_>) -> Name {
    [1, 12, 18].into_iter().filter_map(|kind| Some((kind, all.first(kind)?.to_vec()))).collect()
}

/// Who sends.
fn sender(tuple: &Values<'_>) -> Option<IpAddr> {
    let ip = tuple.within(1);
    let four = || Some(IpAddr::from(<[u8; 4]>::try_from(ip.first(1)?).ok()?));
    let six = || Some(IpAddr::from(<[u8; 16]>::try_from(ip.first(3)?).ok()?));
    four().or_else(six)
}

/// Sender, receiver, the receiver's port.
fn ends(tuple: &Values<'_>) -> Option<(IpAddr, IpAddr, u16)> {
    let ip = tuple.within(1);
    let four = |kind| Some(IpAddr::from(<[u8; 4]>::try_from(ip.first(kind)?).ok()?));
    let six = |kind| Some(IpAddr::from(<[u8; 16]>::try_from(ip.first(kind)?).ok()?));
    let port = tuple.within(2).first(3)?.try_into().ok()?;
    let (from, to) = (four(1).or_else(|| six(3))?, four(2).or_else(|| six(4))?);
    Some((from, to, u16::from_be_bytes(port)))
}

/// Flows to UDP ports that now lead into a container, and knew another way; one pass for all of them.
pub(super) fn forget_misled(socket: &Socket, ports: &[(Published, IpAddr)]) {
    let udp = |p: &Published| p.protocol == Protocol::Udp && p.host_port != 0;
    let ports: Vec<_> = ports.iter().filter(|(port, _)| udp(port)).collect();
    let six = |(_, address): &&(Published, IpAddr)| address.is_ipv6();
    let Some(family) = family(ports.iter().any(|p| !six(p)), ports.iter().any(six)) else { return };
    let misled = |flow: Flow| {
        let of = |address: &IpAddr| address.is_ipv4() == flow.to.is_ipv4();
        let missed = ports.iter().any(|(port, address)| of(address) && flow.misses(port));
        missed.then_some(flow.name)
    };
    // A kernel without ctnetlink can't be helped: the flow ends when it has been silent for half a
    // minute. One that ended by itself meanwhile is of no interest.
    let only = if let [(port, _)] = ports[..] { Some(port) } else { None };
    let _ = forget(socket, &flows(family, only), |message| Flow::read(message).and_then(misled));
}

/// All flows that a container at one of `addresses` began, or was led to.
///
/// KERNEL: a filter takes one address, for one way, and (ctnetlink_filter_match_tuple()) all of
/// IPv6 but the one that is asked for. To look through the buckets costs more than to be told of
/// some thousand flows.
pub(super) fn forget_addresses(socket: &Socket, addresses: &BTreeSet<IpAddr>) -> Result<(), Fault> {
    let Some(family) =
        family(addresses.iter().any(IpAddr::is_ipv4), addresses.iter().any(IpAddr::is_ipv6))
    else {
        return Ok(());
    };
    let mut ask = Requests::questions();
    ask.message((TRACKING, GET), DUMP, family, "list flows", |_| {});
    let done = forget(socket, &ask, |message| {
        let all = Values::of(message.get(4..)?);
        let way = |way: &u16| sender(&all.within(*way)).is_some_and(|a| addresses.contains(&a));
        WAYS.iter().any(way).then(|| name(&all))
    });
    match done {
        // It follows no flows, or tells nobody of them.
        Err(Fault {
            errno: Errno::EINVAL | Errno::EOPNOTSUPP | Errno::EPROTONOSUPPORT, ..
        }) => Ok(()),
        done => done,
    }
}

/// A flow's tuple from who began it, and from who answers.
const WAYS: [u16; 2] = [1, 2];

/// Of which a list is to be.
const fn family(four: bool, six: bool) -> Option<Family> {
    match (four, six) {
        (true, true) => Some(Family::Any),
        (true, false) => Some(Family::Ip),
        (false, true) => Some(Family::Ip6),
        (false, false) => None,
    }
}

/// Of the flows that are listed, those go that `choose` names.
fn forget(
    socket: &Socket,
    list: &Requests,
    choose: impl Fn(&[u8]) -> Option<Name>,
) -> Result<(), Fault> {
    // KERNEL: it looks through the buckets of all namespaces, ten milliseconds for 262144 of them,
    // also where this one has no flow at all.
    if std::fs::read(COUNT).is_ok_and(|count| count.trim_ascii() == b"0") {
        return Ok(());
    }
    let mut gone = Requests::questions();
    for message in socket.dump(list)? {
        let Some(name) = choose(&message) else { continue };
        let family = message.first().copied().and_then(Family::of).unwrap_or(Family::Any);
        gone.message((TRACKING, DELETE), 0, family, "forget a flow", |a| {
            for (kind, value) in &name {
                a.bytes(*kind, value);
            }
        });
    }
    socket.ask(gone).map(drop)
}

/// Asks for UDP's flows, of both families or one; of one to `only` this port.
fn flows(family: Family, only: Option<&Published>) -> Requests {
    let mut ask = Requests::questions();
    ask.message((TRACKING, GET), DUMP, family, "list UDP flows", |a| {
        // KERNEL: a filter is of one family.
        if family == Family::Any {
            return;
        }
        let any = octets(if family == Family::Ip { [0; 4].into() } else { [0; 16].into() });
        a.nested(1, |a| {
            a.nested(1, |a| {
                let first = if family == Family::Ip { 1 } else { 3 };
                a.bytes(first, &any);
                a.bytes(first + 1, &any);
            });
            a.nested(2, |a| {
                a.bytes(1, &[number(Protocol::Udp)]);
                a.bytes(3, &only.map_or(0, |port| port.host_port).to_be_bytes());
            });
        });
        // KERNEL: these flags alone are in the machine's order.
        let flags = if only.is_some() { BY_PROTOCOL | BY_PORT } else { BY_PROTOCOL };
        a.nested(25, |a| a.bytes(1, &flags.to_ne_bytes()));
    });
    ask
}

#[cfg(test)]
pub(super) fn read_any(message: &[u8]) {
    let _ = Flow::read(message);
}
