//! Signals as something to poll.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::error::{Error, Result};

/// What a client without a terminal hands on to the container.
///
/// DIFFERS: docker also hands on job control (TSTP, TTIN, TTOU, CONT); here that stays the user's shell's.
pub const PROXIED: [Signal; 7] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGTERM,
];

/// What a client with a terminal has to see, to leave it as it was.
pub const TERMINAL: [Signal; 6] = [
    Signal::SIGWINCH,
    Signal::SIGCONT,
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
];

/// Signals taken from their usual course until dropped.
pub struct Signals {
    fd: SignalFd,
    before: SigSet,
}

impl Signals {
    /// Takes `signals`.
    pub fn take(signals: &[Signal]) -> Result<Self> {
        let mask: SigSet = signals.iter().copied().collect();
        let cause = |e: nix::Error| Error::engine(format!("take signals: {}", e.desc()));
        let before = SigSet::thread_get_mask().map_err(cause)?;
        mask.thread_block().map_err(cause)?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let fd = SignalFd::with_flags(&mask, flags).map_err(cause)?;
        Ok(Self { fd, before })
    }

    /// The next one that came.
    pub fn next_signal(&self) -> Option<i32> {
        let info = self.fd.read_signal().ok()??;
        Some(info.ssi_signo as i32)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let _ = self.before.thread_set_mask();
    }
}
