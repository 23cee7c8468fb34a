//! What is there, and away with it.

use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::answer::{Address, Found, Route};
use super::message::{Request, delete, down, get, get_addresses, get_all, get_routes, link};
use super::socket::{Socket, Told};
use super::words;
use crate::error::{Error, Result};
use crate::model::network::Subnet;

/// KERNEL: the table of this machine's own addresses.
const LOCAL: u32 = libc::RT_TABLE_LOCAL as u32;

/// Every alias of dhow's begins so.
const OURS: &str = "dhow ";

/// The device of that name.
pub fn find(socket: &Socket, name: &str) -> Result<Option<Found>> {
    let request = get(name);
    match socket.attempt(std::slice::from_ref(&request))? {
        (_, Some((_, failure))) if failure.errno == libc::ENODEV => Ok(None),
        (_, Some((_, failure))) => Err(words::of(&request, &failure)),
        (told, None) => one(&told, name).map(Some),
    }
}

/// The device that was told of.
pub(super) fn one(told: &[Told], name: &str) -> Result<Found> {
    let found = told.iter().filter(|told| told.kind == libc::RTM_NEWLINK);
    found
        .filter_map(|told| Found::read(&told.body))
        .next_back()
        .ok_or_else(|| Error::engine(format!("look at {name}: the kernel's answer makes no sense")))
}

/// All devices.
pub fn list(socket: &Socket) -> Result<Vec<Found>> {
    let mut all = Vec::new();
    socket.dump(&get_all(), |told| all.extend(Found::read(&told.body)))?;
    Ok(all)
}

/// The addresses of all devices.
pub fn addresses(socket: &Socket) -> Result<Vec<Address>> {
    addresses_of(socket, 0)
}

/// The addresses of one device.
pub(super) fn addresses_of(socket: &Socket, index: u32) -> Result<Vec<Address>> {
    let mut all = Vec::new();
    socket.dump(&get_addresses(index), |told| all.extend(Address::read(&told.body)))?;
    // A kernel that doesn't narrow the list has told of all.
    all.retain(|address: &Address| index == 0 || address.index == index);
    Ok(all)
}

/// Where all routes but the default ones lead to, of every table: what a new subnet must not
/// overlap. Tables of VPNs count too.
pub fn routes(socket: &Socket) -> Result<Vec<Subnet>> {
    let mut all: Vec<Subnet> = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let every = all_routes(socket, family)?;
        let wanted = every.into_iter().filter(|r| r.table != LOCAL && r.to.bits != 0);
        all.extend(wanted.map(|route| route.to));
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

pub(super) fn all_routes(socket: &Socket, family: AddressFamily) -> Result<Vec<Route>> {
    let mut all = Vec::new();
    let request: Request<'_> = get_routes(family);
    socket.dump(&request, |told| {
        if told.kind == libc::RTM_NEWROUTE {
            all.extend(Route::read(&told.body));
        }
    })?;
    Ok(all)
}

/// Takes a device of dhow's on the host away; one that is absent, or somebody else's, is left.
pub fn remove(socket: &Socket, name: &str) -> Result<()> {
    match find(socket, name)? {
        Some(found) if found.alias.starts_with(OURS) => gone(socket, name, found.index),
        _ => Ok(()),
    }
}

/// Turns a device of dhow's on the host off; one that is absent, or somebody else's, is left.
pub fn silence(socket: &Socket, name: &str) -> Result<()> {
    let Some(found) = find(socket, name)?.filter(|found| found.alias.starts_with(OURS)) else {
        return Ok(());
    };
    let message = RouteNetlinkMessage::SetLink(down(link(found.index, Vec::new())));
    absent_is_fine(socket, &Request::new("turn off", name, message))
}

/// Takes a container's interface away, with the other end of it; absent is fine.
pub fn unplug(inside: &Socket, interface: &str) -> Result<()> {
    match find(inside, interface)? {
        Some(found) => gone(inside, interface, found.index),
        None => Ok(()),
    }
}

/// By its number; absent is fine.
pub(super) fn gone(socket: &Socket, name: &str, index: u32) -> Result<()> {
    absent_is_fine(socket, &delete(name, index))
}

fn absent_is_fine(socket: &Socket, request: &Request<'_>) -> Result<()> {
    match socket.attempt(std::slice::from_ref(request))?.1 {
        Some((_, failure)) if failure.errno != libc::ENODEV => Err(words::of(request, &failure)),
        _ => Ok(()),
    }
}
