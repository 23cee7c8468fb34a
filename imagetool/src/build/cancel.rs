//! The end of a build before its time: Ctrl-C, or a step that has failed.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::error::{Error, Result};

/// One build's end. Whoever stops it, all its threads and containers hear of it, once and for
/// all.
#[derive(Debug)]
pub struct Cancel {
    stopped: Arc<AtomicBool>,
    read: PipeReader,
    write: Mutex<Option<PipeWriter>>,
}

impl Cancel {
    /// Of a build that goes on.
    pub fn new() -> Result<Self> {
        let pipe = |e| Error::io("make a pipe for", "build", e);
        let (read, write) = io::pipe().map_err(pipe)?;
        Ok(Self { stopped: Arc::default(), read, write: Mutex::new(Some(write)) })
    }

    /// Ends it. Nothing is waited for.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Without its writer the pipe's end can be read: by all, and for ever.
        drop(self.write.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take());
    }

    /// True once it is ended, for whoever can't hold on to it.
    pub fn flag(&self) -> Arc<AtomicBool> {
        self.stopped.clone()
    }

    /// Whether it was ended.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
}

/// For poll(2): it hangs up when the build is ended. Not to be read from.
impl AsFd for Cancel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    #[test]
    fn everyone_hears_of_it() {
        let cancel = Cancel::new().unwrap();
        let heard = || {
            let mut fds = [PollFd::new(cancel.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
        };
        let flag = cancel.flag();
        assert!(!cancel.is_stopped() && !heard() && !flag.load(Ordering::SeqCst));
        cancel.stop();
        cancel.stop();
        assert!(cancel.is_stopped() && heard() && heard() && flag.load(Ordering::SeqCst));
    }
}
