//! Who spoke to the last container of an address does not reach the next.
//!
//! What connection tracking knows passes the firewall. So an address that is given back is marked
//! ([`ipam`]) until the kernel has forgotten its flows. The monitor of the container that had it sees
//! to that when everybody has been told of the end; who takes an address with the mark on it (its
//! last monitor is at it just now, or was killed) before it is anybody's.
//!
//! KERNEL: to find flows is to look through the buckets of all namespaces, ten milliseconds for
//! 262144 of them. Hence nobody looks for his own alone: whoever has the lock has all that is marked
//! forgotten in one pass, and who waited for him finds nothing left to do.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use super::plan::Joined;
use super::{ipam, nft};
use crate::error::Result;
use crate::host::Paths;
use crate::store::Lock;

/// The addresses are about to be a container's.
pub(super) fn welcome(paths: &Paths, joined: &[Joined]) -> Result<()> {
    let marked = joined.iter().any(|joined| {
        let known = ipam::known(paths, &joined.network.id);
        let own = [joined.endpoint.ipv4, joined.endpoint.ipv6].into_iter().flatten();
        own.into_iter().any(|subnet| known.contains(&subnet.address))
    });
    if marked { settle(paths) } else { Ok(()) }
}

/// Has the flows of all marked addresses forgotten, of all networks.
///
/// Nobody begins to use a marked address but through here: what is marked when the lock is taken is
/// unused until it is let go.
pub fn settle(paths: &Paths) -> Result<()> {
    if marked(paths).is_empty() {
        return Ok(());
    }
    let _lock = Lock::exclusive(&paths.run.join("networks/flows"))?;
    let marked = marked(paths);
    let all: Vec<IpAddr> = marked.iter().flat_map(|(_, addresses)| addresses).copied().collect();
    forget(&all)?;
    marked.iter().try_for_each(|(network, addresses)| ipam::forgotten(paths, network, addresses))
}

/// Has the flows of addresses forgotten that nobody uses.
pub(super) fn forget(addresses: &[IpAddr]) -> Result<()> {
    if addresses.is_empty() {
        return Ok(());
    }
    nft::forget_flows(&addresses.iter().copied().collect::<BTreeSet<_>>())
}

/// The networks with marks, and those.
fn marked(paths: &Paths) -> Vec<(String, Vec<IpAddr>)> {
    let networks: PathBuf = paths.run.join("networks");
    let ids = std::fs::read_dir(networks).into_iter().flatten().flatten();
    let ids = ids.filter_map(|entry| entry.file_name().into_string().ok());
    ids.map(|id| (ipam::known(paths, &id), id))
        .filter(|(known, _)| !known.is_empty())
        .map(|(known, id)| (id, known))
        .collect()
}
