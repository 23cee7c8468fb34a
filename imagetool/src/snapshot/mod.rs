//! Snapshots: unpacked layers by chain id, each alone in a directory for overlayfs.
//!
//! `ROOT/layers/<chain id>/fs` holds the files, `layer.json` beside it the record. A layer
//! is made in its lease's directory and renamed into place when it is whole and on disk,
//! the record with it: what has a record is complete.

mod commit;
mod compare;
mod loose;
mod making;
mod mounted;
mod record;
mod unpacking;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

pub use commit::Step;
pub use compare::Differences;
pub(crate) use loose::{Ready, like};
pub use making::Made;
pub(crate) use mounted::mounted_layers;
pub use mounted::{Mounted, is_mounted, mount_image, mounts, sweep_mounts, unmount_image};
pub use record::Record;
pub use unpacking::{Unpacked, Unpacking};

use crate::digest::{ChainId, DiffId};
use crate::error::{Error, Result};
use crate::layer::{self, Packed, RootDir};
use crate::manifest::Descriptor;
use crate::store::{Lease, Store, Stored};

/// The unpacked layers of a store.
#[derive(Clone, Debug)]
pub struct Layers {
    root: PathBuf,
}

impl Layers {
    /// The layers of the store at `root` (ROOT).
    pub fn open(root: &Path) -> Self {
        Self { root: root.join("layers") }
    }

    /// Whether a layer is there, whole.
    pub fn has(&self, chain: &ChainId) -> bool {
        self.dir(chain).join(record::FILE).exists() && self.is_sound(chain)
    }

    /// What is known about a layer.
    pub fn record(&self, chain: &ChainId) -> Result<Record> {
        Record::read(&self.dir(chain), chain)
    }

    /// The directories that overlayfs takes as lower ones, lowest first as the ids are.
    pub fn lowerdirs(&self, chain: &[ChainId]) -> Vec<PathBuf> {
        chain.iter().map(|id| self.files(id)).collect()
    }

    /// Begins to unpack a layer in the lease's directory.
    pub fn start(&self, lease: &Lease, diff_id: &DiffId, media_type: &str) -> Result<Unpacking> {
        Unpacking::start(lease, diff_id, media_type)
    }

    /// Begins to unpack a layer whose digest only its bytes will tell.
    pub fn start_unknown(&self, lease: &Lease) -> Result<Unpacking> {
        Unpacking::new(lease, None)
    }

    /// Writes the merged view of a chain of layers (lowest first) as a tar.
    pub fn export(&self, chain: &[ChainId], out: impl io::Write) -> Result<Packed> {
        let layers: Vec<RootDir> =
            chain.iter().rev().map(|id| RootDir::open(self.files(id))).collect::<Result<_>>()?;
        layer::export(&layers, out)
    }

    /// Makes one unpacked layer visible. `parent` must be visible.
    pub fn commit(
        &self,
        unpacked: Unpacked,
        chain: &ChainId,
        parent: Option<&ChainId>,
    ) -> Result<()> {
        self.commit_all(vec![Step { unpacked, chain: chain.clone(), parent: parent.cloned() }])
    }

    /// Removes a layer that nothing needs.
    pub fn remove(&self, lease: &Lease, chain: &ChainId) -> Result<()> {
        let dir = self.dir(chain);
        let aside = lease.dir().join(format!("gone-{}", chain.hex()));
        fs::rename(&dir, &aside).map_err(Error::at("remove", &dir))?;
        fs::remove_dir_all(&aside).map_err(Error::at("remove", &dir))
    }

    /// Makes sure that all layers of an image are unpacked; the lacking ones are, side by
    /// side, from the store's blobs. The image's chain ids, lowest first.
    pub fn unpack(&self, store: &Store, image: &Stored) -> Result<Vec<ChainId>> {
        store.suits()?;
        let chain = image.chain_ids(store)?;
        if chain.iter().all(|id| self.has(id)) {
            return Ok(chain);
        }
        let lease = store.lease()?;
        lease.hold(&chain)?;
        let layers = pairs(store, image)?;
        let lacking: Vec<usize> = (0..chain.len()).filter(|&i| !self.has(&chain[i])).collect();
        let unpacked = side_by_side(&lacking, |&i| {
            let (blob, diff_id) = &layers[i];
            let unpacking = self.start(&lease, diff_id, &blob.media_type)?;
            unpacking.early(&lease).run(store.open_verified(blob)?)
        })?;
        let steps = lacking.iter().zip(unpacked).map(|(&i, unpacked)| Step {
            unpacked,
            chain: chain[i].clone(),
            parent: i.checked_sub(1).map(|below| chain[below].clone()),
        });
        self.commit_all(steps.collect())?;
        Ok(chain)
    }

    /// What makes the visible layer `step.chain` another than the one just unpacked, which goes.
    /// `contents`: it has them, and they are compared, too.
    pub(crate) fn compare(&self, step: Step, contents: bool) -> Result<Differences> {
        self.settled(&step)?;
        let expected = RootDir::open(step.unpacked.dir.path.join("fs"))?;
        compare::compare(&expected, &RootDir::open(self.files(&step.chain))?, contents)
    }

    pub(crate) fn dir(&self, chain: &ChainId) -> PathBuf {
        self.root.join(chain.hex())
    }

    pub(crate) fn files(&self, chain: &ChainId) -> PathBuf {
        self.dir(chain).join("fs")
    }
}

/// Each layer's blob with its diff id. Hostile input: the two lists must agree.
pub(crate) fn pairs(store: &Store, image: &Stored) -> Result<Vec<(Descriptor, DiffId)>> {
    let layers = image.manifest(store)?.layers;
    if layers.len() != image.diff_ids.len() {
        return Err(Error::invalid(
            format!("image {}", image.title()),
            format!(
                "its manifest has {} layers, its config {}",
                layers.len(),
                image.diff_ids.len()
            ),
        ));
    }
    Ok(layers.into_iter().zip(image.diff_ids.iter().cloned()).collect())
}

/// Runs `work` on all items, as many at once as there are processors; results in order.
/// The first error stops what has not begun.
pub(crate) fn side_by_side<T: Sync, U: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<U> + Sync,
) -> Result<Vec<U>> {
    side_by_side_of(None, items, work)
}

/// The same, as many at once as is said.
pub(crate) fn side_by_side_of<T: Sync, U: Send>(
    most: Option<usize>,
    items: &[T],
    work: impl Fn(&T) -> Result<U> + Sync,
) -> Result<Vec<U>> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    let usual = || thread::available_parallelism().map_or(1, usize::from);
    let threads = most.unwrap_or_else(usual).clamp(1, items.len().max(1));
    let one = || {
        while let Some((i, item)) = {
            let i = next.fetch_add(1, Ordering::Relaxed);
            items.get(i).map(|item| (i, item))
        } {
            let done = work(item);
            if done.is_err() {
                next.store(items.len(), Ordering::Relaxed);
            }
            results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((i, done));
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(one);
        }
        one();
    });
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_by_key(|(i, _)| *i);
    results.into_iter().map(|(_, done)| done).collect()
}
