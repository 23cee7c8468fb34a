//! The monitor's children and their ends: it is the subreaper of a container.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use super::signals::Signals;
use crate::error::Result;

/// Waits for whatever is our child, but for the container's first process: its
/// status is read by its descriptor.
pub struct Children {
    signals: Signals,
    first: i32,
    ends: Vec<(Pid, i32)>,
}

/// Ends kept until somebody asks: a process may end before we know it was ours.
const LONGEST: usize = 64;

impl Children {
    /// The children beside `first`.
    pub fn beside(first: i32) -> Result<Self> {
        Ok(Self { signals: Signals::take(&[Signal::SIGCHLD])?, first, ends: Vec::new() })
    }

    /// Waits for all that have ended; `keep` their ends when somebody may ask.
    ///
    /// A container that shares the host's pids leaves us its orphans, too.
    pub fn reap(&mut self, keep: bool) {
        while self.signals.next_signal().is_some() {}
        let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        while let Some(pid) = waitid(Id::All, peek).ok().and_then(|status| status.pid()) {
            if pid.as_raw() == self.first {
                return;
            }
            // By descriptor: a signal that has no name is an end as well.
            let handle = dhow_kernel::process::pidfd_open(pid);
            let end = handle.and_then(|handle| dhow_kernel::process::reap(handle.as_fd()));
            let Ok(Some(code)) = end else { return };
            if keep {
                self.ends.drain(..(self.ends.len() + 1).saturating_sub(LONGEST));
                self.ends.push((pid, code));
            }
        }
    }

    /// With what code `pid` has ended, if it has; 128+n for a signal.
    pub fn end_of(&mut self, pid: Pid) -> Option<i32> {
        let at = self.ends.iter().position(|(ended, _)| *ended == pid)?;
        Some(self.ends.remove(at).1)
    }

    /// Nobody asks for any that has ended.
    pub fn clear(&mut self) {
        self.ends.clear();
    }
}

impl AsFd for Children {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}
