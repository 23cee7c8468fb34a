//! RUN/monitors/ID/lock: held means that a monitor lives, or somebody puts things right.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use super::attach::Line;
use super::protocol::Role;
use super::{is_active, process, state};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::Record;
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

    /// The lock of a container that does not run; nothing when it does.
    pub fn of_idle(host: &Host, record: &Record) -> Result<Option<Self>> {
        let mut looked_again = false;
        loop {
            if is_active(&state(host, record)?) {
                return Ok(None);
            }
            if let Some(lock) = Self::try_take(host, &record.id)? {
                // What was read without the lock may have changed before it was taken; and a full
                // disk may tell of an older life: its process has the last word.
                let now = host.containers.state(&record.id)?;
                if process::open(&now)?.is_none() {
                    return Ok(Some(lock));
                }
                drop(lock);
                if std::mem::replace(&mut looked_again, true) {
                    return Ok(None);
                }
            }
            drop(Self::await_holder(host, &record.id)?);
        }
    }

    /// Waits until its holder has let go, where it is about to, or has started the container: its
    /// monitor answers when that is done. The line to it, if it lives.
    pub fn await_holder(host: &Host, id: &str) -> Result<Option<Line>> {
        if Self::wait_ending(host, id) {
            return Ok(None);
        }
        let line = Line::connect(host, id, Role::default())?;
        std::thread::yield_now();
        Ok(line)
    }

    /// Says that its holder is about to let go: who waits from here on waits a moment only.
    pub fn mark_ending(&self) {
        let _ = (&self.0).write_all(b"ending\n");
    }

    /// Waits while its holder is about to let go; true when it was, and has done so.
    ///
    /// Never by flock(2) itself: whoever takes it next may hold it for a container's whole life.
    pub fn wait_ending(host: &Host, id: &str) -> bool {
        let path = host.paths.monitor(id).join("lock");
        loop {
            let Ok(file) = File::open(&path) else { return true };
            let marked = file.metadata().is_ok_and(|meta| meta.len() > 0);
            if !marked || file.try_lock().is_ok() {
                return marked;
            }
            std::thread::sleep(Duration::from_millis(1)); // what is left to it is to remove files
        }
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
