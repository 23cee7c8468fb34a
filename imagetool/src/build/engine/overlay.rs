//! Layers merged by overlayfs, in the build's own mount namespace: whatever kills the build, the
//! kernel unmounts.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::digest::ChainId;
use crate::error::{Error, Result};
use crate::layer::RootDir;
use crate::overlay::{Overlay, advice};
use crate::rootless;
use crate::snapshot::Layers;

/// Takes this thread, and those it begins, into a mount namespace of their own. Without the right
/// to, all stays: what then has to be mounted can't be, and says so.
pub(crate) fn enter() -> Result<()> {
    match unshare(CloneFlags::CLONE_NEWNS) {
        Err(Errno::EPERM) => return Ok(()),
        done => done.map_err(|e| Error::io("make a mount namespace for", "build", e.into()))?,
    }
    let slave = MsFlags::MS_REC | MsFlags::MS_SLAVE;
    mount(None::<&str>, "/", None::<&str>, slave, None::<&str>)
        .map_err(|e| Error::io("make private the mounts of", "build", e.into()))
}

/// A root that is mounted, or a directory that is one as it is.
#[derive(Debug)]
pub(crate) struct Root {
    /// Itself.
    pub dir: RootDir,
    /// Where it is.
    pub path: PathBuf,
    mounted: bool,
}

impl Drop for Root {
    fn drop(&mut self) {
        if self.mounted {
            // What can't be unmounted now goes with the namespace.
            let _ = umount2(&self.path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
        }
    }
}

/// The roots of chains of layers, for reading. Each is mounted once.
#[derive(Debug)]
pub(crate) struct Roots {
    layers: Layers,
    home: PathBuf,
    known: Mutex<HashMap<Option<ChainId>, Arc<Root>>>,
}

impl Roots {
    /// Mounted below `home`, which is this build's.
    pub fn new(layers: Layers, home: &Path) -> Result<Self> {
        let home = home.join("roots");
        fs::create_dir(&home).map_err(Error::at("create", &home))?;
        Ok(Self { layers, home, known: Mutex::default() })
    }

    /// The merged view of a chain, lowest layer first.
    pub fn of(&self, chain: &[ChainId]) -> Result<Arc<Root>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(root) = known.get(&chain.last().cloned()) {
            return Ok(root.clone());
        }
        let root = if let [only] = chain {
            let path = self.layers.files(only);
            Root { dir: RootDir::open(&path)?, path, mounted: false }
        } else {
            let path = self.home.join(known.len().to_string());
            fs::create_dir(&path).map_err(Error::at("create", &path))?;
            let mut lower = self.layers.lowerdirs(chain);
            lower.reverse();
            if !lower.is_empty() {
                attach(&lower, None, &path)?;
            }
            Root { dir: RootDir::open(&path)?, path, mounted: !lower.is_empty() }
        };
        let root = Arc::new(root);
        known.insert(chain.last().cloned(), root.clone());
        Ok(root)
    }
}

/// A chain's merged view with a directory of its own on top.
#[derive(Debug)]
pub(crate) struct Writable {
    /// Its root; gone before the layer is looked at.
    pub root: Option<Root>,
    /// The directory that becomes the layer's.
    pub layer: PathBuf,
    home: PathBuf,
}

impl Writable {
    /// Below `home`, which goes with it.
    pub fn new(layers: &Layers, chain: &[ChainId], home: PathBuf) -> Result<Self> {
        let (layer, work, root) = (home.join("layer"), home.join("work"), home.join("root"));
        let empty = home.join("empty");
        for dir in [&home, &layer, &layer.join("fs"), &work, &root, &empty] {
            fs::create_dir(dir).map_err(Error::at("create", dir))?;
        }
        let mut lower = layers.lowerdirs(chain);
        lower.reverse();
        let upper = layer.join("fs");
        let below = lower.first().map(RootDir::open).transpose()?;
        crate::snapshot::like(&RootDir::open(&upper)?, below.as_ref())?;
        if lower.is_empty() {
            lower.push(empty);
        }
        attach(&lower, Some((&upper, &work)), &root)?;
        let root = Root { dir: RootDir::open(&root)?, path: root, mounted: true };
        Ok(Self { root: Some(root), layer, home })
    }
}

impl Drop for Writable {
    fn drop(&mut self) {
        self.root = None;
        // What stays goes with the lease.
        let _ = fs::remove_dir_all(&self.home);
    }
}

/// Mounts `lower`, topmost first, at `target`; with upper and work directory to be written to.
fn attach(lower: &[PathBuf], own: Option<(&Path, &Path)>, target: &Path) -> Result<()> {
    // What is written is brought to disk with all other layers, when the image is.
    let overlay = Overlay { source: c"dhow-build", lower, upper: own, volatile: own.is_some() };
    overlay.mount(target).map_err(|e| match e {
        Errno::EPERM | Errno::EACCES if !rootless::is_confined() => Error::unsupported(
            "building without being root",
            "overlayfs must be mounted: run as root, or in a container that may mount",
        ),
        e => match advice(e) {
            "" => Error::io("mount layers on", target, e.into()),
            advice => Error::Conflict(format!(
                "mount layers on {}: {}{advice}",
                target.display(),
                e.desc()
            )),
        },
    })
}
