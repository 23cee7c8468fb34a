//! One client of a monitor, on a socket that never blocks.

use std::io::{ErrorKind, Read, Result, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::backlog::Backlog;
use super::protocol::{Decoder, Frame, Malformed, Role};

/// A client, what it came for, and what it has not yet read.
pub struct Peer {
    /// Tells peers apart.
    pub number: u64,
    /// What it came for; none before its Hello.
    pub role: Option<Role>,
    /// The container stands still for it.
    pub holds: bool,
    /// It has closed its side, or broke the protocol.
    pub gone: bool,
    stream: UnixStream,
    decoder: Decoder,
    backlog: Backlog,
}

impl Peer {
    /// The client behind `stream`, who came for `role`; what it is slow to read waits in `dir`.
    pub fn new(stream: UnixStream, role: Role, dir: &Path) -> Result<Self> {
        Ok(Self { role: Some(role), ..Self::stranger(stream, dir)? })
    }

    /// The client behind `stream`, who has not yet said what for.
    pub fn stranger(stream: UnixStream, dir: &Path) -> Result<Self> {
        stream.set_nonblocking(true)?;
        let (decoder, backlog) = (Decoder::default(), Backlog::within(dir));
        Ok(Self { number: 0, role: None, holds: false, gone: false, stream, decoder, backlog })
    }

    /// It has not yet read all.
    pub fn waits(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// No more can wait for it.
    pub fn is_full(&self) -> bool {
        self.backlog.is_full()
    }

    /// Sends `frame`, now or when there is room.
    pub fn send(&mut self, frame: &Frame) {
        self.backlog.push(&frame.to_bytes());
        self.flush();
    }

    /// Sends encoded frames, now or when there is room.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.backlog.push(bytes);
        self.flush();
    }

    /// Sends what waits, as far as there is room.
    pub fn flush(&mut self) {
        loop {
            let next = self.backlog.next();
            if next.is_empty() {
                return;
            }
            match self.stream.write(next) {
                Ok(n) => self.backlog.advance(n),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.gone = true;
                    self.backlog.clear();
                    return;
                }
            }
        }
    }

    /// Reads once; the frames then come from [`Peer::next_frame`].
    pub fn receive(&mut self, buffer: &mut [u8]) {
        match self.stream.read(buffer) {
            Ok(0) => self.gone = true,
            Ok(n) => self.decoder.push(&buffer[..n]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.gone = true,
        }
    }

    /// The next frame it sent; one that makes no sense ends the acquaintance.
    pub fn next_frame(&mut self) -> Option<Frame> {
        self.decoder.next_frame().unwrap_or_else(|Malformed| {
            self.gone = true;
            None
        })
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
