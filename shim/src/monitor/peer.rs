//! One client of a monitor, on a socket that never blocks.

use std::io::{ErrorKind, Read, Result, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use super::protocol::{Decoder, Frame, Malformed, Role};

/// A client, what it came for, and what it has not yet read.
pub struct Peer {
    /// Tells peers apart.
    pub number: u64,
    /// What it came for; none before its Hello.
    pub role: Option<Role>,
    /// It has closed its side, or broke the protocol.
    pub gone: bool,
    stream: UnixStream,
    decoder: Decoder,
    out: Vec<u8>,
    sent: usize,
}

impl Peer {
    /// The client behind `stream`, who came for `role`.
    pub fn new(stream: UnixStream, role: Role) -> Result<Self> {
        Ok(Self { role: Some(role), ..Self::stranger(stream)? })
    }

    /// The client behind `stream`, who has not yet said what for.
    pub fn stranger(stream: UnixStream) -> Result<Self> {
        stream.set_nonblocking(true)?;
        let (decoder, out) = (Decoder::default(), Vec::new());
        Ok(Self { number: 0, role: None, gone: false, stream, decoder, out, sent: 0 })
    }

    /// Bytes it has not yet read.
    pub fn pending(&self) -> usize {
        self.out.len() - self.sent
    }

    /// Sends `frame`, now or when there is room.
    pub fn send(&mut self, frame: &Frame) {
        frame.encode(&mut self.out);
        self.flush();
    }

    /// Sends output, now or when there is room.
    pub fn send_output(&mut self, stderr: bool, bytes: &[u8]) {
        super::protocol::encode_output(stderr, bytes, &mut self.out);
        self.flush();
    }

    /// Sends what waits, as far as there is room.
    pub fn flush(&mut self) {
        while self.pending() > 0 {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.gone = true;
                    break;
                }
            }
        }
        self.out.clear();
        self.sent = 0;
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
