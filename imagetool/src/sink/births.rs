//! What a copy has put into a directory: taken back if the copy fails.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};

/// The files a copy has made in a directory that others may be copying into as well. Dropped
/// before [`Births::keep`], they go, unless somebody else may have begun to count on them.
pub(super) struct Births {
    dir: PathBuf,
    /// The directories above it that had to be made for it, innermost first.
    above: Vec<PathBuf>,
    /// The file that says which images there are, and what it said.
    index: PathBuf,
    before: Option<Vec<u8>>,
    /// Shared by all who copy into the directory.
    lock: File,
    made: Mutex<Option<Vec<PathBuf>>>,
}

/// The directories above `dir` that are not there yet, innermost first.
pub(super) fn missing_above(dir: &Path) -> Vec<PathBuf> {
    let above = dir.ancestors().skip(1).take_while(|above| !above.as_os_str().is_empty());
    above.take_while(|above| !above.exists()).map(Path::to_owned).collect()
}

impl Births {
    /// `above` is what [`missing_above`] said before the directory was made; `marker` a file of it
    /// that never changes; `index` the one that is written last.
    pub(super) fn begin(
        dir: &Path,
        above: Vec<PathBuf>,
        marker: &str,
        index: &str,
    ) -> Result<Self> {
        let marker = dir.join(marker);
        let lock = File::open(&marker).map_err(Error::at("open", &marker))?;
        lock.lock_shared().map_err(Error::at("lock", &marker))?;
        let index = dir.join(index);
        let before = fs::read(&index).ok();
        let dir = dir.to_owned();
        Ok(Self { dir, above, index, before, lock, made: Mutex::new(Some(Vec::new())) })
    }

    /// A file has been made.
    pub(super) fn born(&self, path: &Path) {
        if let Some(made) = &mut *self.made.lock().unwrap_or_else(PoisonError::into_inner) {
            made.push(path.to_owned());
        }
    }

    /// All went well.
    pub(super) fn keep(&self) {
        *self.made.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Drop for Births {
    fn drop(&mut self) {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(made) = made else { return };
        // Others at work may have found a blob of ours there, and those who were done before us
        // have changed the index: then it is left.
        let alone = self.lock.unlock().is_ok() && self.lock.try_lock().is_ok();
        if !alone || fs::read(&self.index).ok() != self.before {
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
