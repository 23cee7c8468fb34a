//! One TCP connection, carried both ways.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{Shutdown, SockProtocol, SockType, getsockopt, shutdown, sockopt};

use super::pipe::{Carried, Pipe, Pipes, carry};
use super::socket;

/// What lack of descriptors makes go through memory goes in pieces of this.
const PIECE: usize = 16 * 1024;

/// A client of the host's port, and the container's server behind it.
#[derive(Debug)]
pub struct Connection {
    /// Tells it from who had its place before.
    pub generation: u32,
    /// It stands in the queue of those that have something to do.
    pub queued: bool,
    client: OwnedFd,
    server: OwnedFd,
    connected: bool,
    /// Client to server, server to client.
    ways: [Way; 2],
}

/// One direction. Readiness is told once, at its edge, so it is remembered here.
#[derive(Debug, Default)]
struct Way {
    readable: bool,
    writable: bool,
    /// Holds `held` bytes that the receiver hasn't taken yet.
    pipe: Option<Pipe>,
    held: usize,
    /// The sender has ended; `told`: the receiver knows.
    ended: bool,
    told: bool,
}

/// How far it got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing to do before the kernel says so.
    Waits,
    /// There is more.
    More,
    /// Both ends have ended in order.
    Ended,
    /// One of them is gone: so is the other.
    Broken,
}

impl Connection {
    /// A client that was accepted, on its way to the server at `to`.
    pub fn begin(client: OwnedFd, to: SocketAddr, generation: u32) -> Result<Self, Refused> {
        let server = match socket::make(to.ip(), SockType::Stream, SockProtocol::Tcp) {
            Ok(server) => server,
            Err(errno) => return Err(Refused { client, errno }),
        };
        for side in [&client, &server] {
            // What comes as a piece goes on as a piece.
            let _ = nix::sys::socket::setsockopt(side, sockopt::TcpNoDelay, &true);
        }
        if let Err(errno) = socket::connect(&server, to) {
            return Err(Refused { client, errno });
        }
        let ways = Default::default();
        Ok(Self { generation, queued: false, client, server, connected: false, ways })
    }

    /// The client's side, and the server's.
    pub fn sides(&self) -> [BorrowedFd<'_>; 2] {
        [self.client.as_fd(), self.server.as_fd()]
    }

    /// The kernel has told something of one side.
    pub fn note(&mut self, side: usize, events: EpollFlags) {
        let gone = events.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP);
        if gone || events.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP) {
            self.ways[side].readable = true;
        }
        if gone || events.contains(EpollFlags::EPOLLOUT) {
            self.ways[1 - side].writable = true;
        }
    }

    /// Carries at most about `budget` bytes each way.
    pub fn pump(&mut self, pipes: &mut Pipes, budget: usize, carried: &mut usize) -> Progress {
        if !self.connected {
            if !self.ways[0].writable {
                return Progress::Waits;
            }
            match getsockopt(&self.server, sockopt::SocketError) {
                Ok(0) => self.connected = true,
                _ => return Progress::Broken,
            }
        }
        let mut all = [Progress::Waits; 2];
        for (at, way) in self.ways.iter_mut().enumerate() {
            let (from, to) =
                if at == 0 { (&self.client, &self.server) } else { (&self.server, &self.client) };
            all[at] = match way.pump(from, to, pipes, budget, carried) {
                Ok(progress) => progress,
                Err(_) => return Progress::Broken,
            };
        }
        match all {
            [Progress::Ended, Progress::Ended] => Progress::Ended,
            [Progress::More, _] | [_, Progress::More] => Progress::More,
            _ => Progress::Waits,
        }
    }

    /// The server has said all, and the client has it or will get it from the kernel.
    pub fn is_answered(&self) -> bool {
        self.ways[1].told
    }

    /// Ends it as if its other end had gone.
    pub fn reset(self) {
        socket::reset(self.client);
        socket::reset(self.server);
    }
}

/// A connection to the container that couldn't even begin.
#[derive(Debug)]
pub struct Refused {
    /// Who wanted it.
    pub client: OwnedFd,
    /// Why not.
    pub errno: Errno,
}

impl Way {
    fn pump(
        &mut self,
        from: &OwnedFd,
        to: &OwnedFd,
        pipes: &mut Pipes,
        budget: usize,
        carried: &mut usize,
    ) -> nix::Result<Progress> {
        let mut left = budget;
        let result = loop {
            let step = if self.held > 0 {
                self.pour(to)
            } else if self.ended {
                if !std::mem::replace(&mut self.told, true) {
                    // ENOTCONN: the receiver is gone, which its own side will tell.
                    let _ = shutdown(to.as_raw_fd(), Shutdown::Write);
                }
                break Ok(Progress::Ended);
            } else if !self.readable {
                break Ok(Progress::Waits);
            } else if left == 0 {
                break Ok(Progress::More);
            } else {
                self.fill(from, to, pipes).inspect(|n| left = left.saturating_sub(*n))
            };
            match step {
                Ok(n) => *carried += n,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break Ok(Progress::Waits),
                Err(errno) => break Err(errno),
            }
        };
        if self.held == 0
            && let Some(pipe) = self.pipe.take()
        {
            pipes.give(pipe);
        }
        result
    }

    fn pour(&mut self, to: &OwnedFd) -> nix::Result<usize> {
        let Some(pipe) = self.pipe.as_ref().filter(|_| self.writable) else {
            return Err(Errno::EAGAIN);
        };
        match pipe.pour(to, self.held) {
            Ok(n) => {
                self.held -= n;
                Ok(0)
            }
            Err(errno) => {
                self.writable &= errno != Errno::EAGAIN;
                Err(errno)
            }
        }
    }

    /// Takes from the sender: into a pipe, or at once to the receiver when there is none.
    fn fill(&mut self, from: &OwnedFd, to: &OwnedFd, pipes: &mut Pipes) -> nix::Result<usize> {
        if self.pipe.is_none() {
            self.pipe = pipes.take();
        }
        let taken = match &self.pipe {
            Some(pipe) => pipe.fill(from).map(|n| {
                self.held = n;
                if n == 0 { Carried::End } else { Carried::Bytes(n) }
            }),
            None if !self.writable => return Err(Errno::EAGAIN),
            None => carry(from, to, &mut [0; PIECE]),
        };
        match taken {
            Ok(Carried::Bytes(n)) => Ok(n),
            Ok(Carried::End) => {
                self.ended = true;
                Ok(0)
            }
            Ok(Carried::Full) => {
                self.writable = false;
                Err(Errno::EAGAIN)
            }
            Err(errno) => {
                self.readable &= errno != Errno::EAGAIN;
                Err(errno)
            }
        }
    }
}
