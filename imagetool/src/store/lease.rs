//! A lease: what a process in the middle of its work holds in the store.
//!
//! It is a directory `tmp/work-XXXXXX` with a file `lock`, flocked as long as the process
//! lives, and a list `held` of the digests that `collect` must leave alone. The blobs being
//! made lie in it too, so a dead process's leftovers go with its directory.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::{Early, Store, make_dir, sync_dir};
use crate::digest::{Algorithm, Digest};
use crate::error::{Error, Result};

const PREFIX: &str = "work-";

/// Dead leases that a new one takes away.
const MOST_SWEPT: usize = 16;

/// Held digests and unborn blobs; gone when dropped, or swept if the process dies.
#[derive(Debug)]
pub struct Lease {
    store: Store,
    early: Arc<Early>,
    dir: tempfile::TempDir,
    _alive: File,
    held: File,
    pending: Mutex<Vec<(PathBuf, Digest)>>,
}

impl Store {
    /// Takes a lease, and sweeps what dead ones left behind. A store of another kind is refused.
    pub fn lease(&self) -> Result<Lease> {
        self.suits()?;
        let tmp = self.tmp();
        let lock = self.lock()?;
        let dead = self.set_dead_aside()?;
        self.sweep_written();
        let dir = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(&tmp)
            .map_err(Error::at("create a directory in", &tmp))?;
        let make = |name| {
            let path = dir.path().join(name);
            File::options()
                .create_new(true)
                .append(true)
                .open(&path)
                .map_err(|e| Error::io("create", &path, e))
        };
        let (alive, held) = (make("lock")?, make("held")?);
        alive.try_lock().map_err(|e| Error::io("lock", dir.path(), e.into()))?;
        drop(lock);
        drop(dead);
        Ok(Lease {
            store: self.clone(),
            early: Arc::new(Early::new(&self.root)),
            dir,
            _alive: alive,
            held,
            pending: Mutex::new(Vec::new()),
        })
    }

    /// The directories of dead leases, to be removed when dropped; a bounded number of them, as each
    /// has a descriptor until then. Call with the lock held.
    fn set_dead_aside(&self) -> Result<Vec<Doomed>> {
        let mut dead = Vec::new();
        for lease in self.leases()? {
            let (path, alive) = lease?;
            dead.extend(alive.map(|alive| Doomed { path, _alive: alive }));
            if dead.len() == MOST_SWEPT {
                break;
            }
        }
        Ok(dead)
    }

    /// Every lease directory, with its lock if its owner is dead.
    fn leases(&self) -> Result<impl Iterator<Item = Result<(PathBuf, Option<File>)>>> {
        let tmp = self.tmp();
        let entries = fs::read_dir(&tmp).map_err(Error::at("read", &tmp))?;
        Ok(entries.filter_map(move |entry| {
            let path = match entry.map_err(Error::at("read", &tmp)) {
                Ok(entry) if !entry.file_name().to_string_lossy().starts_with(PREFIX) => {
                    return None;
                }
                Ok(entry) => entry.path(),
                Err(error) => return Some(Err(error)),
            };
            // A directory without a lock file died between its two first steps.
            let lock = File::options().append(true).create(true).open(path.join("lock"));
            let dead = lock.map(|file| file.try_lock().is_ok().then_some(file)).ok()?;
            Some(Ok((path, dead)))
        }))
    }

    /// What living leases hold. Call with the lock held.
    pub(super) fn leased(&self) -> Result<HashSet<Digest>> {
        let mut held = HashSet::new();
        for lease in self.leases()? {
            let (path, dead) = lease?;
            if dead.is_none() {
                let list = fs::read_to_string(path.join("held")).unwrap_or_default();
                held.extend(list.lines().filter_map(|l| l.parse::<Digest>().ok()));
            }
        }
        Ok(held)
    }
}

struct Doomed {
    path: PathBuf,
    _alive: File,
}

impl Drop for Doomed {
    fn drop(&mut self) {
        // What can't be removed now is tried again by the next lease.
        let _ = fs::remove_dir_all(&self.path);
    }
}

impl Lease {
    /// The store it is of.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// A private directory on the store's file system, gone with the lease.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What brings its files to disk early.
    pub(crate) fn early(&self) -> &Arc<Early> {
        &self.early
    }

    /// From here on, `collect` leaves these blobs and layers alone; only after this is
    /// it safe to look whether they are there.
    pub fn hold<'a>(&self, digests: impl IntoIterator<Item = &'a Digest>) -> Result<()> {
        let list: Vec<String> = digests.into_iter().map(ToString::to_string).collect();
        let list = list.join("\n") + "\n";
        let _shared = self.store.lock_shared()?;
        (&self.held).write_all(list.as_bytes()).map_err(Error::at("write", self.dir()))
    }

    /// A finished file of this content waits to become a blob. The first of several wins.
    pub(crate) fn adopt(&self, file: PathBuf, digest: Digest) {
        let mut pending = self.pending.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match pending.iter().find(|(_, d)| *d == digest) {
            None => pending.push((file, digest)),
            Some((first, _)) if *first == file => {}
            Some(_) => drop(fs::remove_file(file)),
        }
    }

    /// Syncs and renames every waiting blob into the layout, held until something leads to it.
    /// `synced` says that the caller has already brought the whole file system to disk.
    pub(crate) fn bear(&self, synced: bool) -> Result<()> {
        let mut pending = self.pending.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if pending.is_empty() {
            return Ok(());
        }
        self.hold(pending.iter().map(|(_, digest)| digest))?;
        let mut folders = HashSet::new();
        for (file, _) in pending.iter().filter(|_| !synced) {
            File::open(file).and_then(|f| f.sync_data()).map_err(Error::at("sync", file))?;
        }
        for (file, digest) in pending.drain(..) {
            let to = self.store.blob_path(&digest);
            let folder = to.parent().map(Path::to_owned).unwrap_or_default();
            if digest.algorithm() != Algorithm::Sha256 {
                make_dir(&folder)?;
            }
            fs::rename(&file, &to).map_err(Error::at("create", &to))?;
            folders.insert(folder);
        }
        folders.iter().try_for_each(|f| sync_dir(f))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bug_a_new_blob_was_collected_before_its_image_had_a_name() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let lease = store.lease().unwrap();
        let blob = lease.put("text/plain", b"config").unwrap();
        lease.bear(false).unwrap();
        let collect = || store.collect(&HashSet::new()).unwrap().blobs;
        assert_eq!(collect(), []);
        assert!(store.has_blob(&blob.digest));
        drop(lease);
        assert_eq!(collect(), [blob.digest]);
    }

    #[test]
    fn dead_leases_go_a_few_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let count = || {
            let all = fs::read_dir(store.tmp()).unwrap().flatten();
            all.filter(|e| e.file_name().to_string_lossy().starts_with(PREFIX)).count()
        };
        for n in 0..MOST_SWEPT + 3 {
            fs::create_dir(store.tmp().join(format!("{PREFIX}{n}"))).unwrap();
        }
        let first = store.lease().unwrap();
        assert_eq!(count(), 3 + 1, "each has a descriptor while it goes");
        drop(store.lease().unwrap());
        assert_eq!(count(), 1, "who lives stays");
        drop(first);
        assert_eq!(count(), 0);
    }
}
