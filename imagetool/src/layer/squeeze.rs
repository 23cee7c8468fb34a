//! gzip on all processors: the same bytes however many there are.
//!
//! SPEC: RFC 1952 §2.2: members may follow each other. Each holds a fixed number of plain
//! bytes and no time, so that the same tar is always the same blob.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::thread::{self, JoinHandle};

use flate2::Compression;
use flate2::write::GzEncoder;

/// The plain bytes of a member: the window starts anew with each, which costs little.
const MEMBER: usize = 1 << 20;
/// docker's, and everybody's.
const LEVEL: u32 = 6;

/// Writes to `out` what is written to it, compressed. What is not finished is cut short.
pub struct Gzip<W> {
    out: W,
    plain: Vec<u8>,
    working: VecDeque<JoinHandle<io::Result<Vec<u8>>>>,
    most: usize,
    level: u32,
}

impl<W: Write> Gzip<W> {
    /// Compresses into `out`, as many members at once as there are processors.
    pub fn new(out: W) -> Self {
        let most = thread::available_parallelism().map_or(1, usize::from);
        let plain = Vec::with_capacity(MEMBER);
        Self { out, plain, working: VecDeque::new(), most, level: LEVEL }
    }

    /// The same, as hard as is said: from 0, not at all, to 9; below 0 is the usual.
    pub fn with_level(out: W, level: Option<i32>) -> Self {
        let level = level.and_then(|n| u32::try_from(n).ok()).unwrap_or(LEVEL);
        Self { level, ..Self::new(out) }
    }

    /// The last member, and what it all went to.
    pub fn finish(mut self) -> io::Result<W> {
        self.dispatch()?;
        while !self.working.is_empty() {
            self.collect()?;
        }
        Ok(self.out)
    }

    fn dispatch(&mut self) -> io::Result<()> {
        if self.working.len() >= self.most {
            self.collect()?;
        }
        let plain = std::mem::replace(&mut self.plain, Vec::with_capacity(MEMBER));
        let level = self.level;
        let work = move || {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
            encoder.write_all(&plain)?;
            encoder.finish()
        };
        let worker = thread::Builder::new().name("gzip".into()).spawn(work)?;
        self.working.push_back(worker);
        Ok(())
    }

    fn collect(&mut self) -> io::Result<()> {
        let Some(worker) = self.working.pop_front() else { return Ok(()) };
        let packed =
            worker.join().map_err(|_| io::Error::other("a thread that compresses died"))??;
        self.out.write_all(&packed)
    }
}

impl<W: Write> Write for Gzip<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = buf.len().min(MEMBER - self.plain.len());
        self.plain.extend_from_slice(&buf[..n]);
        if self.plain.len() == MEMBER {
            self.dispatch()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::super::compress::inflate;
    use super::*;
    use std::io::Read;

    fn squeezed(plain: &[u8], most: usize, piece: usize) -> Vec<u8> {
        let mut gzip = Gzip { most, ..Gzip::new(Vec::new()) };
        plain.chunks(piece).for_each(|part| gzip.write_all(part).unwrap());
        gzip.finish().unwrap()
    }

    #[test]
    fn the_same_bytes_by_any_number_of_threads_and_all_come_back() {
        let plain: Vec<u8> = (0..3_500_000_u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
        let one = squeezed(&plain, 1, 1000);
        assert_eq!(one, squeezed(&plain, 7, 1 << 21));
        let mut back = Vec::new();
        inflate(&one[..]).unwrap().1.read_to_end(&mut back).unwrap();
        assert!(back == plain);
        let mut nothing = Vec::new();
        inflate(&squeezed(b"", 2, 1)[..]).unwrap().1.read_to_end(&mut nothing).unwrap();
        assert!(nothing.is_empty());
    }
}
