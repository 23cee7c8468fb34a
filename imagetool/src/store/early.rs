//! Files go to disk while more of them come: whoever syncs in the end waits for the last ones only.
//!
//! Measured (docs/performance.md): of a pull the sync was a third of the time, and the disk idle
//! until then. syncfs(2) has the kernel's own threads write, which takes next to nothing of ours.
//! What of a blob is on disk leaves the page cache: the next bytes find pages that are warm, and
//! what the cache keeps is the files, which somebody will run.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::unistd::syncfs;

use crate::error::{Error, Result};

/// So many packed bytes (they unpack to a few times as many) are worth a sync of their own.
const STEP: u64 = 8 << 20;

/// Syncs a file system again and again, as what comes into it is worth it.
#[derive(Debug)]
pub(crate) struct Early {
    dir: PathBuf,
    came: AtomicU64,
    worker: Mutex<Option<Worker>>,
    passing: Passing,
}

/// Files that nobody is going to read soon. By path: a descriptor would hold their locks.
type Passing = Arc<Mutex<Vec<PathBuf>>>;

#[derive(Debug)]
struct Worker {
    wake: SyncSender<()>,
    thread: JoinHandle<nix::Result<()>>,
}

impl Early {
    /// For the file system that `dir` is on. Nothing happens before much has come.
    pub fn new(dir: &Path) -> Self {
        let dir = dir.to_owned();
        let passing = Passing::default();
        Self { dir, came: AtomicU64::new(0), worker: Mutex::new(None), passing }
    }

    /// A file that is being written, and won't be read soon.
    pub fn passes(&self, path: &Path) {
        self.passing.lock().unwrap_or_else(PoisonError::into_inner).push(path.to_owned());
    }

    /// Takes note of bytes that have come.
    pub fn came(&self, bytes: u64) {
        let before = self.came.fetch_add(bytes, Ordering::Relaxed);
        if before / STEP == (before + bytes) / STEP {
            return;
        }
        let mut worker = self.worker();
        if worker.is_none() {
            // Without it, the sync at the end has more to do.
            *worker = Worker::start(&self.dir, Arc::clone(&self.passing));
        }
        if let Some(worker) = &*worker {
            let _ = worker.wake.try_send(()); // one that is still at it has been told already
        }
    }

    /// Waits for the sync that is going on. KERNEL: syncfs(2): who is told of a disk's fault is the
    /// first to ask, so it has to be passed on from here.
    pub fn finish(&self) -> Result<()> {
        let Some(Worker { wake, thread }) = self.worker().take() else { return Ok(()) };
        drop(wake);
        let done = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        done.map_err(|e| Error::io("sync", &self.dir, e.into()))
    }

    fn worker(&self) -> MutexGuard<'_, Option<Worker>> {
        self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Early {
    fn drop(&mut self) {
        // Whatever it has met, nothing was made visible.
        let _ = self.finish();
    }
}

impl Worker {
    fn start(dir: &Path, passing: Passing) -> Option<Self> {
        let dir = File::open(dir).ok()?;
        let (wake, woken) = sync_channel(1);
        let work = move || {
            while woken.recv().is_ok() {
                let written = lengths(&passing);
                syncfs(&dir)?;
                for (path, length) in &written {
                    forget(path, *length);
                }
            }
            Ok(())
        };
        let thread = thread::Builder::new().name("sync".into()).spawn(work).ok()?;
        Some(Self { wake, thread })
    }
}

fn lengths(passing: &Passing) -> Vec<(PathBuf, u64)> {
    let passing = passing.lock().unwrap_or_else(PoisonError::into_inner);
    let length = |path: &PathBuf| Some((path.clone(), fs::metadata(path).ok()?.len()));
    passing.iter().filter_map(length).collect()
}

/// Takes what is on disk of a file out of the page cache: only advice.
fn forget(path: &Path, length: u64) {
    if let Ok(file) = File::open(path) {
        let advice = PosixFadviseAdvice::POSIX_FADV_DONTNEED;
        let _ = posix_fadvise(file, 0, length as i64, advice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_needs_no_sync_and_much_gets_one_while_it_comes() {
        let dir = tempfile::tempdir().unwrap();
        let early = Early::new(dir.path());
        early.came(STEP - 1);
        assert!(early.worker().is_none());
        early.came(1);
        assert!(early.worker().is_some());
        early.came(5 * STEP);
        early.finish().unwrap();
        assert!(early.worker().is_none());
        early.finish().unwrap();
    }

    #[test]
    fn a_fault_of_the_disk_is_told_at_the_end() {
        let (wake, woken) = sync_channel(1);
        let thread = thread::spawn(move || {
            woken.recv().unwrap();
            Err(nix::errno::Errno::EIO)
        });
        let early = Early::new(Path::new("/nowhere"));
        *early.worker() = Some(Worker { wake, thread });
        early.came(STEP);
        let e = early.finish().unwrap_err();
        assert!(e.to_string().contains("/nowhere"), "{e}");
    }
}
