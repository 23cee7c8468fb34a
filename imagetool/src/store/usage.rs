//! What images take on the disk, alone and together.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;

use serde::Serialize;

use super::Store;
use crate::digest::Digest;
use crate::error::Result;
use crate::manifest::Descriptor;

/// One image's part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageUsage {
    /// Its id.
    pub id: Digest,
    /// Its names.
    pub names: Vec<String>,
    /// Bytes of its blobs.
    pub blobs: u64,
    /// Bytes of its unpacked layers.
    pub unpacked: u64,
    /// Bytes of both that only it needs: what its removal gives back.
    pub unique: u64,
    /// Bytes that other images need, too.
    pub shared: u64,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// In the store's order.
    pub images: Vec<ImageUsage>,
    /// Bytes of all blobs, each once.
    pub blobs: u64,
    /// Bytes of all unpacked layers, each once.
    pub unpacked: u64,
    /// Bytes that `gc` would give back.
    pub idle: u64,
    /// Bytes of downloads to be gone on with.
    pub partial: u64,
}

impl Store {
    /// Measures. Blobs count as they lie on the disk, layers as their files' lengths.
    pub fn usage(&self) -> Result<Usage> {
        let index = self.index()?;
        let entries: HashMap<&Digest, &Descriptor> =
            index.manifests.iter().map(|entry| (&entry.digest, entry)).collect();
        let mut reach: Vec<(super::Stored, HashSet<Digest>)> = Vec::new();
        for image in self.images()? {
            let Some(entry) = entries.get(&image.root.digest) else { continue };
            reach.push((image, self.reached(entry)));
        }
        let mut users: HashMap<&Digest, usize> = HashMap::new();
        for digest in reach.iter().flat_map(|(_, all)| all) {
            *users.entry(digest).or_default() += 1;
        }
        let sizes: HashMap<&Digest, (u64, u64)> =
            users.keys().map(|digest| (*digest, self.sizes(digest))).collect();
        let images = reach.iter().map(|(image, all)| {
            let mut usage = ImageUsage {
                id: image.config_digest.clone(),
                names: image.names.iter().map(ToString::to_string).collect(),
                blobs: 0,
                unpacked: 0,
                unique: 0,
                shared: 0,
            };
            for digest in all {
                let (blob, layer) = sizes[digest];
                usage.blobs += blob;
                usage.unpacked += layer;
                let of = if users[digest] > 1 { &mut usage.shared } else { &mut usage.unique };
                *of += blob + layer;
            }
            usage
        });
        let idle = self.collectable(&HashSet::new())?;
        let layers: u64 = idle.layers.iter().filter_map(|chain| self.layer_size(chain)).sum();
        Ok(Usage {
            images: images.collect(),
            blobs: sizes.values().map(|(blob, _)| blob).sum(),
            unpacked: sizes.values().map(|(_, layer)| layer).sum(),
            idle: idle.freed + layers,
            partial: super::gc::names(&self.tmp().join("partial"))
                .iter()
                .map(|name| on_disk(&self.tmp().join("partial").join(name)))
                .sum(),
        })
    }

    /// As a blob, and as an unpacked layer: one digest may be both.
    fn sizes(&self, digest: &Digest) -> (u64, u64) {
        let packed = on_disk(&self.blob_path(digest)) + on_disk(&self.recipe_path(digest));
        (packed, self.layer_size(digest).unwrap_or(0))
    }
}

fn on_disk(path: &std::path::Path) -> u64 {
    fs::metadata(path).map_or(0, |m| m.blocks() * 512)
}
