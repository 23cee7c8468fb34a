//! Published ports: sockets of the host that a container's monitor holds, and what comes in by them.
//!
//! A port is taken by binding it: whoever comes second hears from the kernel, and then from
//! [`holder`] who was first. What comes from outside never reaches these sockets: rules send it
//! to the container, its source kept. What is left is loopback, which no rule may redirect
//! (`route_localnet` stays 0), and IPv6 for a container that has IPv4 alone: [`Proxy`] carries both.

mod clash;
mod files;
mod pipe;
mod proxy;
mod reserve;
mod shown;
mod socket;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;
mod wanted;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::{Protocol, Published};

pub use clash::holder;
pub use files::{Next, PAUSE, after_accept, original_limit};
pub use proxy::Proxy;
pub use reserve::Reserved;
pub use shown::{Port, column, inspected, lines, ports};
pub use wanted::{Want, wanted};

/// Where a container's ports are: its addresses in the network that leads out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Target {
    /// Its IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
}

impl Target {
    /// Its address of the family of `outside`.
    pub fn like(self, outside: IpAddr) -> Option<IpAddr> {
        match outside {
            IpAddr::V4(_) => self.ipv4.map(IpAddr::V4),
            IpAddr::V6(_) => self.ipv6.map(IpAddr::V6),
        }
    }

    /// Where a proxy carries what came to `outside`: docker's serves IPv6 to a container
    /// that has none by IPv4.
    fn behind(self, outside: IpAddr) -> Option<IpAddr> {
        self.like(outside).or_else(|| self.ipv4.filter(|_| outside.is_ipv6()).map(IpAddr::V4))
    }
}

/// What rules can send to the container: ports of the host beside the address they lead to.
/// Those of the other family are the proxy's alone.
pub fn translated(published: &[Published], target: Target) -> Vec<(Published, IpAddr)> {
    published.iter().filter_map(|one| Some((*one, target.like(one.host_ip)?))).collect()
}

/// `[::1]:80`, `127.0.0.1:80`.
fn joined(ip: IpAddr, port: impl std::fmt::Display) -> String {
    match ip {
        IpAddr::V4(ip) => format!("{ip}:{port}"),
        IpAddr::V6(ip) => format!("[{ip}]:{port}"),
    }
}

/// docker's order of protocols.
fn rank(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}
