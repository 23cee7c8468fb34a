//! A foreground run or exec: signals go in, the terminal is relayed, the exit code comes out.

mod relay;

use std::os::fd::AsFd;

use dhow_kernel::process;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::error::{Error, Result};
use crate::init::parent::Init;
use crate::notify::Notify;
pub use relay::{Relay, terminal_pair};

/// All signals, taken as data from here on. Made before the first fork;
/// children give themselves a clean mask.
#[derive(Debug)]
pub struct Signals(SigSet);

impl Signals {
    /// Blocks them.
    pub fn take() -> Result<Self> {
        let system = |e| Error::system("take", "signals", e);
        let mut all = SigSet::all();
        for own in [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE] {
            all.remove(own);
        }
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&all), None).map_err(system)?;
        Ok(Self(all))
    }

    /// A descriptor that tells of them, to be waited for beside others.
    fn descriptor(&self) -> nix::Result<SignalFd> {
        SignalFd::with_flags(&self.0, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
    }
}

/// Waits for the end of `init`, relaying; answers its exit code.
pub fn wait(init: &Init, signals: &Signals, relay: Option<&mut Relay>) -> Result<i32> {
    wait_notified(init, signals, relay, None)
}

/// The same, and passes on that the container is ready: the process to watch is then this one,
/// which ends as the container does.
pub fn wait_notified(
    init: &Init,
    signals: &Signals,
    mut relay: Option<&mut Relay>,
    notify: Option<&Notify>,
) -> Result<i32> {
    let system = |e| Error::system("wait for", "the container", e);
    if relay.is_none() && notify.is_none() {
        return wait_alone(init, signals).map_err(system);
    }
    let signals = signals.descriptor().map_err(system)?;
    loop {
        let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        fds.extend(notify.map(|notify| PollFd::new(notify.as_fd(), PollFlags::POLLIN)));
        let others = fds.len();
        let wanted = relay.as_deref().map(Relay::wanted).unwrap_or_default();
        fds.extend(relay.as_deref().into_iter().flat_map(|relay| {
            let of = |(side, events): &_| PollFd::new(relay.descriptor(*side), *events);
            wanted.iter().map(of)
        }));
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(system(e)),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        if let Some(notify) = notify.filter(|_| ready[1]) {
            // A manager that is gone is no reason to leave the container.
            let _ = notify.pass(std::process::id() as i32);
        }
        if let Some(relay) = &mut relay {
            let ready = wanted.iter().zip(&ready[others..]).filter(|(_, ready)| **ready);
            ready.for_each(|((side, _), _)| relay.attend(*side));
        }
        if ready[0]
            && let Some(code) = take(init, &signals, relay.as_deref()).map_err(system)?
        {
            relay.into_iter().for_each(Relay::drain);
            return Ok(code);
        }
    }
}

/// Where there is nothing else to wait for: a call for a signal.
fn wait_alone(init: &Init, signals: &Signals) -> nix::Result<i32> {
    loop {
        let answer = match dhow_kernel::signal::next(&signals.0) {
            Err(Errno::EINTR) => None,
            other => heed(init, other?, None)?,
        };
        if let Some(code) = answer {
            return Ok(code);
        }
    }
}

/// Handles what signals there are; the exit code when init's end is among them.
fn take(init: &Init, signals: &SignalFd, relay: Option<&Relay>) -> nix::Result<Option<i32>> {
    while let Some(signal) = signals.read_signal()? {
        if let Some(code) = heed(init, signal.ssi_signo as i32, relay)? {
            return Ok(Some(code));
        }
    }
    Ok(None)
}

/// Handles one.
fn heed(init: &Init, signal: i32, relay: Option<&Relay>) -> nix::Result<Option<i32>> {
    match signal {
        libc::SIGCHLD => return reap(init.pid),
        libc::SIGWINCH if relay.is_some() => relay.iter().for_each(|r| r.resize()),
        // Ours alone: the Go runtime's preemption signal, and a reader that left.
        libc::SIGURG | libc::SIGPIPE => {}
        number => {
            let _ = process::pidfd_signal(init.pidfd.as_fd(), number);
        }
    }
    Ok(None)
}

/// Reaps what has ended, orphans of a subreaper too, up to init: then this process ends itself.
fn reap(init: Pid) -> nix::Result<Option<i32>> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
            Ok(WaitStatus::Exited(pid, status)) if pid == init => return Ok(Some(status)),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == init => {
                return Ok(Some(128 + signal as i32));
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(None),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(e),
        }
    }
}
