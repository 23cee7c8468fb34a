//! Our streams joined to those of a process of ours, until it has ended.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::outlet::Outlet;
use super::signals::Signals;
use super::terminal::{self, DetachKeys, Raw};
use crate::error::{Error, Result};

/// Output that waits for our reader before the process has to wait too.
const BEHIND: usize = 256 * 1024;
/// More than this is not drained after the end: somebody else is still writing.
const DRAIN: usize = 4 << 20;

/// Output of the process on its way to our reader.
pub struct Flow {
    /// Our end; it never blocks. None at its end.
    pub from: Option<File>,
    /// Our stdout or stderr.
    pub to: Outlet,
}

/// A process and its streams.
pub struct Relay {
    /// Output, at most two.
    pub flows: Vec<Flow>,
    /// Into the process, as long as there is input; never blocks.
    pub stdin: Option<File>,
    /// The terminal's master, to be given our size.
    pub master: Option<File>,
    /// Keys that leave, with a terminal.
    pub keys: Option<DetachKeys>,
    /// Our terminal's raw mode, if it is in it.
    pub raw: Option<Raw>,
    /// Signals for the process; with a terminal, those that concern it.
    pub signals: Signals,
    /// Input read and not yet taken.
    pub unsent: Vec<u8>,
}

/// Why a relay stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The process has ended.
    Ended,
    /// The keys that leave were typed.
    Detached,
    /// This signal asks us to go.
    Signal(i32),
    /// Whoever read our output has gone.
    LostReader,
}

impl Relay {
    /// Relays until `process` has ended, or there is no reason to go on.
    pub fn run(&mut self, process: BorrowedFd<'_>) -> Result<Stop> {
        self.resize();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let ready = self.wait(process)?;
            if let Some(stop) = self.take_signals(process) {
                return Ok(stop);
            }
            if ready.stdin && self.take_stdin(&mut buffer) {
                return Ok(Stop::Detached);
            }
            self.feed();
            for flow in &mut self.flows {
                flow.pump(&mut buffer);
                if lost(flow.to.flush())? {
                    return Ok(Stop::LostReader);
                }
            }
            if ready.ended {
                return Ok(if self.drain(&mut buffer)? { Stop::LostReader } else { Stop::Ended });
            }
        }
    }

    fn drain(&mut self, buffer: &mut [u8]) -> Result<bool> {
        for flow in &mut self.flows {
            let mut total = 0;
            while total < DRAIN {
                match flow.pump(buffer) {
                    0 => break,
                    n => total += n,
                }
            }
            if lost(flow.to.finish())? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn wait(&self, process: BorrowedFd<'_>) -> Result<Ready> {
        let ours = std::io::stdin();
        let (read, write) = (PollFlags::POLLIN, PollFlags::POLLOUT);
        let mut fds = vec![PollFd::new(process, read), PollFd::new(self.signals.as_fd(), read)];
        let takes_stdin = self.stdin.is_some() && self.unsent.is_empty();
        if takes_stdin {
            fds.push(PollFd::new(ours.as_fd(), read));
        }
        if let Some(stdin) = self.stdin.as_ref().filter(|_| !self.unsent.is_empty()) {
            fds.push(PollFd::new(stdin.as_fd(), write));
        }
        for flow in &self.flows {
            if flow.to.pending() > 0 {
                fds.push(PollFd::new(flow.to.as_fd(), write));
            }
            if let Some(from) = flow.from.as_ref().filter(|_| flow.to.pending() < BEHIND) {
                fds.push(PollFd::new(from.as_fd(), read));
            }
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(Error::engine(format!("poll: {}", e.desc()))),
        }
        let is_ready = |at: usize| fds[at].any().unwrap_or(false);
        Ok(Ready { ended: is_ready(0), stdin: takes_stdin && is_ready(2) })
    }

    /// Reads our stdin; true when the keys that leave were typed.
    fn take_stdin(&mut self, buffer: &mut [u8]) -> bool {
        match nix::unistd::read(std::io::stdin(), buffer) {
            Err(Errno::EINTR | Errno::EAGAIN) => false,
            Ok(0) | Err(_) => {
                if self.master.is_some() {
                    self.unsent.push(4); // a terminal has no end, but Ctrl-D
                    self.feed();
                }
                self.stdin = None;
                false
            }
            Ok(n) => {
                let typed = &buffer[..n];
                if let Some(keys) = &mut self.keys {
                    return keys.filter(typed, &mut self.unsent);
                }
                self.unsent.extend(typed);
                false
            }
        }
    }

    fn feed(&mut self) {
        let Some(stdin) = &mut self.stdin else { return self.unsent.clear() };
        while !self.unsent.is_empty() {
            match stdin.write(&self.unsent) {
                Ok(n) => drop(self.unsent.drain(..n)),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.stdin = None; // nobody reads it any more
                    return self.unsent.clear();
                }
            }
        }
    }

    fn take_signals(&mut self, process: BorrowedFd<'_>) -> Option<Stop> {
        while let Some(signal) = self.signals.next_signal() {
            match (signal, &self.master) {
                (libc::SIGWINCH, _) => self.resize(),
                (libc::SIGCONT, _) => {
                    self.raw.iter().for_each(Raw::again);
                    self.resize();
                }
                (_, Some(_)) => return Some(Stop::Signal(signal)),
                (_, None) => {
                    let _ = dhow_kernel::process::pidfd_signal(process, signal);
                }
            }
        }
        None
    }

    fn resize(&self) {
        if let (Some(master), Some((rows, columns))) = (&self.master, terminal::size()) {
            let _ = dhow_kernel::tty::resize(master.as_fd(), rows, columns);
        }
    }
}

impl Flow {
    /// Reads once, unless our reader is behind; says how many bytes came.
    fn pump(&mut self, buffer: &mut [u8]) -> usize {
        let Some(from) = self.from.as_mut().filter(|_| self.to.pending() < BEHIND) else {
            return 0;
        };
        match from.read(buffer) {
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
            Ok(0) | Err(_) => {
                self.from = None;
                0
            }
            Ok(n) => {
                let _ = self.to.put(&buffer[..n]); // its failure shows at the next flush
                n
            }
        }
    }
}

/// What [`Relay::wait`] found.
struct Ready {
    ended: bool,
    stdin: bool,
}

fn lost(written: std::io::Result<()>) -> Result<bool> {
    match written {
        Ok(()) => Ok(false),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(true),
        Err(e) => Err(Error::engine(format!("write our output: {e}"))),
    }
}
