//! Another network namespace, for as long as a function runs.

use std::fs::File;
use std::os::fd::BorrowedFd;
use std::path::Path;

use nix::sched::{CloneFlags, setns};

use crate::error::{Error, Result};

/// KERNEL: `/proc/self` is the process's first thread; a namespace is a thread's own.
const HERE: &str = "/proc/thread-self/ns/net";

/// Runs `work` with this thread in `namespace`, and comes back.
///
/// A socket stays in the namespace it was made in, and so does `/proc/sys/net` when it is opened.
pub fn enter<T>(namespace: BorrowedFd<'_>, work: impl FnOnce() -> T) -> Result<T> {
    let home = Path::new(HERE);
    let home = File::open(home).map_err(|e| Error::io("open", home, e))?;
    setns(namespace, CloneFlags::CLONE_NEWNET).map_err(|e| {
        Error::engine(format!("enter the container's network namespace: {}", e.desc()))
    })?;
    let _home = Home(home);
    Ok(work())
}

/// The way back, also when the work panics.
struct Home(File);

impl Drop for Home {
    fn drop(&mut self) {
        // Whoever went on from here would make the host's devices inside a container.
        if setns(&self.0, CloneFlags::CLONE_NEWNET).is_err() {
            std::process::abort();
        }
    }
}
