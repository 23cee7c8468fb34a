//! Files that are either old or new, never half.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::error::{Error, Result};

/// Whether a write must survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Synced before it is visible.
    Yes,
    /// What a crash takes with it anyway (state of a running process, `--rm` containers).
    No,
}

/// Puts `bytes` at `path`, mode 0600: the old file or the new one, nothing between.
pub fn write_atomic(path: &Path, bytes: &[u8], sync: Sync) -> Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&temporary)?;
        file.write_all(bytes)?;
        if sync == Sync::Yes {
            file.sync_all()?;
        }
        std::fs::rename(&temporary, path)?;
        if sync == Sync::Yes { sync_parent(path) } else { Ok(()) }
    })();
    written.map_err(|e: std::io::Error| {
        let _ = std::fs::remove_file(&temporary);
        Error::io("write", path, e)
    })
}

fn sync_parent(path: &Path) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

/// Makes a directory of dhow's own, 0700, with its parents; there already is fine.
pub fn make_dir(path: &Path) -> Result<()> {
    loop {
        match DirBuilder::new().recursive(true).mode(0o700).create(path) {
            // It was there when it was to be made, and not when that was looked at: somebody took it
            // away between the two.
            Err(e) if e.kind() == ErrorKind::AlreadyExists && !is_file(path) => {}
            done => return done.map_err(|e| Error::io("create directory", path, e)),
        }
    }
}

fn is_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| !found.is_dir())
}

/// A lock held until dropped; its file stays.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code)] Flock<File>);

impl Lock {
    /// Waits for the exclusive lock at `path`.
    pub fn exclusive(path: &Path) -> Result<Self> {
        Self::take(path, FlockArg::LockExclusive)?
            .ok_or_else(|| Error::io("lock", path, "held by another process"))
    }

    /// The exclusive lock at `path`, or nothing when somebody holds it.
    pub fn try_exclusive(path: &Path) -> Result<Option<Self>> {
        Self::take(path, FlockArg::LockExclusiveNonblock)
    }

    fn take(path: &Path, how: FlockArg) -> Result<Option<Self>> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(path)
            .map_err(|e| Error::io("open lock", path, e))?;
        match Flock::lock(file, how) {
            Ok(lock) => Ok(Some(Self(lock))),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(Error::io("lock", path, errno.desc())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_directory_that_others_take_away_all_the_time_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("comes/and/goes");
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let _ = std::fs::remove_dir(&path);
                }
            });
            let made: Vec<_> = (0..20_000).map(|_| make_dir(&path)).collect();
            done.store(true, Ordering::Relaxed);
            made.into_iter().collect::<Result<()>>().unwrap();
        });
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert!(make_dir(&dir.path().join("file")).is_err());
    }
}
