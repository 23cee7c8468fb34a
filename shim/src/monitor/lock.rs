//! RUN/monitors/ID/lock: held means that a monitor lives, or somebody puts things right.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::error::{Error, Result};
use crate::host::Host;
use crate::store::make_dir;

/// The right to speak for a container. It goes with the descriptor: a monitor
/// inherits it from the client that took it, with no moment between.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// The lock, unless somebody holds it.
    pub fn try_take(host: &Host, id: &str) -> Result<Option<Self>> {
        Self::acquire(&host.paths.monitor(id), |file| match file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(e)) => Err(e),
        })
    }

    /// Waits for the lock.
    pub fn take(host: &Host, id: &str) -> Result<Self> {
        let dir = host.paths.monitor(id);
        Self::acquire(&dir, |file| file.lock().map(|()| true))?
            .ok_or_else(|| Error::io("lock", &dir, "held by another process"))
    }

    /// Says that its holder is about to let go: who waits from here on waits a moment only.
    pub fn mark_ending(&self) {
        let _ = (&self.0).write_all(b"ending\n");
    }

    /// Its holder has said that it is about to let go, or has done so.
    pub fn is_ending(host: &Host, id: &str) -> bool {
        std::fs::read(host.paths.monitor(id).join("lock")).map_or(true, |text| !text.is_empty())
    }

    fn acquire(dir: &Path, lock: impl Fn(&File) -> std::io::Result<bool>) -> Result<Option<Self>> {
        loop {
            make_dir(dir)?;
            let path = dir.join("lock");
            let opened = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(libc::O_NOFOLLOW)
                .open(&path);
            let file = match opened {
                Ok(file) => file,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                Err(e) => return Err(Error::io("open lock", &path, e)),
            };
            if !lock(&file).map_err(|e| Error::io("lock", &path, e))? {
                return Ok(None);
            }
            // Its last holder may have removed the directory: then this lock locks nothing.
            let links = file.metadata().map_err(|e| Error::io("lock", &path, e))?.nlink();
            if links > 0 {
                file.set_len(0).map_err(|e| Error::io("write lock", &path, e))?;
                return Ok(Some(Self(file)));
            }
        }
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Lock {
    fn from(fd: OwnedFd) -> Self {
        Self(fd.into())
    }
}
