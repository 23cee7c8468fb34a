//! Collecting what nobody uses: blobs no image leads to, layers no image, container or mount
//! stands on and no build has on record, partial downloads older than a week, leftovers of dead processes.

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
    /// Why nothing was collected: a document is damaged, and what it leads to is unknown.
    pub blocked: Option<String>,
}

/// What must stay.
#[derive(Default)]
struct Marks {
    keep: HashSet<Digest>,
    blocked: Option<String>,
}

/// A container, as far as images go.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Standing {
    /// Its own.
    #[serde(skip)]
    pub id: String,
    /// What it stands on.
    #[serde(default)]
    pub layers: Vec<ChainId>,
    /// What it was made from.
    #[serde(default)]
    pub image: Image,
    /// Images that it has mounted: their layers are among the others when it is read.
    #[serde(default)]
    mounts: Vec<Mount>,
}

/// What a container has mounted.
#[derive(Debug, Default, Deserialize)]
struct Mount {
    #[serde(default, rename = "dhow.layers")]
    layers: Vec<ChainId>,
}

/// What a container was made from.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Image {
    /// The image's id.
    #[serde(default)]
    pub id: String,
}

/// One thing that nothing needs.
enum Doomed {
    Blob(Digest, u64),
    Recipe(Digest, u64),
    Layer(ChainId),
}

impl Store {
    /// Removes blobs and layers that no image, no lease and no id in `in_use` needs.
    /// Everything doomed is renamed aside under the lock and deleted after it.
    pub fn collect(&self, in_use: &HashSet<ChainId>) -> Result<Collected> {
        let lease = self.lease()?;
        let lock = self.lock()?;
        let (doomed, blocked) = self.doomed(in_use)?;
        for one in &doomed {
            match one {
                Doomed::Blob(digest, _) => aside(&self.blob_path(digest), "blob", &lease)?,
                Doomed::Recipe(digest, _) => aside(&self.recipe_path(digest), "recipe", &lease)?,
                Doomed::Layer(chain) => aside(&self.layer_dir(chain), "layer", &lease)?,
            }
        }
        drop(lock);
        self.sweep_partial();
        Ok(Collected::of(doomed, blocked))
    }

    /// What [`Store::collect`] would remove now.
    pub fn collectable(&self, in_use: &HashSet<ChainId>) -> Result<Collected> {
        let _lock = self.lock_shared()?;
        let (doomed, blocked) = self.doomed(in_use)?;
        Ok(Collected::of(doomed, blocked))
    }

    /// What nothing needs. Call with the lock held.
    fn doomed(&self, in_use: &HashSet<ChainId>) -> Result<(Vec<Doomed>, Option<String>)> {
        let mut marks = Marks { keep: self.leased()?, blocked: None };
        for entry in &self.index()?.manifests {
            self.mark(entry, &mut marks, 0);
        }
        if marks.blocked.is_some() {
            return Ok((Vec::new(), marks.blocked));
        }
        let mut keep = marks.keep;
        keep.extend(in_use.iter().cloned());
        for container in self.standing()? {
            keep.extend(container.layers);
        }
        keep.extend(crate::snapshot::mounted_layers(self)?);
        keep.extend(crate::build::cache::roots(self));
        // A dropped blob is made from a layer, which may be another image's as well.
        let (needed, idle) = self.recipes(&keep);
        keep.extend(needed.iter().filter_map(|digest| self.made_from(digest)));
        let mut doomed = self.idle_blobs(&keep);
        doomed.extend(idle.into_iter().map(|digest| {
            let size = fs::metadata(self.recipe_path(&digest)).map_or(0, |m| m.blocks() * 512);
            Doomed::Recipe(digest, size)
        }));
        doomed.extend(self.idle_layers(keep).into_iter().map(Doomed::Layer));
        Ok((doomed, None))
    }

    /// The containers, whoever asks. A record that can't be read stops it: what it needs is
    /// unknown.
    pub(crate) fn standing(&self) -> Result<Vec<Standing>> {
        let dir = self.root().join("containers");
        let mut all = Vec::new();
        for id in names(&dir) {
            let path = dir.join(&id).join("container.json");
            let Ok(bytes) = fs::read(&path) else { continue };
            let mut record: Standing = serde_json::from_slice(&bytes)
                .map_err(|e| Error::invalid(path.display().to_string(), e))?;
            record.id = id;
            let mounted = std::mem::take(&mut record.mounts);
            record.layers.extend(mounted.into_iter().flat_map(|mount| mount.layers));
            all.push(record);
        }
        Ok(all)
    }

    /// Everything an entry leads to. What isn't there leads nowhere; what is damaged may lead
    /// anywhere, and then nothing is doomed.
    fn mark(&self, at: &Descriptor, marks: &mut Marks, depth: u8) {
        if !marks.keep.insert(at.digest.clone()) && depth > 0 || depth > 4 {
            return;
        }
        match self.parsed(at) {
            Ok(Parsed::Index(i)) => {
                i.manifests.iter().for_each(|d| self.mark(d, marks, depth + 1));
            }
            Ok(Parsed::Manifest(m)) => {
                marks.keep.extend(m.layers.into_iter().map(|l| l.digest));
                match self.read_blob(&m.config.digest, MAX_CONFIG) {
                    Ok(bytes) => {
                        if let Ok(config) = ImageConfig::parse(&bytes, "") {
                            marks.keep.extend(Digest::chain(&config.rootfs.diff_ids));
                        }
                    }
                    Err(e @ Error::Digest { .. }) => marks.blocked = Some(e.to_string()),
                    Err(_) => {}
                }
                marks.keep.insert(m.config.digest);
            }
            Err(e @ Error::Digest { .. }) => marks.blocked = Some(e.to_string()),
            Err(_) => {}
        }
    }

    /// Everything an entry leads to: blobs, and layers by their chain ids.
    pub(super) fn reached(&self, entry: &Descriptor) -> HashSet<Digest> {
        let mut marks = Marks::default();
        self.mark(entry, &mut marks, 0);
        marks.keep
    }

    fn idle_blobs(&self, keep: &HashSet<Digest>) -> Vec<Doomed> {
        let mut idle = Vec::new();
        for algorithm in Algorithm::ALL.map(Algorithm::name) {
            let dir = self.layout().join("blobs").join(algorithm);
            for name in names(&dir) {
                let Ok(digest) = format!("{algorithm}:{name}").parse::<Digest>() else { continue };
                if !keep.contains(&digest) {
                    let size = fs::metadata(dir.join(&name)).map_or(0, |m| m.blocks() * 512);
                    idle.push(Doomed::Blob(digest, size));
                }
            }
        }
        idle
    }

    /// The dropped blobs that are needed, and those that aren't.
    fn recipes(&self, keep: &HashSet<Digest>) -> (Vec<Digest>, Vec<Digest>) {
        let names = names(&self.root().join("recipes")).into_iter();
        let all = names.filter_map(|name| name.replacen('-', ":", 1).parse::<Digest>().ok());
        all.partition(|digest| keep.contains(digest))
    }

    fn idle_layers(&self, mut keep: HashSet<Digest>) -> Vec<ChainId> {
        #[derive(Deserialize)]
        struct Record {
            parent: Option<ChainId>,
        }
        let dir = self.root().join("layers");
        let all: BTreeSet<ChainId> =
            names(&dir).iter().filter_map(|n| Digest::from_hex(n).ok()).collect();
        // A kept layer keeps what it stands on.
        let mut open: Vec<ChainId> = all.iter().filter(|id| keep.contains(id)).cloned().collect();
        while let Some(id) = open.pop() {
            let record = fs::read(dir.join(id.hex()).join("layer.json")).ok();
            let record = record.and_then(|b| serde_json::from_slice::<Record>(&b).ok());
            if let Some(parent) = record.and_then(|r| r.parent)
                && keep.insert(parent.clone())
            {
                open.push(parent);
            }
        }
        all.into_iter().filter(|id| !keep.contains(id)).collect()
    }

    fn layer_dir(&self, chain: &ChainId) -> std::path::PathBuf {
        self.root().join("layers").join(chain.hex())
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

impl Collected {
    fn of(doomed: Vec<Doomed>, blocked: Option<String>) -> Self {
        let mut done = Self { blocked, ..Self::default() };
        for one in doomed {
            match one {
                Doomed::Blob(digest, size) | Doomed::Recipe(digest, size) => {
                    done.freed += size;
                    done.blobs.push(digest);
                }
                Doomed::Layer(chain) => done.layers.push(chain),
            }
        }
        done
    }

    /// An error if nothing could be collected.
    pub fn told(self) -> Result<Self> {
        match self.blocked {
            Some(why) => Err(Error::Conflict(format!(
                "nothing is collected, as what must stay is unknown: {why}; run verify --repair, or remove that image"
            ))),
            None => Ok(self),
        }
    }
}

/// The names in a directory; none if it isn't there.
pub(super) fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect()
}

/// Moves a doomed thing into the lease's directory, which goes with the lease. A layer may
/// have a blob's digest (one that isn't compressed), so the kind is part of its name there.
fn aside(path: &Path, kind: &str, lease: &Lease) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    fs::rename(path, lease.dir().join(format!("{kind}-{name}"))).map_err(Error::at("remove", path))
}
