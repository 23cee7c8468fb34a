//! The files of one further process in RUN/monitors/ID, gone when dropped.

use std::fs::{File, TryLockError};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Names of files that stand for a process: `exec-ID.json` and its kin.
const EXEC: &str = "exec-";
/// What is held locked as long as somebody speaks for the process.
const HELD: &str = "json";

/// The files of one process.
pub struct Files {
    dir: PathBuf,
    stem: String,
    #[allow(dead_code, reason = "held, not read")]
    held: Option<File>,
}

impl Files {
    /// The files of exec `id`, which is in `running` from here on.
    pub fn of_exec(dir: PathBuf, id: &str) -> Result<Self> {
        let mut files = Self::named(dir, format!("{EXEC}{id}"));
        let path = files.path(HELD);
        let held = loop {
            let held = File::options()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)
                .and_then(|file| file.lock_shared().map(|()| file))
                .map_err(|e| Error::io("make", &path, e))?;
            // A sweep may have taken it away in between: then it says nothing to anybody.
            if held.metadata().is_ok_and(|meta| meta.nlink() > 0) {
                break held;
            }
        };
        files.held = Some(held);
        Ok(files)
    }

    /// Files that nobody looks for.
    pub fn named(dir: PathBuf, stem: String) -> Self {
        Self { dir, stem, held: None }
    }

    /// RUN/monitors/ID
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file for `what`.
    pub fn path(&self, what: &str) -> PathBuf {
        self.dir.join(self.name(what))
    }

    /// Its name.
    pub fn name(&self, what: &str) -> String {
        format!("{}.{what}", self.stem)
    }

    /// Somebody else removes them.
    pub fn hand_over(mut self) {
        self.stem.clear();
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if self.stem.is_empty() {
            return;
        }
        for what in [HELD, "pid", "log", "sock"] {
            let _ = std::fs::remove_file(self.path(what));
        }
    }
}

/// Ids of the execs in `dir` that somebody speaks for; what killed ones left is removed.
pub fn running(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let ids = names.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some(name.strip_prefix(EXEC)?.strip_suffix(".json")?.to_owned())
    });
    let mut ids: Vec<String> = ids.filter(|id| is_held(dir, id)).collect();
    ids.sort();
    ids
}

fn is_held(dir: &Path, id: &str) -> bool {
    let files = Files::named(dir.to_owned(), format!("{EXEC}{id}"));
    let Ok(file) = File::open(files.path(HELD)) else { return false };
    if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
        files.hand_over();
        return true;
    }
    drop(files); // with the lock in hand: who makes them anew looks again
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exec_runs_as_long_as_somebody_holds_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let first = Files::of_exec(dir.path().into(), "aa").unwrap();
        let second = Files::of_exec(dir.path().into(), "aa").unwrap();
        std::fs::write(dir.path().join("exec-dead.json"), "{}").unwrap();
        assert_eq!(running(dir.path()), ["aa"]);
        assert!(!dir.path().join("exec-dead.json").exists());
        first.hand_over();
        assert_eq!(running(dir.path()), ["aa"]);
        drop(second);
        assert!(running(dir.path()).is_empty());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
