//! A program at work, a runtime or `git`: what it writes is handed on, and its end or the build's is waited for.

use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStderr, ChildStdout, ExitStatus};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

use crate::build::cancel::Cancel;
use crate::build::progress::Stream;
use crate::error::{Error, Result};

/// As much is read at once.
const PIECE: usize = 64 << 10;
/// A container that isn't there yet can't be killed: so many milliseconds until it is tried again, and
/// so often.
const AGAIN: u8 = 10;
const TRIES: usize = 300;

/// Who waits for a program's end.
pub(super) struct Child<'a> {
    started: std::process::Child,
    /// What errors call it.
    name: &'static str,
    process: OwnedFd,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    cancel: &'a Cancel,
    buffer: Vec<u8>,
}

impl<'a> Child<'a> {
    /// Of a program whose two outputs are pipes.
    pub fn new(
        mut started: std::process::Child,
        name: &'static str,
        cancel: &'a Cancel,
    ) -> Result<Self> {
        let fail = |e: Errno| Error::io("follow", name, e.into());
        let process = dhow_kernel::process::pidfd_open(Pid::from_raw(started.id() as i32));
        let (stdout, stderr) = (started.stdout.take(), started.stderr.take());
        let fds = [stdout.as_ref().map(AsFd::as_fd), stderr.as_ref().map(AsFd::as_fd)];
        for fd in fds.into_iter().flatten() {
            fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(fail)?;
        }
        let process = process.map_err(fail)?;
        Ok(Self { started, name, process, stdout, stderr, cancel, buffer: vec![0; PIECE] })
    }

    /// Hands on what is written until the program has ended, and answers with its end; with nothing
    /// when all are told to stop before that.
    pub fn run(&mut self, wrote: &mut dyn FnMut(Stream, &[u8])) -> Result<Option<ExitStatus>> {
        loop {
            let [out, err, ended, told] = self.wait()?;
            if out {
                drain(&mut self.stdout, &mut self.buffer, &mut |b| wrote(Stream::Stdout, b), false);
            }
            if err {
                drain(&mut self.stderr, &mut self.buffer, &mut |b| wrote(Stream::Stderr, b), false);
            }
            if ended {
                // What a container writes is there already; whoever else has the pipe is not waited for.
                drain(&mut self.stdout, &mut self.buffer, &mut |b| wrote(Stream::Stdout, b), true);
                drain(&mut self.stderr, &mut self.buffer, &mut |b| wrote(Stream::Stderr, b), true);
                return self.end().map(Some);
            }
            if told {
                return Ok(None);
            }
        }
    }

    /// Has it killed by `kill`, which says whether there was something to kill, and waits for the
    /// program's end; false if that doesn't come.
    pub fn stop(&mut self, kill: &mut dyn FnMut() -> bool) -> bool {
        let mut killed = false;
        for _ in 0..TRIES {
            killed = killed || kill();
            let mut fds = [PollFd::new(self.process.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, PollTimeout::from(AGAIN)).is_ok_and(|ready| ready == 1) {
                return self.started.wait().is_ok();
            }
            // Nobody who can't write any more is kept from ending.
            drain(&mut self.stdout, &mut self.buffer, &mut |_| {}, false);
            drain(&mut self.stderr, &mut self.buffer, &mut |_| {}, false);
        }
        false
    }

    /// Ends the program itself.
    pub fn kill(&mut self) {
        let _ = self.started.kill();
        let _ = self.started.wait();
    }

    fn end(&mut self) -> Result<ExitStatus> {
        self.started.wait().map_err(|e| Error::io("wait for", self.name, e))
    }

    /// Which of stdout, stderr, end and cancel there is something of.
    fn wait(&self) -> Result<[bool; 4]> {
        let mut ready = [false; 4];
        let fds: [Option<BorrowedFd<'_>>; 4] = [
            self.stdout.as_ref().map(AsFd::as_fd),
            self.stderr.as_ref().map(AsFd::as_fd),
            Some(self.process.as_fd()),
            Some(self.cancel.as_fd()),
        ];
        let known: Vec<usize> = (0..4).filter(|&n| fds[n].is_some()).collect();
        let asked = fds.into_iter().flatten().map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let mut asked: Vec<PollFd<'_>> = asked.collect();
        match poll(&mut asked, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(ready),
            Err(e) => return Err(Error::io("wait for", self.name, e.into())),
        }
        for (fd, n) in asked.iter().zip(known) {
            ready[n] = fd.any() == Some(true);
        }
        Ok(ready)
    }
}

/// Reads a piece, or all there is; the pipe goes at its end.
fn drain(from: &mut Option<impl Read>, buffer: &mut [u8], take: &mut dyn FnMut(&[u8]), all: bool) {
    while let Some(pipe) = from {
        match pipe.read(buffer) {
            Ok(0) => *from = None,
            Ok(n) => take(&buffer[..n]),
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return,
            Err(_) => *from = None,
        }
        if !all {
            return;
        }
    }
}

/// An end's exit code; a signal's is 128 and its number.
pub(super) fn code(end: ExitStatus) -> i32 {
    end.code().unwrap_or_else(|| 128 + end.signal().unwrap_or_default())
}
