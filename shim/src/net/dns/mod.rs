//! Names at 127.0.0.11: the container's own name server, served by its monitor.
//!
//! ```text
//! query → wire (header, question) → names (leases of its networks) → an answer
//!                                 ↘ forward: the host's servers, or --dns's → theirs, untouched
//! ```
//!
//! The sockets are made inside the container's network namespace. Its processes and the servers
//! that are asked are hostile: what they send is bounded, and nothing of it is kept.

mod forward;
mod names;
mod outside;
mod server;
mod slots;
mod streams;
#[cfg(test)]
mod tests;
mod wire;

use std::net::IpAddr;
use std::path::PathBuf;

use crate::bundle::etc::{self, Upstream};
use crate::host::Host;
use crate::model::{Endpoint, Network, Record, Wish};

pub use server::Server;

/// What a container's name server has to know.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The networks with names that it is in; the first that knows a name wins.
    pub networks: Vec<Membership>,
    /// Whom it asks for other names.
    pub upstream: Vec<Upstream>,
    /// The container can reach the outside: the host's servers may be asked for it.
    pub forwards: bool,
    /// Somebody set `ndots`: a name without a dot isn't asked for outside.
    pub ndots: bool,
    /// Its own addresses; queries come from these or from loopback.
    pub own: Vec<IpAddr>,
}

/// A network that the container is in.
#[derive(Debug, Clone, Default)]
pub struct Membership {
    /// The network's name, the last part of `NAME.NETWORK`.
    pub name: String,
    /// RUN/networks/ID/endpoints.json
    pub file: PathBuf,
    /// `(ALIAS, CONTAINER)`: names that this container alone knows.
    pub links: Vec<(String, String)>,
}

impl Config {
    /// Of a container with these endpoints; nothing when it needs no name server.
    pub fn of(host: &Host, record: &Record, endpoints: &[Endpoint]) -> Option<Self> {
        if !etc::wants_server(host, record, endpoints) {
            return None;
        }
        let (upstream, ndots) = etc::upstream(record);
        let named = endpoints.iter().filter(|e| e.network != Network::BRIDGE);
        let networks = named.map(|endpoint| Membership {
            name: endpoint.network.clone(),
            file: host.paths.run.join("networks").join(&endpoint.network_id).join("endpoints.json"),
            links: links(record, &endpoint.network),
        });
        let addresses = endpoints.iter().flat_map(|e| [e.ipv4, e.ipv6]).flatten();
        Some(Self {
            networks: networks.collect(),
            upstream,
            forwards: endpoints.iter().any(|e| e.gateway4.is_some() || e.gateway6.is_some()),
            ndots,
            own: addresses.map(|subnet| subnet.address).collect(),
        })
    }
}

/// `--link` in this network.
fn links(record: &Record, network: &str) -> Vec<(String, String)> {
    let wish = record.networks.iter().find(|wish| wish.network == network);
    let typed = wish.map(|wish| wish.links.as_slice()).unwrap_or_default();
    let pairs = typed.iter().map(|link| link.rsplit_once(':').unwrap_or((link, link)));
    pairs
        .map(|(container, alias)| {
            let alias = alias.rsplit('/').next().unwrap_or(alias);
            (alias.to_owned(), container.trim_start_matches('/').to_owned())
        })
        .collect()
}

/// What a container is called in the network that `wish` wants, docker's `DNSNames`: the first is
/// what its address is called. The default network has no names.
pub fn names(record: &Record, wish: &Wish) -> Vec<String> {
    if wish.network == Network::BRIDGE {
        return Vec::new();
    }
    let mut names: Vec<String> = Vec::new();
    let aliases = wish.aliases.iter().map(String::as_str);
    let own = [record.short_id(), record.config.hostname.as_str()];
    for name in std::iter::once(record.name.as_str()).chain(aliases).chain(own) {
        if !name.is_empty() && !names.iter().any(|n| n == name) {
            names.push(name.to_owned());
        }
    }
    names
}
