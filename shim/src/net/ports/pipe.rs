//! Pipes between two sockets: what is carried stays in the kernel.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::sys::socket::{MsgFlags, recv, send};

use super::files;

/// What one pipe can hold, and so what one connection can keep waiting.
pub const SIZE: usize = 256 * 1024;
/// Empty pipes that are kept for the next.
const SPARE: usize = 4;

/// A pipe, empty unless somebody says how much it holds.
#[derive(Debug)]
pub struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
}

impl Pipe {
    fn new() -> nix::Result<Self> {
        let (out, into) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        // Users without rights have less for all their pipes together: then it stays as it is.
        let _ = fcntl(&into, FcntlArg::F_SETPIPE_SZ(SIZE as i32));
        Ok(Self { out, into })
    }

    /// Takes what waits at a socket; 0 is its end.
    pub fn fill(&self, from: &impl AsFd) -> nix::Result<usize> {
        let how = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
        splice(from.as_fd(), None, self.into.as_fd(), None, SIZE, how)
    }

    /// Gives so much of what it holds to a socket, as far as that takes it.
    pub fn pour(&self, to: &impl AsFd, held: usize) -> nix::Result<usize> {
        let how = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
        splice(self.out.as_fd(), None, to.as_fd(), None, held, how)
    }
}

/// Pipes that wait for something to hold: a connection has one only while something is in it.
#[derive(Debug, Default)]
pub struct Pipes(Vec<Pipe>);

impl Pipes {
    /// An empty pipe; none when there are no descriptors left for one.
    pub fn take(&mut self) -> Option<Pipe> {
        self.0.pop().or_else(|| match Pipe::new() {
            Err(Errno::EMFILE) if files::raise() => Pipe::new().ok(),
            other => other.ok(),
        })
    }

    /// Takes an empty pipe back.
    pub fn give(&mut self, pipe: Pipe) {
        if self.0.len() < SPARE {
            self.0.push(pipe);
        }
    }

    /// Nobody needs one for now.
    pub fn clear(&mut self) {
        self.0 = Vec::new();
    }
}

/// Carries without a pipe: looks at what waits, sends it on, and takes away what was sent.
/// 0 is the end; EAGAIN of `to` comes as the number of bytes it still wants.
pub fn carry(from: &impl AsFd, to: &impl AsFd, buffer: &mut [u8]) -> nix::Result<Carried> {
    let (from, to) = (from.as_fd().as_raw_fd(), to.as_fd().as_raw_fd());
    let seen = recv(from, buffer, MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT)?;
    if seen == 0 {
        return Ok(Carried::End);
    }
    let sent = match send(to, &buffer[..seen], MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT) {
        Err(Errno::EAGAIN) => return Ok(Carried::Full),
        other => other?,
    };
    recv(from, &mut buffer[..sent], MsgFlags::MSG_DONTWAIT)?;
    Ok(Carried::Bytes(sent))
}

/// What [`carry`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried {
    /// So many bytes went over.
    Bytes(usize),
    /// The receiver takes no more for now.
    Full,
    /// The sender has ended.
    End,
}
