//! `ROOT/cache/images.json`: so that listing opens one file, not a thousand configs.
//! It may be deleted at any time; what it says follows from digests alone.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Store;
use super::image::Facts;
use crate::digest::Digest;
use crate::error::Result;
use crate::manifest::Descriptor;

pub(super) struct Cache {
    known: BTreeMap<Digest, Facts>,
    used: BTreeMap<Digest, Facts>,
    changed: bool,
}

impl Cache {
    pub(super) fn read(store: &Store) -> Self {
        let known: BTreeMap<Digest, Facts> = std::fs::read(path(store))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        Self { known, used: BTreeMap::new(), changed: false }
    }

    /// What is known of an entry, read from its blobs if need be.
    pub(super) fn facts(&mut self, store: &Store, entry: &Descriptor) -> Result<&Facts> {
        let mut facts = if let Some(facts) = self.known.get(&entry.digest) {
            facts.clone()
        } else {
            self.changed = true;
            store.gather(entry)?
        };
        if facts.unpacked.is_none() {
            facts.unpacked = store.unpacked_size(&facts.diff_ids);
            self.changed |= facts.unpacked.is_some();
        }
        Ok(self.used.entry(entry.digest.clone()).or_insert(facts))
    }

    /// Keeps what was used. A cache that can't be written is no error.
    pub(super) fn write(self, store: &Store) {
        if (self.changed || self.used.len() != self.known.len())
            && let Ok(bytes) = serde_json::to_vec(&self.used)
        {
            let _ = store.replace_unsynced(&path(store), &bytes);
        }
    }
}

fn path(store: &Store) -> PathBuf {
    store.root().join("cache/images.json")
}
