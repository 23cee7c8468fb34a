//! What a copy has put into a directory: taken back if the copy fails.

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::manifest::MAX_MANIFEST;
use crate::source::{Directory, Files};

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
        index: &'static str,
    ) -> Result<Self> {
        let marker = dir.join(marker);
        // A FIFO in its place isn't waited for either.
        let mut how = File::options();
        how.read(true).custom_flags(libc::O_NONBLOCK);
        let lock = how.open(&marker).map_err(Error::at("open", &marker))?;
        if !lock.metadata().is_ok_and(|about| about.is_file()) {
            return Err(Error::invalid(marker.display().to_string(), "it is no regular file"));
        }
        lock.lock_shared().map_err(Error::at("lock", &marker))?;
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

    /// All went well.
    pub(super) fn keep(&self) {
        *self.made.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
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
    fn a_fifo_in_a_layout_is_not_waited_for() {
        let tmp = tempfile::tempdir().unwrap();
        fs::write(tmp.path().join("oci-layout"), "{}").unwrap();
        let fifo = tmp.path().join("index.json");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(Births::begin(tmp.path(), Vec::new(), "oci-layout", "index.json").is_err());
        assert!(tmp.path().join("oci-layout").exists());
        fs::remove_file(tmp.path().join("oci-layout")).unwrap();
        fs::rename(&fifo, tmp.path().join("oci-layout")).unwrap();
        assert!(Births::begin(tmp.path(), Vec::new(), "oci-layout", "index.json").is_err());
        fs::remove_file(tmp.path().join("oci-layout")).unwrap();
        fs::write(tmp.path().join("oci-layout"), "{}").unwrap();
        fs::write(&fifo, "x".repeat(8 << 20)).unwrap();
        assert!(
            Births::begin(tmp.path(), Vec::new(), "oci-layout", "index.json").is_err(),
            "too large"
        );
    }
}
