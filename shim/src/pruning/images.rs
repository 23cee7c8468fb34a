//! Images that no container is of.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use dhow_image::digest::Digest;
use dhow_image::store::{Removal, Users};
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
    let nobody = Users::default();
    let mut pruned = Pruned::default();
    for image in store.images().map_err(of_image)? {
        let id = image.id().to_string();
        if used.contains(&id) || !all && !image.names.is_empty() {
            continue;
        }
        let labels = if wanted.asks_for_labels() {
            image.config(store).map_err(of_image)?.config.labels
        } else {
            BTreeMap::new()
        };
        let created = image.created.as_deref().and_then(|text| text.parse().ok());
        if !wanted.fits(&labels, created.unwrap_or(Timestamp::UNIX_EPOCH)) {
            continue;
        }
        let sizes: BTreeMap<String, u64> = image
            .chain_ids(store)
            .map_err(of_image)?
            .iter()
            .map(|chain| (chain.to_string(), store.layer_size(chain).unwrap_or(0)))
            .collect();
        let how = Removal { force: true, users: &nobody, in_use: &layers };
        let removed = store.remove(&id, how).map_err(of_image)?;
        events::of_removed(&host.paths, &id, &removed);
        // As docker: layers as they lie unpacked, and not the blobs they came as.
        let gone = removed.deleted.iter().filter_map(|d| sizes.get(&d.to_string()));
        pruned.bytes += gone.sum::<u64>();
        pruned.lines.extend(removed.untagged.iter().map(|n| format!("untagged: {n}")));
        pruned.lines.extend(removed.deleted.iter().map(|d| format!("deleted: {d}")));
    }
    let reclaimed = pruned.bytes.to_string();
    events::emit(&host.paths, Kind::Image, "prune", "", &[("reclaimed", &reclaimed)]);
    Ok(pruned)
}
