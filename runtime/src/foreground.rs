//! A foreground run or exec: signals go in, the terminal is relayed, the exit code comes out.

use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use dhow_kernel::{process, tty};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, socketpair,
};
use nix::sys::termios::{OutputFlags, SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, read, write};

use crate::error::{Error, Result};
use crate::init::parent::Init;
use crate::notify::Notify;

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

/// The terminal of a container, relayed to ours.
#[derive(Debug)]
pub struct Relay {
    master: OwnedFd,
    /// Our terminal as it was, when standard input is one.
    saved: Option<Termios>,
}

/// A pair of sockets to receive a terminal by: ours, and the one for init.
pub fn terminal_pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
        .map_err(|e| Error::system("make", "the terminal's socket", e))
}

impl Relay {
    /// Receives the master and makes our terminal raw.
    ///
    /// DIFFERS: from runc, which gives up when standard input is no terminal of its own.
    pub fn receive(socket: BorrowedFd<'_>) -> Result<Self> {
        let master = receive(socket).map_err(|e| Error::system("receive", "the terminal", e))?;
        let saved = tcgetattr(std::io::stdin()).ok();
        let relay = Self { master, saved };
        relay.resize();
        relay.plain_newlines();
        if let Some(saved) = &relay.saved {
            let mut raw = saved.clone();
            cfmakeraw(&mut raw);
            raw.output_flags |= saved.output_flags & OutputFlags::OPOST;
            tcsetattr(std::io::stdin(), SetArg::TCSANOW, &raw)
                .map_err(|e| Error::system("make raw", "the terminal", e))?;
        }
        Ok(relay)
    }

    /// As runc: a line's end is told as one byte, for what reads us may be a file or a pipe;
    /// our own terminal, where we have one, makes two of it.
    fn plain_newlines(&self) {
        let Ok(mut theirs) = tcgetattr(&self.master) else { return };
        theirs.output_flags.remove(OutputFlags::ONLCR);
        let _ = tcsetattr(&self.master, SetArg::TCSANOW, &theirs);
    }

    fn resize(&self) {
        // A size that can't be read or set leaves the terminal as it is.
        if let Ok((rows, columns)) = tty::size(std::io::stdin().as_fd()) {
            let _ = tty::resize(self.master.as_fd(), rows, columns);
        }
    }

    /// Copies what there is from the container; false at its end.
    fn output(&self) -> bool {
        let mut buffer = [0u8; 16 * 1024];
        match read(&self.master, &mut buffer) {
            Err(Errno::EINTR | Errno::EAGAIN) => true,
            // KERNEL: pty(7): EIO says that nobody has the other end open.
            Ok(0) | Err(_) => false,
            Ok(n) => {
                let mut out = std::io::stdout().lock();
                out.write_all(&buffer[..n]).and_then(|()| out.flush()).is_ok()
            }
        }
    }

    /// Copies what there is from our side; false at its end.
    fn input(&self) -> bool {
        let mut buffer = [0u8; 4096];
        match read(std::io::stdin(), &mut buffer) {
            Err(Errno::EINTR | Errno::EAGAIN) => true,
            Ok(0) | Err(_) => false,
            Ok(n) => {
                let mut rest = &buffer[..n];
                while !rest.is_empty() {
                    match write(&self.master, rest) {
                        Ok(n) => rest = &rest[n..],
                        Err(Errno::EINTR) => {}
                        Err(_) => return false,
                    }
                }
                true
            }
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(saved) = &self.saved {
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, saved);
        }
    }
}

fn receive(socket: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    let mut space = nix::cmsg_space!([std::os::fd::RawFd; 1]);
    let mut text = [0u8; 256];
    let mut parts = [std::io::IoSliceMut::new(&mut text)];
    let message = recvmsg::<()>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut space),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control
            && let Some(fd) = fds.first()
        {
            return dhow_kernel::fd::adopt(*fd);
        }
    }
    Err(Errno::EPROTO)
}

/// Waits for the end of `init`, relaying; answers its exit code.
pub fn wait(init: &Init, signals: &Signals, relay: Option<&Relay>) -> Result<i32> {
    wait_notified(init, signals, relay, None)
}

/// The same, and passes on that the container is ready: the process to watch is then this one,
/// which ends as the container does.
pub fn wait_notified(
    init: &Init,
    signals: &Signals,
    relay: Option<&Relay>,
    notify: Option<&Notify>,
) -> Result<i32> {
    let system = |e| Error::system("wait for", "the container", e);
    if relay.is_none() && notify.is_none() {
        return wait_alone(init, signals).map_err(system);
    }
    let signals = signals.descriptor().map_err(system)?;
    let stdin = std::io::stdin();
    let (mut reading, mut typing) = (relay.is_some(), relay.is_some());
    loop {
        let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        if let (Some(relay), true) = (relay, reading) {
            fds.push(PollFd::new(relay.master.as_fd(), PollFlags::POLLIN));
        }
        if typing {
            fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        fds.extend(notify.map(|notify| PollFd::new(notify.as_fd(), PollFlags::POLLIN)));
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(system(e)),
        }
        let ready = |n: usize| fds.get(n).and_then(PollFd::any).unwrap_or(false);
        let (signalled, second, third) = (ready(0), ready(1), ready(2));
        if let Some(notify) = notify.filter(|_| ready(fds.len() - 1)) {
            // A manager that is gone is no reason to leave the container.
            let _ = notify.pass(std::process::id() as i32);
        }
        if let Some(relay) = relay {
            let (out, input) = if reading { (second, third) } else { (false, second) };
            if out {
                reading = relay.output();
            }
            if typing && input {
                typing = relay.input();
            }
        }
        if signalled && let Some(code) = take(init, &signals, relay).map_err(system)? {
            if let (Some(relay), true) = (relay, reading) {
                drain(relay);
            }
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

/// What the container wrote before its end and we haven't read.
fn drain(relay: &Relay) {
    loop {
        let mut fds = [PollFd::new(relay.master.as_fd(), PollFlags::POLLIN)];
        if !matches!(poll(&mut fds, PollTimeout::ZERO), Ok(n) if n > 0) || !relay.output() {
            return;
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
