//! The terminal of a container, relayed to ours.
//!
//! Neither way waits for the other, or for who reads or types at our side: a program that has to
//! be read from before it reads again goes on, and signals are heard meanwhile.

use std::io::{Stdin, Stdout};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use dhow_kernel::tty;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, socketpair,
};
use nix::sys::termios::{OutputFlags, SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{read, write};

use crate::error::{Error, Result};

/// Both ways.
#[derive(Debug)]
pub struct Relay {
    /// It never blocks.
    master: OwnedFd,
    input: Stdin,
    output: Stdout,
    /// Our terminal as it was, when standard input is one.
    saved: Option<Termios>,
    /// Whether more may come from our side.
    typing: bool,
    /// What has come, and the container's terminal has no room for yet.
    typed: Vec<u8>,
    /// Whether more may come from the container.
    showing: bool,
    /// What has come, and nobody has taken from us yet.
    shown: Vec<u8>,
}

/// A descriptor of a relay's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The container's terminal.
    Master,
    /// Our standard input.
    Input,
    /// Our standard output.
    Output,
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
        fcntl(&master, FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK))
            .map_err(|e| Error::system("set the flags of", "the terminal", e))?;
        let (input, output) = (std::io::stdin(), std::io::stdout());
        let saved = tcgetattr(&input).ok();
        let (typed, shown) = (Vec::new(), Vec::new());
        let relay =
            Self { master, input, output, saved, typing: true, typed, showing: true, shown };
        relay.resize();
        relay.plain_newlines();
        if let Some(saved) = &relay.saved {
            let mut raw = saved.clone();
            cfmakeraw(&mut raw);
            raw.output_flags |= saved.output_flags & OutputFlags::OPOST;
            tcsetattr(&relay.input, SetArg::TCSANOW, &raw)
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

    /// Gives the container's terminal the size of ours.
    pub fn resize(&self) {
        // A size that can't be read or set leaves the terminal as it is.
        if let Ok((rows, columns)) = tty::size(self.input.as_fd()) {
            let _ = tty::resize(self.master.as_fd(), rows, columns);
        }
    }

    /// What there is to wait for.
    pub fn wanted(&self) -> Vec<(Side, PollFlags)> {
        let when = |wanted, flag| if wanted { flag } else { PollFlags::empty() };
        let (input, output) = (PollFlags::POLLIN, PollFlags::POLLOUT);
        let takes = when(self.showing && self.shown.is_empty(), input);
        let gives = when(!self.typed.is_empty(), output);
        let mut all = vec![
            (Side::Master, takes | gives),
            (Side::Input, when(self.typing && self.typed.is_empty(), input)),
            (Side::Output, when(!self.shown.is_empty(), output)),
        ];
        // KERNEL: poll(2): of what is asked nothing, its end is told all the same, again and again.
        all.retain(|(_, events)| !events.is_empty());
        all
    }

    /// That side's descriptor.
    pub fn descriptor(&self, side: Side) -> BorrowedFd<'_> {
        match side {
            Side::Master => self.master.as_fd(),
            Side::Input => self.input.as_fd(),
            Side::Output => self.output.as_fd(),
        }
    }

    /// Does what can be done there now.
    pub fn attend(&mut self, side: Side) {
        match side {
            Side::Master => {
                self.give();
                self.take();
            }
            Side::Input => {
                self.read();
                self.give();
            }
            Side::Output => self.show(),
        }
    }

    /// Reads what is typed at our side.
    fn read(&mut self) {
        let mut buffer = [0; 4096];
        match read(&self.input, &mut buffer) {
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Ok(0) | Err(_) => self.typing = false,
            Ok(n) => self.typed.extend(&buffer[..n]),
        }
    }

    /// Gives the container what it has room for.
    fn give(&mut self) {
        while !self.typed.is_empty() {
            match write(&self.master, &self.typed) {
                Ok(n) => drop(self.typed.drain(..n)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                Err(_) => {
                    self.typing = false;
                    self.typed.clear();
                }
            }
        }
    }

    /// Takes what the container has written, once we are rid of what there was; how much.
    fn take(&mut self) -> usize {
        if !self.showing || !self.shown.is_empty() {
            return 0;
        }
        let mut buffer = [0; 16 * 1024];
        match read(&self.master, &mut buffer) {
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            // KERNEL: pty(7): EIO says that nobody has the other end open.
            Ok(0) | Err(_) => self.showing = false,
            Ok(n) => self.shown.extend(&buffer[..n]),
        }
        self.shown.len()
    }

    /// Writes of it what a pipe that has room takes whole.
    fn show(&mut self) {
        /// PIPE_BUF.
        const PIECE: usize = 4096;
        let piece = &self.shown[..self.shown.len().min(PIECE)];
        match write(&self.output, piece) {
            Ok(n) => drop(self.shown.drain(..n)),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => {
                self.showing = false;
                self.shown.clear();
            }
        }
    }

    /// What the container wrote before its end and we haven't shown. Not without an end: what else
    /// has its terminal open may go on writing.
    pub fn drain(&mut self) {
        const MOST: usize = 4 << 20;
        let mut drained = 0;
        loop {
            while !self.shown.is_empty() {
                let mut fds = [PollFd::new(self.output.as_fd(), PollFlags::POLLOUT)];
                let _ = poll(&mut fds, PollTimeout::NONE);
                self.show();
            }
            match self.take() {
                0 => return,
                _ if drained > MOST => return,
                n => drained += n,
            }
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(saved) = &self.saved {
            let _ = tcsetattr(&self.input, SetArg::TCSANOW, saved);
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
