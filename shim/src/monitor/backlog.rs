//! What a client has not read yet: a little in memory, and the rest in a file without a name.
//!
//! A client that is slow, or stopped, neither holds the container up nor loses a byte.

use std::fs::File;
use std::io::{Read, Result, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// So much waits in memory.
const IN_MEMORY: usize = 64 * 1024;
/// So much waits on disk; then the container has to wait as well.
const ON_DISK: u64 = 1 << 30;

/// Bytes on their way to a client, in order.
#[derive(Debug, Default)]
pub struct Backlog {
    /// Where a file may be made; none means that all stays in memory.
    dir: Option<PathBuf>,
    first: Vec<u8>,
    sent: usize,
    rest: Option<Spill>,
}

/// The bytes after those in memory.
#[derive(Debug)]
struct Spill {
    file: File,
    read: u64,
    written: u64,
}

impl Backlog {
    /// A backlog whose file, if it needs one, is made in `dir`.
    pub fn within(dir: &Path) -> Self {
        Self { dir: Some(dir.to_owned()), ..Self::default() }
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        let on_disk = self.rest.as_ref().is_some_and(|rest| rest.read < rest.written);
        self.sent == self.first.len() && !on_disk
    }

    /// There is no room for more: on disk, or in memory where there is no disk.
    pub fn is_full(&self) -> bool {
        match &self.rest {
            Some(rest) => rest.written - rest.read > ON_DISK,
            None => self.first.len() - self.sent > 4 * IN_MEMORY,
        }
    }

    /// Takes bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.rest.is_none() && self.first.len() - self.sent > IN_MEMORY {
            self.rest = self.dir.as_deref().and_then(Spill::within);
        }
        let Some(rest) = &mut self.rest else { return self.first.extend(bytes) };
        if rest.push(bytes).is_err() {
            // A full disk: what it has taken so far comes back into memory, and then waits there.
            self.dir = None;
            while self.refill() {}
            self.first.extend(bytes);
        }
    }

    /// The bytes to be sent next.
    pub fn next(&mut self) -> &[u8] {
        if self.sent == self.first.len() {
            self.first.clear();
            self.sent = 0;
            if !self.refill() && self.first.capacity() > IN_MEMORY {
                self.first = Vec::new();
            }
        }
        &self.first[self.sent..]
    }

    /// So many of them were sent.
    pub fn advance(&mut self, n: usize) {
        self.sent += n;
    }

    /// Nobody will read it.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Moves some bytes from disk to memory; false when there are none.
    fn refill(&mut self) -> bool {
        let Some(rest) = &mut self.rest else { return false };
        let before = self.first.len();
        let more = rest.pull(&mut self.first).is_ok() && self.first.len() > before;
        if !more {
            self.rest = None;
        }
        more
    }
}

impl Spill {
    fn within(dir: &Path) -> Option<Self> {
        let mut options = File::options();
        options.read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE);
        Some(Self { file: options.open(dir).ok()?, read: 0, written: 0 })
    }

    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.seek(SeekFrom::Start(self.written))?;
        self.file.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn pull(&mut self, to: &mut Vec<u8>) -> Result<()> {
        let n = (self.written - self.read).min(IN_MEMORY as u64);
        self.file.seek(SeekFrom::Start(self.read))?;
        (&self.file).take(n).read_to_end(to)?;
        self.read += n;
        if self.read == self.written {
            self.file.set_len(0)?;
            (self.read, self.written) = (0, 0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn much_goes_to_disk_and_memory_stays_small() {
        let dir = tempfile::tempdir().unwrap();
        let mut backlog = Backlog::within(dir.path());
        for n in 0..1000_u32 {
            backlog.push(&vec![n as u8; 5000]);
            assert!(backlog.first.len() <= IN_MEMORY + 5000 && !backlog.is_full());
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "it has no name");
        let mut all = Vec::new();
        while !backlog.is_empty() {
            let part = backlog.next().to_vec();
            backlog.advance(part.len());
            all.extend(part);
        }
        assert!(all.iter().enumerate().all(|(at, byte)| *byte == (at / 5000) as u8));
        assert_eq!(all.len(), 5_000_000);
        assert!(backlog.next().is_empty() && backlog.first.capacity() == 0);
    }

    #[test]
    fn without_a_place_on_disk_it_is_full_soon() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut backlog = Backlog::within(file.path());
        backlog.push(&vec![0; 300_000]);
        assert!(backlog.is_full());
        backlog.push(&[1; 10]);
        assert_eq!(backlog.next().len(), 300_010);
    }

    proptest! {
        #[test]
        fn bytes_come_out_as_they_went_in(
            steps in proptest::collection::vec((0_usize..200_000, 0_usize..200_000), 0..30)
        ) {
            let dir = tempfile::tempdir().unwrap();
            let mut backlog = Backlog::within(dir.path());
            let (mut went, mut came) = (0_usize, 0_usize);
            let byte = |at: usize| (at % 251) as u8;
            for (push, pull) in steps {
                let bytes: Vec<u8> = (went..went + push).map(byte).collect();
                backlog.push(&bytes);
                went += push;
                let part = backlog.next();
                let n = part.len().min(pull);
                prop_assert!(part[..n].iter().enumerate().all(|(i, b)| *b == byte(came + i)));
                backlog.advance(n);
                came += n;
            }
            prop_assert_eq!(backlog.is_empty(), went == came);
        }
    }
}
