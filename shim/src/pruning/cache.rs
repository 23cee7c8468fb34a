//! What earlier builds have left.

use std::collections::HashSet;

use dhow_image::build::cache::{self, Filter};
use dhow_image::digest::{ChainId, Digest};
use jiff::Timestamp;

use super::{Pruned, Wanted};
use crate::error::Result;
use crate::host::Host;
use crate::making::of_image;

/// Removes what no image stands on, or with `all` the rest of it, too.
pub fn cache(host: &Host, all: bool, wanted: &Wanted) -> Result<Pruned> {
    // Nothing of it has labels.
    if wanted.asks_for_labels() {
        return Ok(Pruned::default());
    }
    let filter = Filter { all, unused_for: wanted.age(Timestamp::now()), ..Filter::default() };
    let pruned = cache::prune(host.images()?, &filter, &layers_in_use(host)?).map_err(of_image)?;
    let lines = pruned.entries.iter().map(|entry| entry.id.clone()).collect();
    Ok(Pruned { lines, bytes: pruned.freed })
}

/// Layers that containers stand on.
pub fn layers_in_use(host: &Host) -> Result<HashSet<ChainId>> {
    let mut layers = HashSet::new();
    for found in host.containers.list()? {
        let chains = found.record.chains();
        layers.extend(chains.filter_map(|chain| chain.parse::<Digest>().ok()));
    }
    Ok(layers)
}
