//! Our stdout or stderr, written to without ever waiting, so that signals and input go on.

use std::fs::File;
use std::io::{ErrorKind, Result, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

use nix::sys::socket::{MsgFlags, send};

/// A descriptor and what it has not yet taken.
pub struct Outlet {
    file: File,
    socket: bool,
    waiting: Vec<u8>,
    written: usize,
}

impl Outlet {
    /// An outlet into what `fd` is open on.
    ///
    /// O_NONBLOCK belongs to the open file, which our shell shares; so pipes and
    /// terminals are opened anew, and sockets are told call by call.
    pub fn of(fd: BorrowedFd<'_>) -> Result<Self> {
        let own = File::from(fd.try_clone_to_owned()?);
        let kind = own.metadata()?.file_type();
        let again = || {
            let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
            let path = format!("/proc/self/fd/{}", own.as_raw_fd());
            File::options().write(true).custom_flags(flags).open(path)
        };
        let waits = kind.is_fifo() || kind.is_char_device();
        let file = if waits { again().unwrap_or(own) } else { own };
        Ok(Self { file, socket: kind.is_socket(), waiting: Vec::new(), written: 0 })
    }

    /// Bytes not yet taken.
    pub fn pending(&self) -> usize {
        self.waiting.len() - self.written
    }

    /// Writes `bytes`, now or when there is room.
    pub fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.waiting.extend(bytes);
        self.flush()
    }

    /// Writes what waits, as far as there is room.
    pub fn flush(&mut self) -> Result<()> {
        while self.pending() > 0 {
            let rest = &self.waiting[self.written..];
            let done = if self.socket {
                let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                send(self.file.as_raw_fd(), rest, flags).map_err(Into::into)
            } else {
                self.file.write(rest)
            };
            match done {
                Ok(n) => self.written += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        self.waiting.clear();
        self.written = 0;
        Ok(())
    }

    /// Writes all that waits, waiting for room.
    pub fn finish(&mut self) -> Result<()> {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        self.flush()?;
        while self.pending() > 0 {
            let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
            let _ = poll(&mut fds, PollTimeout::NONE);
            self.flush()?;
        }
        Ok(())
    }
}

impl AsFd for Outlet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_full_pipe_does_not_stop_us_and_loses_nothing() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut outlet = Outlet::of(writer.as_fd()).unwrap();
        let bytes = vec![7; 300_000];
        outlet.put(&bytes).unwrap();
        assert!(outlet.pending() > 0);
        let reading = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            all
        });
        outlet.finish().unwrap();
        drop((outlet, writer));
        assert_eq!(reading.join().unwrap(), bytes);
    }
}
