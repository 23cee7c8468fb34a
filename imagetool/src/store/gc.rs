//! Collecting what nobody uses: blobs no image leads to, layers no image or container
//! stands on, partial downloads older than a week, leftovers of dead processes.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use super::{Lease, Store};
use crate::config::ImageConfig;
use crate::digest::{Algorithm, ChainId, Digest};
use crate::error::{Error, Result};
use crate::manifest::{Descriptor, MAX_CONFIG, Parsed};

/// A partial download that nobody came back for.
const STALE: Duration = Duration::from_hours(7 * 24);

/// What `collect` gave back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blobs gone.
    pub blobs: Vec<Digest>,
    /// Layers gone.
    pub layers: Vec<ChainId>,
    /// Bytes of blobs given back (layers are not counted).
    pub freed: u64,
}

impl Store {
    /// Removes blobs and layers that no image, no lease and no id in `in_use` needs.
    /// Everything doomed is renamed aside under the lock and deleted after it.
    pub fn collect(&self, in_use: &HashSet<ChainId>) -> Result<Collected> {
        let lease = self.lease()?;
        let mut collected = Collected::default();
        let lock = self.lock()?;
        let mut keep = self.leased()?;
        for entry in &self.index()?.manifests {
            self.mark(entry, &mut keep, 0);
        }
        keep.extend(in_use.iter().cloned());
        self.mark_containers(&mut keep)?;
        self.sweep_blobs(&keep, &lease, &mut collected)?;
        self.sweep_layers(keep, &lease, &mut collected)?;
        drop(lock);
        self.sweep_partial();
        Ok(collected)
    }

    /// The layers that containers stand on, whoever asks for the collection. A record
    /// that can't be read stops it: what it needs is unknown.
    fn mark_containers(&self, keep: &mut HashSet<Digest>) -> Result<()> {
        #[derive(Deserialize)]
        struct Record {
            #[serde(default)]
            layers: Vec<ChainId>,
        }
        let dir = self.root().join("containers");
        for id in names(&dir) {
            let path = dir.join(id).join("container.json");
            let Ok(bytes) = fs::read(&path) else { continue };
            let record: Record = serde_json::from_slice(&bytes)
                .map_err(|e| Error::invalid(path.display().to_string(), e))?;
            keep.extend(record.layers);
        }
        Ok(())
    }

    /// Everything an entry leads to. What can't be read leads nowhere.
    fn mark(&self, at: &Descriptor, keep: &mut HashSet<Digest>, depth: u8) {
        if !keep.insert(at.digest.clone()) && depth > 0 || depth > 4 {
            return;
        }
        match self.parsed(at) {
            Ok(Parsed::Index(i)) => i.manifests.iter().for_each(|d| self.mark(d, keep, depth + 1)),
            Ok(Parsed::Manifest(m)) => {
                keep.extend(m.layers.into_iter().map(|l| l.digest));
                if let Ok(bytes) = self.read_blob(&m.config.digest, MAX_CONFIG)
                    && let Ok(config) = ImageConfig::parse(&bytes, "")
                {
                    keep.extend(Digest::chain(&config.rootfs.diff_ids));
                }
                keep.insert(m.config.digest);
            }
            Err(_) => {}
        }
    }

    fn sweep_blobs(
        &self,
        keep: &HashSet<Digest>,
        lease: &Lease,
        out: &mut Collected,
    ) -> Result<()> {
        for algorithm in Algorithm::ALL.map(Algorithm::name) {
            let dir = self.layout().join("blobs").join(algorithm);
            for name in names(&dir) {
                let Ok(digest) = format!("{algorithm}:{name}").parse::<Digest>() else { continue };
                if keep.contains(&digest) {
                    continue;
                }
                let path = dir.join(&name);
                let size = fs::metadata(&path).map_or(0, |m| m.blocks() * 512);
                aside(&path, "blob", lease)?;
                out.freed += size;
                out.blobs.push(digest);
            }
        }
        Ok(())
    }

    fn sweep_layers(
        &self,
        mut keep: HashSet<Digest>,
        lease: &Lease,
        out: &mut Collected,
    ) -> Result<()> {
        #[derive(Deserialize)]
        struct Record {
            parent: Option<ChainId>,
        }
        let dir = self.root().join("layers");
        let all: BTreeSet<ChainId> =
            names(&dir).iter().filter_map(|n| Digest::from_hex(n).ok()).collect();
        // A kept layer keeps what it stands on.
        let mut open: Vec<ChainId> =
            all.intersection(&keep.iter().cloned().collect()).cloned().collect();
        while let Some(id) = open.pop() {
            let record = fs::read(dir.join(id.hex()).join("layer.json")).ok();
            let record = record.and_then(|b| serde_json::from_slice::<Record>(&b).ok());
            if let Some(parent) = record.and_then(|r| r.parent)
                && keep.insert(parent.clone())
            {
                open.push(parent);
            }
        }
        for id in all.into_iter().filter(|id| !keep.contains(id)) {
            aside(&dir.join(id.hex()), "layer", lease)?;
            out.layers.push(id);
        }
        Ok(())
    }

    fn sweep_partial(&self) {
        let dir = self.tmp().join("partial");
        for name in names(&dir) {
            let path = dir.join(name);
            let old = fs::metadata(&path)
                .and_then(|m| m.modified())
                .is_ok_and(|t| SystemTime::now().duration_since(t).is_ok_and(|age| age > STALE));
            // One in use is flocked by its pull.
            if old && fs::File::open(&path).is_ok_and(|f| f.try_lock().is_ok()) {
                let _ = fs::remove_file(&path);
            }
        }
    }
}

/// The names in a directory; none if it isn't there.
fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect()
}

/// Moves a doomed thing into the lease's directory, which goes with the lease. A layer may
/// have a blob's digest (one that isn't compressed), so the kind is part of its name there.
fn aside(path: &Path, kind: &str, lease: &Lease) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    fs::rename(path, lease.dir().join(format!("{kind}-{name}"))).map_err(Error::at("remove", path))
}
