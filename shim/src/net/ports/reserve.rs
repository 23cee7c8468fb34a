//! Ports of the host, held by sockets: all that a container wants, or none.

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use nix::errno::Errno;

use super::clash::{Holder, clash};
use super::proxy::Proxy;
use super::wanted::Want;
use super::{Target, files, joined, socket};
use crate::error::{Error, Result};
use crate::model::{Protocol, Published};

/// One port, held.
#[derive(Debug)]
pub struct Held {
    /// What it is.
    pub published: Published,
    /// The socket that holds it.
    pub socket: OwnedFd,
}

/// The ports of one container, from when it is to start until it has ended.
#[derive(Debug, Default)]
pub struct Reserved(Vec<Held>);

impl Reserved {
    /// Binds what is `wanted` for a container at `to`. `usual` is where ports go that name no
    /// address; `holder` tells which container has a port, and is asked only when one is taken.
    pub fn bind(
        wanted: &[Want],
        usual: Option<IpAddr>,
        to: Target,
        holder: &Holder<'_>,
    ) -> Result<Self> {
        let mut all = Vec::new();
        for alike in wanted.chunk_by(Want::is_alike) {
            let mut places = Vec::new();
            for want in alike {
                for place in want.places(usual, to, &socket::has_ipv6) {
                    if !places.contains(&place) {
                        places.push(place);
                    }
                }
            }
            if !places.is_empty() {
                all.extend(bind_alike(alike[0], &places, to, holder)?);
            }
        }
        Ok(Self(all))
    }

    /// Binds again what a killed monitor held; what can't be had is left out, and why is told.
    pub fn again(published: &[Published], to: Target, holder: &Holder<'_>) -> (Self, Result<()>) {
        let (mut all, mut first) = (Vec::new(), Ok(()));
        for one in published {
            let port = one.host_port;
            let want = Want {
                port: one.port,
                protocol: one.protocol,
                host_ip: Some(one.host_ip),
                first: port,
                last: port,
            };
            match bind_alike(want, &[one.host_ip], to, holder) {
                Ok(held) => all.extend(held),
                Err(error) => first = first.and(Err(error)),
            }
        }
        (Self(all), first)
    }

    /// What is held; in docker's order.
    pub fn published(&self) -> Vec<Published> {
        self.0.iter().map(|held| held.published).collect()
    }

    /// Carries what comes by these ports to the container at `to`.
    pub fn serve(self, to: Target) -> Result<Proxy> {
        Proxy::new(self.0, to)
    }
}

/// The same port on all `places`.
fn bind_alike(want: Want, places: &[IpAddr], to: Target, holder: &Holder<'_>) -> Result<Vec<Held>> {
    let (first, last) = if want.first == 0 { ephemeral() } else { (want.first, want.last) };
    let mut failure = None;
    for port in first..=last {
        match bind_all(want, places, port) {
            Ok(held) => return Ok(held),
            Err((Errno::EADDRINUSE, place)) => failure = Some((port, place)),
            Err((errno, place)) => return Err(refused(want, place, port, to, errno)),
        }
    }
    let Some((port, place)) = failure else { return Ok(Vec::new()) };
    if want.is_range() {
        return Err(Error::conflict(format!(
            "all ports are allocated: none of {} is free for {}/{}",
            joined(place, format_args!("{first}-{last}")),
            want.port,
            want.protocol.as_str()
        )));
    }
    Err(clash(want, place, port, to, holder))
}

fn bind_all(want: Want, places: &[IpAddr], port: u16) -> Result<Vec<Held>, (Errno, IpAddr)> {
    let mut all = Vec::with_capacity(places.len());
    for &place in places {
        let held = match socket::hold(place, port, want.protocol) {
            Err(Errno::EMFILE) if files::raise() => socket::hold(place, port, want.protocol),
            other => other,
        };
        let socket = held.map_err(|errno| (errno, place))?;
        let published =
            Published { port: want.port, protocol: want.protocol, host_ip: place, host_port: port };
        all.push(Held { published, socket });
    }
    Ok(all)
}

/// Ports that the kernel gives to who names none.
fn ephemeral() -> (u16, u16) {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let text = text.unwrap_or_default();
    let mut numbers = text.split_whitespace().map_while(|n| n.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(first), Some(last)) if first <= last && first > 0 => (first, last),
        // The kernel's own, and docker's.
        _ => (32768, 60999),
    }
}

fn refused(want: Want, place: IpAddr, port: u16, to: Target, errno: Errno) -> Error {
    let what = super::clash::binding(want, place, port, to);
    let hint = match errno {
        Errno::EADDRNOTAVAIL => "; no interface of this host has the address",
        Errno::EACCES | Errno::EPERM => {
            "; only root binds ports below net.ipv4.ip_unprivileged_port_start"
        }
        Errno::EMFILE => "; too many ports for 'ulimit -n'",
        Errno::EPROTONOSUPPORT | Errno::ESOCKTNOSUPPORT if want.protocol == Protocol::Sctp => {
            "; this kernel has no SCTP ('modprobe sctp')"
        }
        _ => "",
    };
    let why = errno.desc().to_lowercase();
    Error::engine(format!("failed to bind host port for {what}: {why}{hint}"))
}
