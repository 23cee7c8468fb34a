//! One build makes a step, the others that want it wait.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::record::Cache;
use crate::build::cancel::Cancel;
use crate::digest::Digest;
use crate::error::{Error, Result};

/// A step that this build makes, and no other meanwhile. The file goes with it: whoever waits for
/// a file that is gone looks again.
#[derive(Debug)]
pub(crate) struct Making {
    path: PathBuf,
    _locked: File,
}

impl Making {
    /// Waits until nobody else makes this step; `None` if the build is ended meanwhile.
    pub fn begin(cache: &Cache, key: &Digest, cancel: &Cancel) -> Result<Option<Self>> {
        let path = cache.lock_path(key);
        loop {
            let file = File::options()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(&path)
                .map_err(Error::at("open", &path))?;
            let locked = match file.try_lock() {
                Ok(()) => Some(file),
                Err(fs::TryLockError::WouldBlock) => wait(file, &path, cancel)?,
                Err(fs::TryLockError::Error(e)) => return Err(Error::io("lock", &path, e)),
            };
            let Some(locked) = locked else { return Ok(None) };
            if is_at(&locked, &path) {
                return Ok(Some(Self { path, _locked: locked }));
            }
        }
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        // Removed while it is locked: nobody else can have locked this very file and believe in it.
        let _ = fs::remove_file(&self.path);
    }
}

/// Waits for a lock in another thread, so that the end of the build is heard.
fn wait(file: File, path: &Path, cancel: &Cancel) -> Result<Option<File>> {
    let pipe = |e| Error::io("make a pipe for", "lock", e);
    let (read, mut write) = std::io::pipe().map_err(pipe)?;
    let (send, receive) = mpsc::channel();
    let locking = move || {
        let done = file.lock().map(|()| file);
        // Nobody waits any more if the build has ended: the lock goes with the file.
        let _ = send.send(done);
        let _ = write.write_all(b"x");
    };
    let named = std::thread::Builder::new().name("lock".into());
    named.spawn(locking).map_err(Error::at("wait for", path))?;
    let mut fds = [
        PollFd::new(read.as_fd(), PollFlags::POLLIN),
        PollFd::new(cancel.as_fd(), PollFlags::POLLIN),
    ];
    loop {
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            Err(e) => return Err(Error::io("wait for", path, e.into())),
            Ok(_) if cancel.is_stopped() => return Ok(None),
            Ok(_) => break,
        }
    }
    match receive.recv() {
        Ok(locked) => locked.map(Some).map_err(Error::at("lock", path)),
        Err(_) => Ok(None),
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn the_second_waits_for_the_first_or_for_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&Store::open(dir.path()).unwrap()).unwrap();
        let key = Digest::of(b"k");
        let cancel = Cancel::new().unwrap();
        let first = Making::begin(&cache, &key, &cancel).unwrap().unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| Making::begin(&cache, &key, &cancel));
            drop(first);
            assert!(second.join().unwrap().unwrap().is_some());
        });
        let _third = Making::begin(&cache, &key, &cancel).unwrap().unwrap();
        std::thread::scope(|scope| {
            let fourth = scope.spawn(|| Making::begin(&cache, &key, &cancel));
            cancel.stop();
            assert!(fourth.join().unwrap().unwrap().is_none());
        });
    }
}
