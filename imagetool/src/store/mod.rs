//! ROOT: the images and what belongs to them, as they lie on disk.
//!
//! `ROOT/images` is a plain OCI layout that skopeo, umoci and crane read as it is. Blobs
//! are born in `ROOT/tmp`, synced, then renamed; `index.json` is replaced in one rename
//! under one lock, so a kill at any time leaves the old state or the new one.

mod blob;
mod cache;
mod compact;
mod early;
mod find;
mod gc;
mod image;
mod index;
mod kind;
mod lease;
mod listing;
mod names;
mod prune;
mod removal;
mod usage;
mod verify;

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::error::{Error, Result};

pub use blob::BlobWriter;
pub(crate) use compact::Blobs;
pub use compact::Compacted;
pub(crate) use early::Early;
pub use gc::Collected;
pub use image::Stored;
pub(crate) use kind::ours as kind;
pub use kind::suits;
pub use lease::Lease;
pub use removal::{Removal, Removed, Users};
pub use usage::{ImageUsage, Usage};
pub use verify::{
    Depth, Finding, LayoutCollected, Repaired, Severity, collect_layout, delete_from_layout,
    verify_layout, verify_source,
};

/// How the names of files on their way into place begin.
const BORN: &str = "file-";

/// What `ROOT/version` holds.
const VERSION: &str = "1\n";

/// A store, opened. Cheap to open and to clone; holds no lock and no file.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens the store at `root`, making what lacks. A newer store is refused.
    pub fn open(root: &Path) -> Result<Self> {
        let store = Self { root: root.to_owned() };
        match fs::read_to_string(store.root.join("version")) {
            Ok(v) if v == VERSION => Ok(store),
            Ok(v) => Err(Error::unsupported(
                format!("store version {:?} at {}", v.trim(), root.display()),
                "it was made by a newer dhow: upgrade this one, or choose another --root",
            )),
            Err(e) if e.kind() == io::ErrorKind::NotFound => store.create(),
            Err(e) => Err(Error::io("read", store.root.join("version"), e)),
        }
    }

    /// The store at `root` for whoever has to name one and asks nothing of it: none is made.
    pub fn unopened(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// ROOT.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// ROOT/images, the OCI layout.
    pub fn layout(&self) -> PathBuf {
        self.root.join("images")
    }

    /// ROOT/tmp, on the same file system as everything else.
    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Where a blob is, if it is there.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        let mut p = self.layout();
        p.push("blobs");
        p.push(digest.algorithm().name());
        p.push(digest.hex());
        p
    }

    fn create(self) -> Result<Self> {
        for dir in ["images/blobs/sha256", "layers", "tmp", "cache"] {
            make_dir(&self.root.join(dir))?;
        }
        let lock = self.lock()?;
        self.born(&self.layout().join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        self.born(&self.layout().join("index.json"), br#"{"schemaVersion":2,"manifests":[]}"#)?;
        self.be_ours()?;
        self.born(&self.root.join("version"), VERSION.as_bytes())?;
        drop(lock);
        Ok(self)
    }

    /// Writes a file whole unless it is there.
    fn born(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        if path.exists() { Ok(()) } else { self.replace(path, bytes) }
    }

    /// Puts `bytes` at `path` in one step: the old file or the new one, never half of it.
    pub(crate) fn replace(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let file = self.written(bytes)?;
        file.as_file().sync_all().map_err(Error::at("sync", path))?;
        file.persist(path).map_err(|e| Error::io("replace", path, e.error))?;
        if let Some(dir) = path.parent() {
            sync_dir(dir)?;
        }
        Ok(())
    }

    /// The same without the sync, for what can be rebuilt.
    pub(crate) fn replace_unsynced(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        self.written(bytes)?
            .persist(path)
            .map(drop)
            .map_err(|e| Error::io("replace", path, e.error))
    }

    /// A new file in `tmp`, flocked as long as its writer lives: one that isn't locked is
    /// a dead writer's, and swept.
    fn written(&self, bytes: &[u8]) -> Result<tempfile::NamedTempFile> {
        let tmp = self.tmp();
        loop {
            let mut file = tempfile::Builder::new()
                .prefix(BORN)
                .tempfile_in(&tmp)
                .map_err(Error::at("create a file in", &tmp))?;
            file.as_file().lock().map_err(Error::at("lock", file.path()))?;
            if !file.path().exists() {
                continue; // swept between its creation and its lock
            }
            io::Write::write_all(&mut file, bytes).map_err(Error::at("write", file.path()))?;
            return Ok(file);
        }
    }

    /// Removes the files in `tmp` that dead writers left. What can't be removed now goes
    /// another time.
    fn sweep_written(&self) {
        for entry in fs::read_dir(self.tmp()).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(BORN)
                && let Ok(file) = File::open(entry.path())
                && file.try_lock().is_ok()
            {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// The one exclusive lock of the images. Held for moments, never for a download.
    pub(crate) fn lock(&self) -> Result<Lock> {
        let file = self.lock_file()?;
        file.lock().map_err(|e| unlockable(&self.lock_path(), e))?;
        Ok(Lock { _file: file })
    }

    /// The same lock, shared: `collect` can't run meanwhile.
    pub(crate) fn lock_shared(&self) -> Result<Lock> {
        let file = self.lock_file()?;
        file.lock_shared().map_err(|e| unlockable(&self.lock_path(), e))?;
        Ok(Lock { _file: file })
    }

    fn lock_path(&self) -> PathBuf {
        self.root.join("images.lock")
    }

    fn lock_file(&self) -> Result<File> {
        let path = self.lock_path();
        File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(Error::at("open", path))
    }
}

/// The images' lock; let go when dropped. The file is never removed.
pub(crate) struct Lock {
    _file: File,
}

/// A lock that can't be had: some network file systems have none, and a store without them is
/// no place for two processes.
fn unlockable(path: &Path, e: io::Error) -> Error {
    match e.raw_os_error() {
        Some(libc::ENOLCK | libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL) => Error::unsupported(
            format!("a store on a file system without locks ({})", path.display()),
            "choose a --root on a local one, or mount NFS with a lock service",
        ),
        _ => Error::io("lock", path, e),
    }
}

/// Makes a directory and its parents, 0700.
pub(crate) fn make_dir(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::at("create", path))
}

/// Makes the names in a directory survive a power cut.
pub(crate) fn sync_dir(path: &Path) -> Result<()> {
    File::open(path).and_then(|d| d.sync_all()).map_err(Error::at("sync", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_opens_twice_and_refuses_the_future() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("deep/root");
        Store::open(&root).unwrap();
        assert!(Store::open(&root).unwrap().images().unwrap().is_empty());
        fs::write(root.join("version"), "2\n").unwrap();
        assert!(Store::open(&root).unwrap_err().to_string().contains("newer"));
    }

    #[test]
    fn a_dead_writers_file_is_swept_and_a_living_ones_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let living = store.written(b"x").unwrap();
        let dead = store.tmp().join("file-dead");
        fs::write(&dead, "half").unwrap();
        store.lease().unwrap();
        assert!(living.path().exists() && !dead.exists());
    }
}
