//! Networks that no container has an address in.

use super::{Pruned, Wanted};
use crate::error::Result;
use crate::events::{Kind, emit};
use crate::host::Host;
use crate::model::Network;
use crate::net::ipam;

/// Removes them; docker's own three stay.
pub fn networks(host: &Host, wanted: &Wanted) -> Result<Pruned> {
    let mut pruned = Pruned::default();
    for network in host.networks.list()? {
        if Network::is_predefined(&network.name)
            || !wanted.fits(&network.labels, network.created)
            || !ipam::living(&host.paths, &network.id).is_empty()
        {
            continue;
        }
        // A container may have come to it just now: then it is used.
        if host.networks.remove(&network, crate::net::lower).is_ok() {
            pruned.lines.push(network.name);
        }
    }
    emit(&host.paths, Kind::Network, "prune", "", &[("reclaimed", "0")]);
    Ok(pruned)
}
