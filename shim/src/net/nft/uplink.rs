//! Which bridges lead out of the machine: those that bear a default route, or have a port that is
//! no virtual one. All other bridges are engines' own networks.

use std::collections::{BTreeMap, BTreeSet};

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

#[derive(Debug, Default)]
struct Link {
    name: String,
    kind: Option<String>,
    master: Option<u32>,
}

/// Their names.
pub(super) fn bridges() -> Result<BTreeSet<String>, Fault> {
    let mut links = BTreeMap::new();
    for message in dump(GET_LINK, LINK)? {
        if let Some((index, link)) = link(&message) {
            links.insert(index, link);
        }
    }
    let mut out: BTreeSet<u32> =
        dump(GET_ROUTE, ROUTE)?.iter().filter_map(|m| way_out(m)).collect();
    let real = |link: &&Link| !matches!(link.kind.as_deref(), Some("veth" | "tun"));
    out.extend(links.values().filter(real).filter_map(|link| link.master));
    let bridge = |link: &&Link| link.kind.as_deref() == Some("bridge");
    let found = out.iter().filter_map(|index| links.get(index)).filter(bridge);
    Ok(found.map(|link| link.name.clone()).collect())
}

fn link(message: &[u8]) -> Option<(u32, Link)> {
    let index = u32::from_ne_bytes(message.get(4..8)?.try_into().ok()?);
    let all = Values::of(message.get(LINK..)?);
    let number = |kind| Some(u32::from_ne_bytes(all.first(kind)?.try_into().ok()?));
    Some((
        index,
        Link {
            name: all.text(3)?.to_owned(),
            kind: all.within(18).text(1).map(str::to_owned),
            master: number(10),
        },
    ))
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

/// All of a list; taken again when it was changed meanwhile.
fn dump(kind: u16, body: usize) -> Result<Vec<Vec<u8>>, Fault> {
    let failed = |e: std::io::Error| {
        Fault::new(Errno::from_raw(e.raw_os_error().unwrap_or(0)), "list links and routes")
    };
    let socket = Socket::new(NETLINK_ROUTE).map_err(failed)?;
    let mut ask = Vec::new();
    ask.extend((16 + body as u32).to_ne_bytes());
    ask.extend(kind.to_ne_bytes());
    ask.extend((wire::REQUEST | wire::DUMP).to_ne_bytes());
    ask.resize(16 + body, 0);
    for _ in 0..TRIES {
        socket.send_to(&ask, &SocketAddr::new(0, 0), 0).map_err(failed)?;
        if let Some(all) = whole(&socket).map_err(failed)? {
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
