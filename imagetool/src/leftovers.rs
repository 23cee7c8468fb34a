//! Files and directories in the making that lie where no `gc` comes by: beside archives and
//! bundles, and in folders for what is temporary. A program that is told to end takes them away.
//!
//! In the store, the next lease or `gc` sweeps after who died there.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::{NamedTempFile, TempDir};

use crate::error::{Error, Result};

/// So many paths are looked through before another is kept.
const MANY: usize = 64;

/// How whatever isn't whole yet is called, so that nobody takes it for something else.
pub(crate) const PREFIX: &str = ".dhow-";

static MAKING: Making = Making::new();

/// A new file in `folder`, gone when the program is told to end, unless it has its name by then.
pub(crate) fn file_in(folder: &Path) -> Result<NamedTempFile> {
    MAKING
        .one(|| tempfile::Builder::new().prefix(PREFIX).tempfile_in(folder))
        .map_err(Error::at("create a file in", folder))
}

/// A new directory in `folder`, as [`file_in`] makes files.
pub(crate) fn dir_in(folder: &Path, prefix: impl AsRef<OsStr>) -> Result<TempDir> {
    MAKING
        .one(|| tempfile::Builder::new().prefix(&prefix).tempdir_in(folder))
        .map_err(Error::at("create a directory in", folder))
}

/// Whether [`sweep`] has begun: what fails now fails for that reason alone.
pub fn is_ending() -> bool {
    MAKING.made().is_none()
}

/// Takes away what hasn't got its name yet. For a program about to end: whoever is still at
/// work on it fails, and nothing more is made.
pub fn sweep() {
    MAKING.end();
}

/// What has been made, until the program ends. Names are drawn by lot, so one that has been
/// renamed is simply gone.
struct Making(Mutex<Option<Vec<PathBuf>>>);

impl Making {
    const fn new() -> Self {
        Self(Mutex::new(Some(Vec::new())))
    }

    fn made(&self) -> MutexGuard<'_, Option<Vec<PathBuf>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locked while it is made: an end that comes in between would not know of it.
    fn one<T: AsRef<Path>>(&self, make: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let mut made = self.made();
        let Some(made) = made.as_mut() else {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "the program is told to end"));
        };
        let one = make()?;
        if made.len() >= MANY {
            made.retain(|path| path.symlink_metadata().is_ok());
        }
        made.push(one.as_ref().to_owned());
        Ok(one)
    }

    fn end(&self) {
        let made = self.made().take();
        for path in made.iter().flatten() {
            remove(path);
        }
    }
}

fn remove(path: &Path) {
    // Other threads may still be filling it.
    for _ in 0..100 {
        match path.symlink_metadata() {
            Ok(about) if about.is_dir() => drop(fs::remove_dir_all(path)),
            Ok(_) => drop(fs::remove_file(path)),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_has_its_name_stays() {
        let tmp = tempfile::tempdir().unwrap();
        let at = |name: &str| tmp.path().join(name);
        let making = Making::new();
        let dir = || fs::create_dir_all(at("dir/below")).map(|()| at("dir"));
        making.one(dir).unwrap();
        fs::write(at("dir/below/file"), "x").unwrap();
        making.one(|| fs::write(at("making"), "x").map(|()| at("making"))).unwrap();
        making.one(|| Ok(at("never"))).unwrap();
        fs::rename(at("making"), at("made")).unwrap();
        making.end();
        assert!(at("made").exists() && !at("dir").exists() && !at("making").exists());
        let late = making.one(|| fs::write(at("late"), "x").map(|()| at("late")));
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::Interrupted);
        assert!(!at("late").exists());
    }

    /// A directory that was there, but not noted yet, stayed.
    #[test]
    fn bug_the_end_came_between_making_and_noting() {
        let tmp = tempfile::tempdir().unwrap();
        let at = tmp.path().join("dir");
        let making = Making::new();
        let (is_there, seen) = mpsc::channel();
        thread::scope(|threads| {
            threads.spawn(|| {
                let make = || {
                    fs::create_dir(&at)?;
                    is_there.send(()).unwrap();
                    thread::sleep(Duration::from_millis(50));
                    Ok(&at)
                };
                making.one(make).unwrap();
            });
            seen.recv().unwrap();
            making.end();
            assert!(!at.exists());
        });
    }
}
