//! A process that keeps a scope's place until the container's first one is there.

use std::os::fd::{AsFd, OwnedFd};

use dhow_kernel::process::{self, Fork, Side};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::unistd::{Pid, getppid, pause};

use crate::error::{Error, Result};

/// Lives as long as this value does, and no longer than we.
#[derive(Debug)]
pub(super) struct StandIn {
    pid: Pid,
    handle: OwnedFd,
}

impl StandIn {
    pub(super) fn new() -> Result<Self> {
        let system = |e| Error::system("clone", "the process that a scope begins with", e);
        let maker = Pid::this();
        match process::fork(&Fork::default()).map_err(system)? {
            Side::Child => wait(maker),
            Side::Parent(pid, handle) => Ok(Self { pid, handle }),
        }
    }

    pub(super) const fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Whether somebody has killed it; by itself it doesn't end before us.
    pub(super) fn is_killed(&self) -> bool {
        let mut ended = [PollFd::new(self.handle.as_fd(), PollFlags::POLLIN)];
        poll(&mut ended, PollTimeout::ZERO) == Ok(1)
    }
}

/// What it does: nothing, with nothing of ours open.
fn wait(maker: Pid) -> ! {
    let _ = set_pdeathsig(Signal::SIGKILL);
    // A caller's signal to the whole group must not end it before its time.
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None);
    let _ = dhow_kernel::close::close_from(0);
    while getppid() == maker {
        pause();
    }
    process::exit_now(0)
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let _ = process::pidfd_signal(self.handle.as_fd(), libc::SIGKILL);
        let _ = crate::init::parent::wait(self.handle.as_fd());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_until_it_isnt_needed() {
        let one = StandIn::new().unwrap();
        let pid = one.pid();
        let there = || std::path::Path::new(&format!("/proc/{pid}")).exists();
        assert!(there() && !one.is_killed());
        nix::sys::signal::kill(one.pid, Signal::SIGKILL).unwrap();
        while !one.is_killed() {
            std::thread::yield_now();
        }
        drop(one);
        assert!(!there());
    }
}
