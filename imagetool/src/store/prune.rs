//! Pruning: all images that fit are removed in one step, and what only they needed is collected.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::index::{name_of, repo_digest_of};
use super::removal::topmost_first;
use super::{Removed, Store, Stored};
use crate::digest::{ChainId, Digest};
use crate::error::Result;
use crate::reference::Reference;

impl Store {
    /// Removes the images that fit, with all their names; then collects once. Each image comes
    /// with what went because of it. One that has got a name meanwhile stays.
    pub fn prune(
        &self,
        in_use: &HashSet<ChainId>,
        mut fits: impl FnMut(&Stored) -> Result<bool>,
    ) -> Result<Vec<(Stored, Removed)>> {
        let mut chosen = Vec::new();
        for image in self.images()? {
            if fits(&image)? {
                chosen.push(image);
            }
        }
        if chosen.is_empty() {
            return Ok(Vec::new());
        }
        let mut gone: Vec<(Stored, Removed)> = Vec::new();
        self.change(|index| {
            let mut entries: HashMap<Digest, Refs> = HashMap::new();
            for entry in &index.manifests {
                let refs = entries.entry(entry.digest.clone()).or_default();
                refs.names.extend(name_of(entry));
                refs.known.extend(repo_digest_of(entry));
            }
            for image in chosen {
                let Some(refs) = entries.get(&image.root.digest) else { continue };
                if refs.names.iter().all(|name| image.names.contains(name)) {
                    let untagged = refs.names.iter().chain(&refs.known).map(Reference::familiar);
                    let untagged = untagged.collect();
                    let deleted = vec![image.config_digest.clone()];
                    gone.push((image, Removed { untagged, deleted, freed: 0 }));
                }
            }
            let roots: HashSet<&Digest> =
                gone.iter().map(|(image, _)| &image.root.digest).collect();
            index.manifests.retain(|entry| !roots.contains(&entry.digest));
            Ok(())
        })?;
        let collected = self.collect(in_use)?;
        attribute(&mut gone, collected.layers);
        if let Some((_, last)) = gone.last_mut() {
            last.freed = collected.freed;
        }
        Ok(gone)
    }

    /// The ids of images that containers are of.
    pub fn images_in_use(&self) -> Result<HashSet<String>> {
        Ok(self.standing()?.into_iter().map(|container| container.image.id).collect())
    }
}

/// What leads to an image.
#[derive(Default)]
struct Refs {
    names: Vec<Reference>,
    known: BTreeSet<Reference>,
}

/// Each layer went with the last of the images that stood on it.
fn attribute(gone: &mut [(Stored, Removed)], layers: Vec<ChainId>) {
    let mut owner: HashMap<Digest, usize> = HashMap::new();
    for (at, (image, _)) in gone.iter().enumerate() {
        owner.extend(Digest::chain(&image.diff_ids).into_iter().map(|chain| (chain, at)));
    }
    let mut of: HashMap<usize, Vec<ChainId>> = HashMap::new();
    for layer in layers {
        let at = owner.get(&layer).copied().unwrap_or(gone.len() - 1);
        of.entry(at).or_default().push(layer);
    }
    for (at, layers) in of {
        let (image, removed) = &mut gone[at];
        removed.deleted.extend(topmost_first(image, layers));
    }
}
