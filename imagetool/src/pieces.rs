//! How much a file is given at once.
//!
//! KERNEL: write(2) on a file system with large folios (ext4 since 6.16, XFS, btrfs): a write gets folios of its own
//! size. Those of 128 KiB and more come from memory that nobody has used for long, which in a virtual machine
//! the host may first have to find: eight times the CPU time of the same bytes in pieces of 64 KiB. Smaller
//! pieces cost calls.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use dhow_kernel::disk;

/// The most that a file is given by one call.
pub const PIECE: usize = 64 << 10;

/// A file that is written piece by piece.
#[derive(Debug)]
pub struct Pieces<W>(pub W);

impl<W: Write> Write for Pieces<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(&buf[..buf.len().min(PIECE)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// What is read of the one is written to the other, piece by piece.
#[derive(Debug)]
pub struct Tee<R, W> {
    /// Where it comes from.
    pub from: R,
    /// Where it goes to.
    pub to: W,
}

impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(buf)?;
        Pieces(&mut self.to).write_all(&buf[..n])?;
        Ok(n)
    }
}

/// So many bytes are worth a call of their own.
const STEP: u64 = 4 << 20;

/// A file that goes to disk while it comes: whoever syncs it in the end waits for the last of it only.
#[derive(Debug)]
pub struct Flowing<F> {
    file: F,
    came: u64,
    begun: u64,
}

impl<F: Write + AsFd> Flowing<F> {
    /// A file that is written from its beginning on.
    pub fn new(file: F) -> Self {
        Self { file, came: 0, begun: 0 }
    }

    /// The file.
    pub fn into_inner(self) -> F {
        self.file
    }
}

impl<F: Write + AsFd> Write for Flowing<F> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = Pieces(&mut self.file).write(buf)?;
        self.came += n as u64;
        if self.came - self.begun >= STEP {
            // Where it can't be done, the sync in the end has more to do.
            let _ = disk::begin_to_write(&self.file, self.begun, self.came - self.begun);
            self.begun = self.came;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_flows_to_disk_is_what_was_written() {
        let bytes: Vec<u8> = (0..2 * STEP as u32 + 77).map(|n| (n >> 3) as u8).collect();
        let mut file = Flowing::new(tempfile::NamedTempFile::new().unwrap());
        file.write_all(&bytes).unwrap();
        assert_eq!(file.begun, 2 * STEP);
        assert!(std::fs::read(file.into_inner().path()).unwrap() == bytes);
    }

    #[test]
    fn all_is_written_and_no_call_is_long() {
        struct Calls(Vec<usize>, Vec<u8>);
        impl Write for Calls {
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                self.0.push(buf.len());
                self.1.extend_from_slice(buf);
                Ok(buf.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let bytes: Vec<u8> = (0..150_000_u32).map(|n| n as u8).collect();
        let mut to = Pieces(Calls(Vec::new(), Vec::new()));
        to.write_all(&bytes).unwrap();
        assert_eq!(to.0.0, [PIECE, PIECE, 150_000 - 2 * PIECE]);
        assert!(to.0.1 == bytes);
    }
}
