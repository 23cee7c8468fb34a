//! The default routes of a container that runs: one network of several leads out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::answer::Route;
use super::message::{Request, default_route};
use super::query::{all_routes, find};
use super::socket::Socket;
use crate::error::{Error, Result};

pub(super) const REPLACE: u16 = NLM_F_CREATE | NLM_F_REPLACE;
const MAIN: u32 = libc::RT_TABLE_MAIN as u32;
/// KERNEL: learned from a router; its routes are its own.
const LEARNED: u8 = 9;

/// Sets where a container's packets leave from now on; a family without a gateway has no way out.
pub fn default_routes(
    inside: &Socket,
    gateway4: Option<Ipv4Addr>,
    gateway6: Option<Ipv6Addr>,
) -> Result<()> {
    change(inside, false, gateway4.map(|to| (Some(to.into()), None)))?;
    change(inside, true, gateway6.map(|to| (Some(to.into()), None)))
}

/// The same right through an interface, without a gateway, as ipvlan's modes l3 and l3s want it.
pub fn default_device(inside: &Socket, interface: &str, ipv4: bool, ipv6: bool) -> Result<()> {
    let found = find(inside, interface)?
        .ok_or_else(|| Error::engine(format!("the container has no interface {interface}")))?;
    change(inside, false, ipv4.then_some((None, Some(found.index))))?;
    change(inside, true, ipv6.then_some((None, Some(found.index))))
}

type Way = (Option<IpAddr>, Option<u32>);

/// The new one first, so that there is always one; then the others go.
fn change(inside: &Socket, ipv6: bool, way: Option<Way>) -> Result<()> {
    let keeps = |route: &Route| {
        way.is_some_and(|(gateway, device)| {
            gateway == route.gateway && (device.is_none() || device == route.device)
        })
    };
    let mut old = defaults(inside, ipv6)?;
    if let Some((gateway, device)) = way.filter(|_| !old.iter().any(keeps)) {
        inside.batch(&[lead(ipv6, gateway, device)])?;
        old = defaults(inside, ipv6)?;
    }
    let others = old.iter().filter(|route| !keeps(route)).map(|route| {
        let message = default_route(ipv6, route.gateway, route.device, route.metric);
        let message = RouteNetlinkMessage::DelRoute(message);
        Request::new("remove a default route of", "the container", message)
    });
    inside.batch(&others.collect::<Vec<_>>()).map(drop)
}

fn defaults(inside: &Socket, ipv6: bool) -> Result<Vec<Route>> {
    let family = if ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let mut all = all_routes(inside, family)?;
    all.retain(|route| {
        route.to.bits == 0
            && route.table == MAIN
            && route.kind == libc::RTN_UNICAST
            && route.protocol != LEARNED
    });
    Ok(all)
}

/// A default route that takes the place of what was one.
fn lead(ipv6: bool, gateway: Option<IpAddr>, device: Option<u32>) -> Request<'static> {
    let message = RouteNetlinkMessage::NewRoute(default_route(ipv6, gateway, device, 0));
    Request::new("set the default route of", "the container", message).with(REPLACE)
}
