//! What a copy has put into a directory: taken back if the copy fails.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::manifest::MAX_MANIFEST;
use crate::source::{Directory, Files};
use crate::store::sync_dir;

/// The files a copy has made in a directory that others may be copying into as well. Dropped
/// before [`Births::keep`], they go, unless somebody else may have begun to count on them.
pub(super) struct Births {
    dir: PathBuf,
    /// The directories above it that had to be made for it, innermost first.
    above: Vec<PathBuf>,
    /// The file that says which images there are, and what it said.
    index: &'static str,
    before: Option<Vec<u8>>,
    /// Shared by all who copy into the directory.
    lock: File,
    made: Mutex<Option<Vec<PathBuf>>>,
}

/// So often a directory that others take back under our hands is made anew.
const TRIES: usize = 100;

/// The directories above `dir` that are not there yet, innermost first.
fn missing_above(dir: &Path) -> Vec<PathBuf> {
    let above = dir.ancestors().skip(1).take_while(|above| !above.as_os_str().is_empty());
    above.take_while(|above| !above.exists()).map(Path::to_owned).collect()
}

impl Births {
    /// `make` makes the directory and its `marker`, a file that never changes, if they lack; `index`
    /// is the file that is written last.
    pub(super) fn begin(
        dir: &Path,
        marker: &str,
        index: &'static str,
        make: impl Fn() -> Result<()>,
    ) -> Result<Self> {
        let above = missing_above(dir);
        let path = dir.join(marker);
        let mut tries = 0;
        let lock = loop {
            // Whoever failed at the same time takes back what he has made.
            match make().and_then(|()| held(&path)) {
                Ok(Some(lock)) => break lock,
                // KERNEL: mkdir(2) may find a directory that is gone when it is looked at.
                Err(Error::Io { source, .. })
                    if matches!(
                        source.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists
                    ) && tries < TRIES => {}
                Ok(None) if tries < TRIES => {}
                Ok(None) => {
                    return Err(Error::invalid(path.display().to_string(), "it never stays"));
                }
                Err(e) => return Err(e),
            }
            tries += 1;
        };
        let before = said(dir, index)?;
        let (dir, made) = (dir.to_owned(), Mutex::new(Some(Vec::new())));
        Ok(Self { dir, above, index, before, lock, made })
    }

    /// A file has been made.
    pub(super) fn born(&self, path: &Path) {
        if let Some(made) = &mut *self.made.lock().unwrap_or_else(PoisonError::into_inner) {
            made.push(path.to_owned());
        }
    }

    /// Brings the names of what was made to disk: what is written next leads to them.
    pub(super) fn sync(&self) -> Result<()> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let folders: BTreeSet<&Path> = made.iter().flatten().filter_map(|f| f.parent()).collect();
        folders.into_iter().try_for_each(sync_dir)
    }

    /// All went well.
    pub(super) fn keep(&self) {
        *self.made.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The marker, locked with all others who write beside it; `None` if it was taken away meanwhile.
fn held(marker: &Path) -> Result<Option<File>> {
    // A FIFO in its place isn't waited for either.
    let mut how = File::options();
    how.read(true).custom_flags(libc::O_NONBLOCK);
    let lock = how.open(marker).map_err(Error::at("open", marker))?;
    let about = lock.metadata().map_err(Error::at("open", marker))?;
    if !about.is_file() {
        return Err(Error::invalid(marker.display().to_string(), "it is no regular file"));
    }
    lock.lock_shared().map_err(Error::at("lock", marker))?;
    let now = fs::metadata(marker);
    let same = now.is_ok_and(|now| (now.dev(), now.ino()) == (about.dev(), about.ino()));
    Ok(same.then_some(lock))
}

/// What the index says, if there is one. A FIFO in its place isn't waited for.
fn said(dir: &Path, index: &str) -> Result<Option<Vec<u8>>> {
    match Directory(dir.to_owned()).read(index, MAX_MANIFEST) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.is_not_found() => Ok(None),
        Err(e) => Err(e),
    }
}

impl Drop for Births {
    fn drop(&mut self) {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(made) = made else { return };
        // Others at work may have found a blob of ours there, and those who were done before us
        // have changed the index: then it is left.
        let alone = self.lock.unlock().is_ok() && self.lock.try_lock().is_ok();
        if !alone || said(&self.dir, self.index).ok().as_ref() != Some(&self.before) {
            return;
        }
        for path in made {
            let _ = fs::remove_file(path);
        }
        // A directory that nobody had goes as it came. One that holds something stays.
        if self.before.is_none() {
            for marker in ["oci-layout", "version"] {
                let _ = fs::remove_file(self.dir.join(marker));
            }
            for below in ["blobs/sha256", "blobs/sha512", "blobs", "."] {
                let _ = fs::remove_dir(self.dir.join(below).components().as_path());
            }
            for above in &self.above {
                let _ = fs::remove_dir(above);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_takes_nothing_from_those_who_begin_at_the_same_time() {
        use crate::manifest::{Descriptor, Index, OCI_MANIFEST};
        use crate::sink::{LayoutDir, Sink};
        use crate::source::Document;
        let tmp = tempfile::tempdir().unwrap();
        for round in 0..30 {
            let dir = tmp.path().join(format!("{round}/layout"));
            let write = |n: u8| {
                let sink = LayoutDir::open(&dir).unwrap();
                let bytes = format!("{{\"n\":{n}}}").into_bytes();
                let at = Descriptor::of(OCI_MANIFEST, &bytes);
                sink.document(&Document { bytes, at }, true).unwrap();
                // Every other one gives up.
                if n.is_multiple_of(2) {
                    sink.finish(Some(&format!("n{n}"))).unwrap();
                }
            };
            let write = &write;
            std::thread::scope(|scope| {
                for n in 0..8 {
                    scope.spawn(move || write(n));
                }
            });
            let index = fs::read(dir.join("index.json")).unwrap();
            let index: Index = serde_json::from_slice(&index).unwrap();
            assert_eq!(index.manifests.len(), 4);
            let blob = |d: &Descriptor| dir.join(crate::source::blob_name(&d.digest));
            assert!(index.manifests.iter().all(|d| blob(d).exists()));
            assert!(dir.join("oci-layout").exists());
        }
    }

    #[test]
    fn a_fifo_in_a_layout_is_not_waited_for() {
        let tmp = tempfile::tempdir().unwrap();
        fs::write(tmp.path().join("oci-layout"), "{}").unwrap();
        let fifo = tmp.path().join("index.json");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(Births::begin(tmp.path(), "oci-layout", "index.json", || Ok(())).is_err());
        assert!(tmp.path().join("oci-layout").exists());
        fs::remove_file(tmp.path().join("oci-layout")).unwrap();
        fs::rename(&fifo, tmp.path().join("oci-layout")).unwrap();
        assert!(Births::begin(tmp.path(), "oci-layout", "index.json", || Ok(())).is_err());
        fs::remove_file(tmp.path().join("oci-layout")).unwrap();
        fs::write(tmp.path().join("oci-layout"), "{}").unwrap();
        fs::write(&fifo, "x".repeat(8 << 20)).unwrap();
        assert!(
            Births::begin(tmp.path(), "oci-layout", "index.json", || Ok(())).is_err(),
            "too large"
        );
    }
}
