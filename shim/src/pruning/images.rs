//! Images that no container is of.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use dhow_image::digest::Digest;
use dhow_image::store::Stored;
use jiff::Timestamp;

use super::{Pruned, Wanted};
use crate::error::Result;
use crate::events::{self, Kind};
use crate::host::Host;
use crate::making::of_image;

/// Removes the nameless ones, or with `all` the named too.
pub fn images(host: &Host, all: bool, wanted: &Wanted) -> Result<Pruned> {
    let (mut layers, mut used) = (HashSet::new(), BTreeSet::new());
    for found in host.containers.list()? {
        let chains = found.record.chains();
        layers.extend(chains.filter_map(|chain| chain.parse::<Digest>().ok()));
        used.insert(found.record.image.id);
    }
    let store = host.images()?;
    let mut sizes = BTreeMap::new();
    let fits = |image: &Stored| {
        let id = image.id().to_string();
        if used.contains(&id) || !all && !image.names.is_empty() {
            return Ok(false);
        }
        let labels = if wanted.asks_for_labels() {
            image.config(store)?.config.labels
        } else {
            BTreeMap::new()
        };
        let created = image.created.as_deref().and_then(|text| text.parse().ok());
        let fits = wanted.fits(&labels, created.unwrap_or(Timestamp::UNIX_EPOCH));
        for chain in image.chain_ids(store)?.into_iter().filter(|_| fits) {
            let size = store.layer_size(&chain).unwrap_or(0);
            sizes.insert(chain, size);
        }
        Ok(fits)
    };
    let mut pruned = Pruned::default();
    for (image, removed) in store.prune(&layers, fits).map_err(of_image)? {
        events::of_removed(&host.paths, &image.id().to_string(), &removed);
        // As docker: layers as they lie unpacked, and not the blobs they came as.
        pruned.bytes += removed.deleted.iter().filter_map(|d| sizes.get(d)).sum::<u64>();
        pruned.lines.extend(removed.untagged.iter().map(|n| format!("untagged: {n}")));
        pruned.lines.extend(removed.deleted.iter().map(|d| format!("deleted: {d}")));
    }
    let reclaimed = pruned.bytes.to_string();
    events::emit(&host.paths, Kind::Image, "prune", "", &[("reclaimed", &reclaimed)]);
    Ok(pruned)
}
