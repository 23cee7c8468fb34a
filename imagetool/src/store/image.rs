//! A stored image: what the index, the manifest and the config say about it together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::index::{name_of, repo_digest_of};
use super::listing::{self, Stamp};
use super::{Store, cache};
use crate::config::ImageConfig;
use crate::digest::{ChainId, DiffId, Digest};
use crate::error::{Error, Result};
use crate::manifest::{self, Descriptor, MAX_CONFIG, MAX_MANIFEST, Manifest, Parsed};
use crate::platform::Platform;
use crate::reference::Reference;

/// An image of the store. Equal images under several names are one `Stored`.
#[derive(Clone, Debug)]
pub struct Stored {
    /// What `index.json` names: a manifest, or an index of several platforms.
    pub root: Descriptor,
    /// The image's manifest (of this platform, if `root` is an index).
    pub manifest: Descriptor,
    /// Docker's IMAGE ID.
    pub config_digest: Digest,
    /// Its names; empty if it dangles.
    pub names: Vec<Reference>,
    /// Under which `name@digest` it was pulled.
    pub repo_digests: Vec<Reference>,
    /// Bytes of its unpacked layers; of its blobs while they aren't unpacked.
    pub size: u64,
    /// RFC 3339, as the config has it.
    pub created: Option<String>,
    /// What it runs on.
    pub platform: Platform,
    /// Its layers' tars, lowest first.
    pub diff_ids: Vec<DiffId>,
}

/// What the cache keeps of an image: all of it follows from the root's digest, but for
/// `unpacked`, which is filled when the layers are there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Facts {
    pub manifest: Descriptor,
    pub config: Digest,
    pub created: Option<String>,
    pub platform: Platform,
    pub diff_ids: Vec<DiffId>,
    pub packed: u64,
    pub unpacked: Option<u64>,
}

impl Stored {
    /// Another repository of the same registry that the image is known from: a push may mount
    /// its layers from there.
    pub fn neighbour(&self, to: &Reference) -> Option<String> {
        let known = self.repo_digests.iter().chain(&self.names);
        let mut other = known.filter(|n| n.domain() == to.domain() && n.path() != to.path());
        other.next().map(|n| n.path().to_owned())
    }

    /// Docker's IMAGE ID.
    pub fn id(&self) -> &Digest {
        &self.config_digest
    }

    /// The image's config, checked.
    pub fn config(&self, store: &Store) -> Result<ImageConfig> {
        let what = format!("image config {}", self.config_digest);
        ImageConfig::parse(&store.read_blob(&self.config_digest, MAX_CONFIG)?, &what)
    }

    /// The image's manifest, checked.
    pub fn manifest(&self, store: &Store) -> Result<Manifest> {
        store.manifest(&self.manifest)
    }

    /// The layers' chain ids, lowest first.
    pub fn chain_ids(&self, _store: &Store) -> Result<Vec<ChainId>> {
        Ok(Digest::chain(&self.diff_ids))
    }

    /// A name for messages: the first one, or the short id.
    pub fn title(&self) -> String {
        match self.names.first() {
            Some(name) => name.familiar(),
            None => self.config_digest.short().to_owned(),
        }
    }
}

impl Store {
    /// Reads the manifest a descriptor names.
    pub fn manifest(&self, at: &Descriptor) -> Result<Manifest> {
        let what = format!("manifest {}", at.digest);
        match self.parsed(at)? {
            Parsed::Manifest(m) => Ok(m),
            Parsed::Index(_) => Err(Error::invalid(what, "it is an index, not an image")),
        }
    }

    /// Reads the manifest or index a descriptor names.
    pub fn parsed(&self, at: &Descriptor) -> Result<Parsed> {
        let what = format!("manifest {}", at.digest);
        manifest::parse(&self.read_blob(&at.digest, MAX_MANIFEST)?, &at.media_type, &what)
    }

    /// Every image, in the index's order. One that can't be read is left out.
    pub fn images(&self) -> Result<Vec<Stored>> {
        let stamp = Stamp::of(self);
        if let Some(all) = stamp.as_ref().and_then(|stamp| listing::read(self, stamp)) {
            return Ok(all);
        }
        let index = self.index()?;
        let mut cache = cache::Cache::read(self);
        let mut all: Vec<(Stored, bool)> = Vec::new();
        let mut at: BTreeMap<Digest, usize> = BTreeMap::new();
        let mut whole = true;
        for entry in &index.manifests {
            if let Some(&i) = at.get(&entry.digest) {
                all[i].0.names.extend(name_of(entry));
                all[i].0.repo_digests.extend(repo_digest_of(entry));
            } else if let Ok(facts) = cache.facts(self, entry) {
                at.insert(entry.digest.clone(), all.len());
                all.push((stored(entry, facts), facts.unpacked.is_some()));
            } else {
                whole = false;
            }
        }
        cache.write(self);
        if let Some(stamp) = stamp.filter(|_| whole) {
            listing::write(self, &stamp, &all);
        }
        Ok(all.into_iter().map(|(image, _)| image).collect())
    }

    /// Id and names of every image, as [`Store::images`] has them.
    pub fn names(&self) -> Result<Vec<(String, Vec<String>)>> {
        if let Some(all) = Stamp::of(self).and_then(|stamp| listing::names(self, &stamp)) {
            return Ok(all);
        }
        let names = |image: &Stored| image.names.iter().map(ToString::to_string).collect();
        Ok(self.images()?.iter().map(|i| (i.id().to_string(), names(i))).collect())
    }

    /// One entry of the index, whole.
    pub(super) fn stored(&self, entry: &Descriptor) -> Result<Stored> {
        let facts = self.gather(entry)?;
        let mut image = stored(entry, &facts);
        let same = |d: &&Descriptor| d.digest == entry.digest;
        let index = self.index()?;
        image.names = index.manifests.iter().filter(same).filter_map(name_of).collect();
        image.repo_digests =
            index.manifests.iter().filter(same).filter_map(repo_digest_of).collect();
        Ok(image)
    }

    /// Of an image that is one of a list, the one for another platform, if it is here, too.
    pub fn for_platform(&self, image: &Stored, platform: &Platform) -> Option<Stored> {
        let Parsed::Index(list) = self.parsed(&image.root).ok()? else { return None };
        let at = manifest::choose(&list, platform, "image").ok()?;
        let mut layers = self.manifest(at).ok()?.layers.into_iter();
        let there = layers.all(|layer| self.has_blob(&layer.digest));
        let other = stored(at, &self.gather(at).ok()?);
        let (names, repo_digests) = (image.names.clone(), image.repo_digests.clone());
        there.then_some(Stored { root: image.root.clone(), names, repo_digests, ..other })
    }

    /// Reads manifest and config of an entry of the index.
    pub(super) fn gather(&self, entry: &Descriptor) -> Result<Facts> {
        let what = format!("image {}", entry.digest);
        let (at, manifest) = match self.parsed(entry)? {
            Parsed::Manifest(m) => (entry.clone(), m),
            Parsed::Index(i) => {
                // A list without one for this machine is shown by its first.
                let at = manifest::choose(&i, &Platform::host(), &what);
                let at = at.or_else(|e| i.manifests.first().ok_or(e))?.clone();
                let m = self.manifest(&at)?;
                (at, m)
            }
        };
        let config_what = format!("image config {}", manifest.config.digest);
        let config = ImageConfig::parse(
            &self.read_blob(&manifest.config.digest, MAX_CONFIG)?,
            &config_what,
        )?;
        let layers: u64 = manifest.layers.iter().fold(0, |n, l| n.saturating_add(l.size));
        let platform = config.platform();
        Ok(Facts {
            manifest: Descriptor::new(&manifest.media_type, at.digest, at.size),
            config: manifest.config.digest,
            created: config.created,
            platform,
            diff_ids: config.rootfs.diff_ids,
            packed: layers,
            unpacked: None,
        })
    }

    /// The bytes of a chain of unpacked layers; `None` unless all are unpacked.
    pub(super) fn unpacked_size(&self, diff_ids: &[DiffId]) -> Option<u64> {
        Digest::chain(diff_ids)
            .iter()
            .try_fold(0u64, |sum, chain| Some(sum.saturating_add(self.layer_size(chain)?)))
    }

    /// The bytes of one unpacked layer.
    pub fn layer_size(&self, chain: &ChainId) -> Option<u64> {
        #[derive(Deserialize)]
        struct Record {
            size: u64,
        }
        let record = self.root().join("layers").join(chain.hex()).join("layer.json");
        let record: Record = serde_json::from_slice(&std::fs::read(record).ok()?).ok()?;
        Some(record.size)
    }
}

fn stored(entry: &Descriptor, facts: &Facts) -> Stored {
    Stored {
        root: Descriptor::new(&entry.media_type, entry.digest.clone(), entry.size),
        manifest: facts.manifest.clone(),
        config_digest: facts.config.clone(),
        names: name_of(entry).into_iter().collect(),
        repo_digests: repo_digest_of(entry).into_iter().collect(),
        size: facts.unpacked.unwrap_or(facts.packed),
        created: facts.created.clone(),
        platform: facts.platform.clone(),
        diff_ids: facts.diff_ids.clone(),
    }
}
