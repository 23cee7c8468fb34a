//! Connection tracking forgets UDP flows that a port's change has made wrong.
//!
//! A flow is translated as its first packet was. A client that goes on asking from one port would
//! be led to a container that is gone, or past one that has come, for as long as it asks.
//!
//! And all flows of an address that has a new container: what the last one began or served is known,
//! and would let whoever was at its other end reach the new one's ports, published or not.

use std::net::{IpAddr, UdpSocket};

use super::network::{number, octets};
use super::socket::Socket;
use super::wire::{Attributes, DUMP, Family, Requests, TRACKING, Values};
use crate::model::network::{Protocol, Published};

const GET: u16 = 1;
const DELETE: u16 = 2;
/// `CTA_FILTER_FLAG`: protocol and port of the receiver; others are not even told of (5.8).
const BY_PORT: u32 = 1 << 3 | 1 << 5;

/// One flow, both ways.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Flow {
    from: IpAddr,
    to: IpAddr,
    port: u16,
    /// Who answers.
    answers: IpAddr,
    answering_port: u16,
    /// To whom the answers go.
    answered: IpAddr,
    /// How the kernel names it: attributes of its message, by kind.
    name: Vec<(u16, Vec<u8>)>,
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
        let sender = reply.within(2).first(2)?.try_into().ok()?;
        Some(Self {
            from,
            to,
            port,
            answers,
            answering_port: u16::from_be_bytes(sender),
            answered,
            name: name(&all),
        })
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

    /// It leads to that port of that container.
    const fn leads_to(&self, port: u16) -> bool {
        self.answering_port == port
    }
}

/// How the kernel names a flow: its tuple, its number, its zone.
fn name(all: &Values<'_>) -> Vec<(u16, Vec<u8>)> {
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

/// Flows to ports that now lead into a container, and knew another way.
pub(super) fn forget_misled(socket: &Socket, ports: &[(Published, IpAddr)]) {
    forget(socket, ports, |flow, port, _| flow.misses(port));
}

/// Flows to ports that no longer lead into a container.
pub(super) fn forget_led(socket: &Socket, ports: &[(Published, IpAddr)]) {
    forget(socket, ports, |flow, port, address| {
        flow.answers == address && flow.leads_to(port.port)
    });
}

fn forget(
    socket: &Socket,
    ports: &[(Published, IpAddr)],
    wrong: impl Fn(&Flow, &Published, IpAddr) -> bool,
) {
    let udp = |p: &Published| p.protocol == Protocol::Udp && p.host_port != 0;
    for (port, address) in ports.iter().filter(|(port, _)| udp(port)) {
        let family = if address.is_ipv4() { Family::Ip } else { Family::Ip6 };
        // A kernel without ctnetlink can't be helped: the flow ends when it has been silent for
        // half a minute.
        let known = socket.dump(&flows(family, port)).unwrap_or_default();
        let known = known.iter().filter_map(|message| Flow::read(message));
        let mut gone = Requests::questions();
        for flow in known.filter(|flow| wrong(flow, port, *address)) {
            gone.message((TRACKING, DELETE), 0, family, "forget a UDP flow", |a| {
                flow.name.iter().for_each(|(kind, value)| a.bytes(*kind, value));
            });
        }
        // One that ended by itself meanwhile is of no interest.
        let _ = socket.ask(gone);
    }
}

/// All flows that a container at one of `addresses` began, or was led to.
pub(super) fn forget_addresses(socket: &Socket, addresses: &[IpAddr]) {
    for &address in addresses {
        let family = if address.is_ipv4() { Family::Ip } else { Family::Ip6 };
        let mut gone = Requests::questions();
        for ask in flows_of(family, address) {
            for message in socket.dump(&ask).unwrap_or_default() {
                let all = Values::of(message.get(4..).unwrap_or_default());
                if WAYS.iter().any(|way| sender(&all.within(*way)) == Some(address)) {
                    gone.message((TRACKING, DELETE), 0, family, "forget a flow", |a| {
                        for (kind, value) in name(&all) {
                            a.bytes(kind, &value);
                        }
                    });
                }
            }
        }
        let _ = socket.ask(gone);
    }
}

/// A flow's tuple from who began it, and from who answers; a filter's flags for each are called so.
const WAYS: [u16; 2] = [1, 2];

/// KERNEL: ctnetlink_filter_match_tuple() takes all IPv6 addresses but the one that is asked for,
/// so that all flows are asked for there; before 5.8 it tells of all.
fn flows_of(family: Family, address: IpAddr) -> Vec<Requests> {
    const BY_SENDER: u32 = 1;
    let list = |fill: &dyn Fn(&mut Attributes<'_>)| {
        let mut ask = Requests::questions();
        ask.message((TRACKING, GET), DUMP, family, "list an address's flows", |a| fill(a));
        ask
    };
    if address.is_ipv6() {
        return vec![list(&|_| {})];
    }
    let by = |way| {
        list(&|a| {
            a.nested(way, |a| a.nested(1, |a| a.bytes(1, &octets(address))));
            a.nested(25, |a| a.bytes(way, &BY_SENDER.to_ne_bytes()));
        })
    };
    WAYS.map(by).into()
}

fn flows(family: Family, port: &Published) -> Requests {
    let mut ask = Requests::questions();
    let any = octets(if family == Family::Ip { [0; 4].into() } else { [0; 16].into() });
    ask.message((TRACKING, GET), DUMP, family, "list UDP flows", |a| {
        a.nested(1, |a| {
            a.nested(1, |a| {
                let first = if family == Family::Ip { 1 } else { 3 };
                a.bytes(first, &any);
                a.bytes(first + 1, &any);
            });
            a.nested(2, |a| {
                a.bytes(1, &[number(port.protocol)]);
                a.bytes(3, &port.host_port.to_be_bytes());
            });
        });
        // KERNEL: these flags alone are in the machine's order.
        a.nested(25, |a| a.bytes(1, &BY_PORT.to_ne_bytes()));
    });
    ask
}

#[cfg(test)]
pub(super) fn read_any(message: &[u8]) {
    let _ = Flow::read(message);
}
