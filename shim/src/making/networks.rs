//! Networks of a new container: all of them there, by name, and able to give what is wanted.

use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::{HostConfig, Network, Wish};
use crate::options::networks::check_endpoint;

/// What `wishes` come to; the first of them is the container's mode.
pub fn settle(host: &Host, wishes: &[Wish], config: &mut HostConfig) -> Result<Vec<Wish>> {
    let mut all: Vec<Wish> = Vec::with_capacity(wishes.len());
    for wish in wishes {
        let network = if wish.network == Network::BRIDGE {
            host.networks.default_bridge(host.settings.daemon()?)?
        } else {
            host.networks.find(&wish.network).map_err(|e| {
                let why = format!("failed to set up container networking: {}", e.message);
                Error::new(e.kind, why)
            })?
        };
        check_endpoint(&network, wish).map_err(|why| {
            Error::conflict(format!(
                "invalid config for network {}: invalid endpoint settings: {why}",
                wish.network
            ))
        })?;
        if all.iter().any(|other| other.network == network.name) {
            return Err(Error::usage(format!(
                "network \"{}\" is specified multiple times",
                network.name
            )));
        }
        all.push(Wish { network: network.name, ..wish.clone() });
    }
    if let Some(first) = all.first() {
        config.network_mode.clone_from(&first.network);
    }
    // By id: a name may be another's by the next start.
    for link in config.links.iter_mut().flatten() {
        let (name, alias) = link.rsplit_once(':').unwrap_or((link, link));
        let found = host.containers.find(name).map_err(|e| {
            Error::new(e.kind, format!("could not get container for {name}: {}", e.message))
        })?;
        *link = format!("{}:{alias}", found.record.id);
    }
    Ok(all)
}
