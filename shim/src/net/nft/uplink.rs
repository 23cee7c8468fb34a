//! Which bridges lead out of the machine: those that bear a default route, or have a port that is
//! no virtual one. All other bridges are engines' own networks.

use std::collections::BTreeSet;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;

use super::socket::{Fault, INTERRUPTED, TRIES};
use super::wire::{self, DONE, ERROR, Values};

const GET_LINK: u16 = 18;
const GET_ROUTE: u16 = 26;
/// `ifinfomsg`
const LINK: usize = 16;
/// `rtmsg`
const ROUTE: usize = 12;

/// How the bridges' other names begin that dhow makes: a real device in one is nobody's.
const OWN: &str = "dhow network ";

/// `IFLA_MASTER`
const MASTER: u16 = 10;
/// `IFLA_LINKINFO`, and in it `IFLA_INFO_KIND`
const INFO: (u16, u16) = (18, 1);

#[derive(Debug, Default)]
struct Link {
    index: u32,
    name: String,
    alias: String,
    kind: Option<String>,
    master: Option<u32>,
}

/// Their names. The kernel is asked for bridges, and for the ports of foreign ones: to list what
/// hundreds of containers have takes milliseconds.
pub(super) fn bridges() -> Result<BTreeSet<String>, Fault> {
    let socket = Socket::new(NETLINK_ROUTE).map_err(failed)?;
    let routes = dump(&socket, GET_ROUTE, &[0; ROUTE])?;
    let ways_out: BTreeSet<u32> = routes.iter().filter_map(|m| way_out(m)).collect();
    let mut found = BTreeSet::new();
    for bridge in links(&socket, &of_kind("bridge"))? {
        if bridge.kind.as_deref() != Some("bridge") {
            continue; // of a kernel that doesn't know bridges
        }
        let leads = ways_out.contains(&bridge.index)
            || !bridge.alias.starts_with(OWN) && has_real_port(&socket, bridge.index)?;
        if leads {
            found.insert(bridge.name);
        }
    }
    Ok(found)
}

fn has_real_port(socket: &Socket, bridge: u32) -> Result<bool, Fault> {
    let ports = links(socket, &attribute(MASTER, &bridge.to_ne_bytes()))?;
    let real = |port: &Link| {
        port.master == Some(bridge) && !matches!(port.kind.as_deref(), Some("veth" | "tun"))
    };
    Ok(ports.iter().any(real))
}

/// Those that the attribute is of.
fn links(socket: &Socket, attribute: &[u8]) -> Result<Vec<Link>, Fault> {
    let body = [&[0; LINK], attribute].concat();
    Ok(dump(socket, GET_LINK, &body)?.iter().filter_map(|message| link(message)).collect())
}

fn of_kind(kind: &str) -> Vec<u8> {
    attribute(INFO.0, &attribute(INFO.1, kind.as_bytes()))
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut whole = (4 + value.len() as u16).to_ne_bytes().to_vec();
    whole.extend(kind.to_ne_bytes());
    whole.extend(value);
    whole.resize(whole.len().next_multiple_of(4), 0);
    whole
}

fn link(message: &[u8]) -> Option<Link> {
    let index = u32::from_ne_bytes(message.get(4..8)?.try_into().ok()?);
    let all = Values::of(message.get(LINK..)?);
    let number = |kind| Some(u32::from_ne_bytes(all.first(kind)?.try_into().ok()?));
    Some(Link {
        index,
        name: all.text(3)?.to_owned(),
        alias: all.text(20).unwrap_or_default().to_owned(),
        kind: all.within(INFO.0).text(INFO.1).map(str::to_owned),
        master: number(MASTER),
    })
}

/// The device of a default route.
fn way_out(message: &[u8]) -> Option<u32> {
    const UNICAST: u8 = 1;
    let (bits, kind) = (*message.get(1)?, *message.get(7)?);
    if bits != 0 || kind != UNICAST {
        return None;
    }
    let all = Values::of(message.get(ROUTE..)?);
    Some(u32::from_ne_bytes(all.first(4)?.try_into().ok()?))
}

fn failed(e: std::io::Error) -> Fault {
    Fault::new(Errno::from_raw(e.raw_os_error().unwrap_or(0)), "list links and routes")
}

/// All of a list; taken again when it was changed meanwhile.
fn dump(socket: &Socket, kind: u16, body: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
    let mut ask = Vec::new();
    ask.extend((16 + body.len() as u32).to_ne_bytes());
    ask.extend(kind.to_ne_bytes());
    ask.extend((wire::REQUEST | wire::DUMP).to_ne_bytes());
    ask.resize(16, 0);
    ask.extend(body);
    for _ in 0..TRIES {
        socket.send_to(&ask, &SocketAddr::new(0, 0), 0).map_err(failed)?;
        if let Some(all) = whole(socket).map_err(failed)? {
            return Ok(all);
        }
    }
    Err(Fault::new(Errno::EINTR, "list links and routes"))
}

/// What a dump tells, unless something changed meanwhile: then one may be missing.
fn whole(socket: &Socket) -> std::io::Result<Option<Vec<Vec<u8>>>> {
    let mut all = Vec::new();
    let mut buffer = vec![0u8; 64 * 1024];
    let mut torn = false;
    loop {
        let got = socket.recv(&mut buffer.as_mut_slice(), libc::MSG_DONTWAIT)?;
        for message in wire::messages(&buffer[..got.min(buffer.len())]) {
            torn |= message.flags & INTERRUPTED != 0;
            match message.kind {
                DONE | ERROR => return Ok((!torn).then_some(all)),
                _ => all.push(message.payload.to_vec()),
            }
        }
    }
}

#[cfg(test)]
pub(super) fn read_any(message: &[u8]) {
    let _ = (link(message), way_out(message));
}
