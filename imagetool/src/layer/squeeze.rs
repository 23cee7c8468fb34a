//! Compression on all processors: the same bytes however many there are.
//!
//! What is written is cut into parts of a fixed size, each packed by itself: as a member of
//! gzip (SPEC: RFC 1952 §2.2: members may follow each other) or as a frame of zstd (SPEC: RFC
//! 8878 §3.1: so may they). None bears a time, so that the same tar is always the same blob.
//! Deflate is libdeflate's, which packs a part at once in a third of zlib's time.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use libdeflater::{CompressionLvl, Compressor};

use super::compress::Compression;
use crate::pieces::Pieces;

/// The plain bytes of a part: what lies before isn't referred to, which costs little.
const GZIP_PART: usize = 1 << 20;
const ZSTD_PART: usize = 1 << 20;
/// Levels beyond look further back, and are slow anyway: their parts are larger, and fewer.
const ZSTD_NEAR: i32 = 9;
const ZSTD_FAR_PART: usize = 8 << 20;
/// libdeflate's, whose level 5 packs what is in images half a percent smaller than gzip does at 6.
const GZIP_LEVEL: i32 = 5;
const ZSTD_LEVEL: i32 = 3;
/// More workers would take more memory than they are worth.
const MOST: usize = 8;
/// Parts that a worker has at once, so that it never waits.
const EACH: usize = 2;

/// How a part is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    None,
    Gzip(CompressionLvl),
    Zstd(i32),
}

/// Writes to `out` what is written to it, compressed. What is not finished is cut short.
pub struct Squeeze<W> {
    out: W,
    method: Method,
    part: usize,
    plain: Vec<u8>,
    spare: Vec<Job>,
    workers: Vec<Worker>,
    most: usize,
    /// Which worker has each part that is out, oldest first.
    out_at: VecDeque<usize>,
    begun: bool,
}

/// A part, and room for what it becomes.
#[derive(Debug, Default)]
struct Job {
    plain: Vec<u8>,
    packed: Vec<u8>,
}

/// A thread; what it is given comes back in the same order. It ends with its channels.
struct Worker {
    todo: SyncSender<Job>,
    done: Receiver<io::Result<Job>>,
    has: usize,
    _seat: Seat,
}

/// One of the process's threads that pack: layers that are packed side by side share them.
struct Seat;

static SEATS: AtomicUsize = AtomicUsize::new(0);

impl Seat {
    /// The first of a stream is given in any case.
    fn take(first: bool, most: usize) -> Option<Self> {
        let free = |taken| (first || taken < most).then_some(taken + 1);
        SEATS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).ok().map(|_| Self)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        SEATS.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<W: Write> Squeeze<W> {
    /// `how` into `out`, which may be not at all.
    pub fn by(how: Compression, out: W, level: Option<i32>) -> Self {
        match how {
            Compression::None => Self::new(out, Method::None, 0),
            Compression::Gzip => Self::gzip(out, level),
            Compression::Zstd => Self::zstd(out, level),
        }
    }

    /// gzip into `out`: from 0, not at all, to 12; the usual if nothing is said, or less than 0.
    pub fn gzip(out: W, level: Option<i32>) -> Self {
        let level = level.filter(|&level| level >= 0).unwrap_or(GZIP_LEVEL);
        let level = CompressionLvl::new(level).unwrap_or_else(|_| CompressionLvl::best());
        Self::new(out, Method::Gzip(level), GZIP_PART)
    }

    /// zstd into `out`: from 1 to 22; the usual if nothing is said.
    pub fn zstd(out: W, level: Option<i32>) -> Self {
        let level = level.unwrap_or(ZSTD_LEVEL);
        let part = if level > ZSTD_NEAR { ZSTD_FAR_PART } else { ZSTD_PART };
        Self::new(out, Method::Zstd(level), part)
    }

    fn new(out: W, method: Method, part: usize) -> Self {
        let most = if part > ZSTD_PART { MOST / 4 } else { MOST };
        let most = thread::available_parallelism().map_or(1, usize::from).min(most);
        let (workers, spare, plain) = (Vec::new(), Vec::new(), Vec::new());
        let out_at = VecDeque::new();
        Self { out, method, part, plain, spare, workers, most, out_at, begun: false }
    }

    /// The last part, and what it all went to.
    pub fn finish(mut self) -> io::Result<W> {
        // Nothing at all is still a member.
        if self.method == Method::None {
            return Ok(self.out);
        }
        if !self.plain.is_empty() || !self.begun {
            self.dispatch()?;
        }
        while !self.out_at.is_empty() {
            self.collect()?;
        }
        Ok(self.out)
    }

    fn dispatch(&mut self) -> io::Result<()> {
        let which = self.free()?;
        let mut job = self.spare.pop().unwrap_or_default();
        std::mem::swap(&mut job.plain, &mut self.plain);
        self.plain.clear();
        let worker = &mut self.workers[which];
        worker.todo.send(job).map_err(|_| died())?;
        worker.has += 1;
        self.out_at.push_back(which);
        self.begun = true;
        Ok(())
    }

    /// A worker that has room: one that idles, or a new one, or else the least busy.
    fn free(&mut self) -> io::Result<usize> {
        loop {
            let least = (0..self.workers.len()).min_by_key(|&at| self.workers[at].has);
            match least {
                Some(at) if self.workers[at].has == 0 => return Ok(at),
                _ if self.workers.len() < self.most => {
                    if let Some(seat) = Seat::take(least.is_none(), self.most) {
                        self.workers.push(Worker::start(self.method, seat)?);
                        return Ok(self.workers.len() - 1);
                    }
                }
                _ => {}
            }
            if let Some(at) = least.filter(|&at| self.workers[at].has < EACH) {
                return Ok(at);
            }
            self.collect()?;
        }
    }

    fn collect(&mut self) -> io::Result<()> {
        let Some(which) = self.out_at.pop_front() else { return Ok(()) };
        let worker = &mut self.workers[which];
        let job = worker.done.recv().map_err(|_| died())??;
        worker.has -= 1;
        Pieces(&mut self.out).write_all(&job.packed)?;
        self.spare.push(job);
        Ok(())
    }
}

impl<W: Write> Write for Squeeze<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.method == Method::None {
            return self.out.write(buf);
        }
        if self.plain.capacity() == 0 {
            self.plain.reserve_exact(self.part);
        }
        let n = buf.len().min(self.part - self.plain.len());
        self.plain.extend_from_slice(&buf[..n]);
        if self.plain.len() == self.part {
            self.dispatch()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Worker {
    fn start(method: Method, seat: Seat) -> io::Result<Self> {
        let (todo, jobs) = sync_channel::<Job>(EACH);
        let (results, done) = sync_channel(EACH);
        let work = move || {
            let mut pack = packer(method);
            for mut job in jobs {
                let packed = pack(&job.plain, &mut job.packed).map(|()| job);
                if results.send(packed).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("squeeze".into()).spawn(work)?;
        Ok(Self { todo, done, has: 0, _seat: seat })
    }
}

/// Packs a part into what there is of room.
type Pack = Box<dyn FnMut(&[u8], &mut Vec<u8>) -> io::Result<()>>;

fn packer(method: Method) -> Pack {
    match method {
        Method::None => Box::new(|plain, packed| {
            packed.clear();
            packed.extend_from_slice(plain);
            Ok(())
        }),
        Method::Gzip(level) => {
            let mut compressor = Compressor::new(level);
            Box::new(move |plain, packed| {
                packed.resize(compressor.gzip_compress_bound(plain.len()), 0);
                let packing = compressor.gzip_compress(plain, packed);
                packed.truncate(packing.map_err(io::Error::other)?);
                Ok(())
            })
        }
        Method::Zstd(level) => {
            let mut made = None;
            Box::new(move |plain, packed| {
                let compressor = match &mut made {
                    Some(compressor) => compressor,
                    none => {
                        let mut new = zstd::bulk::Compressor::new(level)?;
                        new.include_checksum(true)?;
                        none.insert(new)
                    }
                };
                packed.resize(zstd::zstd_safe::compress_bound(plain.len()), 0);
                let len = compressor.compress_to_buffer(plain, &mut packed[..])?;
                packed.truncate(len);
                Ok(())
            })
        }
    }
}

fn died() -> io::Error {
    io::Error::other("a thread that compresses died")
}

#[cfg(test)]
mod tests {
    use super::super::compress::inflate;
    use super::*;
    use std::io::Read;

    fn squeezed(to: Squeeze<Vec<u8>>, most: usize, plain: &[u8], piece: usize) -> Vec<u8> {
        let mut to = Squeeze { most, ..to };
        plain.chunks(piece).for_each(|part| to.write_all(part).unwrap());
        to.finish().unwrap()
    }

    #[test]
    fn the_same_bytes_by_any_number_of_threads_and_all_come_back() {
        let plain: Vec<u8> = (0..9_500_000_u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
        for (kind, make) in [
            (Compression::Gzip, Squeeze::gzip as fn(Vec<u8>, Option<i32>) -> Squeeze<Vec<u8>>),
            (Compression::Zstd, Squeeze::zstd),
        ] {
            for level in [None, Some(1)] {
                let one = squeezed(make(Vec::new(), level), 1, &plain, 100_000);
                assert!(one == squeezed(make(Vec::new(), level), 7, &plain, 1 << 24));
                let mut back = Vec::new();
                let (told, mut unpacked) = inflate(&one[..]).unwrap();
                unpacked.read_to_end(&mut back).unwrap();
                assert!(told == kind && back == plain);
            }
            let mut nothing = Vec::new();
            let packed = squeezed(make(Vec::new(), None), 2, b"", 1);
            inflate(&packed[..]).unwrap().1.read_to_end(&mut nothing).unwrap();
            assert!(nothing.is_empty() && !packed.is_empty());
        }
    }

    #[test]
    fn every_level_packs() {
        let plain = b"some text that comes again and again ".repeat(3000);
        let gzip = |n| squeezed(Squeeze::gzip(Vec::new(), Some(n)), 1, &plain, 999).len();
        assert!(gzip(0) > plain.len() && gzip(1) < 3000 && gzip(9) < 1000 && gzip(-1) == gzip(5));
        let zstd = |n| squeezed(Squeeze::zstd(Vec::new(), Some(n)), 1, &plain, 999).len();
        assert!(zstd(1) < 500 && zstd(19) < 500);
    }
}
