//! Verbs of networks.

pub mod connect;
pub mod create;
pub mod disconnect;
pub mod inspect;
pub mod ls;
pub mod prune;
pub mod reload;
pub mod rm;

use crate::error::Result;
use crate::host::Host;
use crate::model::Network;
use crate::store::pick_network;

/// All networks there are, the default one among them unless daemon.json switches it off.
pub fn all(host: &Host) -> Result<Vec<Network>> {
    let daemon = host.settings.daemon()?;
    // Where daemon.json forbids rules, or is wrong about the bridge, the other networks are still
    // to be seen; who wants the bridge is told why.
    let bridge = host.networks.default_bridge(daemon).is_ok();
    let mut all = host.networks.list()?;
    all.retain(|network| bridge || !network.is_default());
    Ok(all)
}

/// The network that `needle` names.
pub fn find(host: &Host, needle: &str) -> Result<Network> {
    if needle == Network::BRIDGE {
        return host.networks.default_bridge(host.settings.daemon()?);
    }
    pick_network(all(host)?, needle)
}
