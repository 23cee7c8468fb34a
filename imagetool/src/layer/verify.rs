//! The pipeline of one layer: one thread reads (the caller's reader hashes the packed bytes)
//! and inflates, another hashes the plain bytes and makes files of them. Measured:
//! the two halves cost the same, and chunks pass between them without a copy.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::thread;

use super::compress::{WINDOW, fill, inflate};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Error, Result};

/// Few and small: each page is touched once, and the content is hashed while the cache has it.
const CHUNK: usize = 256 << 10;
const IN_FLIGHT: usize = 4;

/// A layer that unpacks to more than this, and to so many times its packed size, is a bomb.
/// gzip can't come near; zstd packs zeros 30,000 to one.
const BOMB: u64 = if cfg!(test) { 32 << 20 } else { 16 << 30 };
const BOMB_RATIO: u64 = 4096;

/// A buffer that travels full to the worker and comes back to be filled again.
struct Chunk {
    bytes: Box<[u8]>,
    /// Where the content ends; it begins at [`WINDOW`].
    end: usize,
}

/// The plain bytes of a layer, hashed as they are taken. Reads straight from the chunks.
pub struct Plain {
    chunks: Receiver<io::Result<Chunk>>,
    spent: Sender<Box<[u8]>>,
    chunk: Chunk,
    at: usize,
    hasher: Hasher,
    count: u64,
    limit: u64,
    /// How many packed bytes there were so far.
    packed: Arc<AtomicU64>,
}

impl Plain {
    /// Reads what is left (bytes behind the archive's end count) and compares the digest.
    pub fn drain_and_check(&mut self, want: &Digest) -> Result<u64> {
        let (got, count) = self.drain()?;
        if got == *want {
            return Ok(count);
        }
        Err(Error::Digest { what: "layer".into(), want: want.clone(), got })
    }

    /// Reads what is left; the digest and number of all bytes.
    pub fn drain(&mut self) -> Result<(Digest, u64)> {
        loop {
            let n = self.fill_buf().map_err(|e| Error::from_io("read", "layer", e))?.len();
            if n == 0 {
                let hasher = std::mem::replace(&mut self.hasher, Hasher::new(Algorithm::Sha256));
                return Ok((hasher.finish(), self.count));
            }
            self.consume(n);
        }
    }
}

impl Read for Plain {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let piece = self.fill_buf()?;
        let n = piece.len().min(buf.len());
        buf[..n].copy_from_slice(&piece[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl BufRead for Plain {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.at == self.chunk.end {
            let Ok(next) = self.chunks.recv() else { return Ok(&[]) };
            let spent = std::mem::replace(&mut self.chunk, next?);
            let _ = self.spent.send(spent.bytes); // the reader may be done
            self.at = WINDOW;
            let plain = &self.chunk.bytes[WINDOW..self.chunk.end];
            self.hasher.update(plain);
            self.count += plain.len() as u64;
            if self.count > self.limit {
                let why = format!("it is larger than {} bytes when unpacked", self.limit);
                return Err(Error::invalid("layer", why).into_io());
            }
            let packed = self.packed.load(Ordering::Relaxed);
            if self.count > BOMB && self.count / BOMB_RATIO > packed {
                let why = format!("{packed} bytes of it unpack to {}: it is a bomb", self.count);
                return Err(Error::invalid("layer", why).into_io());
            }
        }
        Ok(&self.chunk.bytes[self.at..self.chunk.end])
    }

    fn consume(&mut self, n: usize) {
        self.at += n;
    }
}

/// Inflates `packed` on this thread and hands the plain bytes to `work` on another.
/// `packed` is read to its end, so that its own check of size and digest takes place.
pub fn pipeline<T: Send>(
    packed: impl Read,
    algorithm: Algorithm,
    limit: u64,
    work: impl FnOnce(Plain) -> Result<T> + Send,
) -> Result<T> {
    run(algorithm, limit, work, |feeder| feeder.feed(packed))
}

/// The same for bytes that are plain, whatever they look like.
pub fn plain_pipeline<T: Send>(
    plain: impl Read,
    algorithm: Algorithm,
    limit: u64,
    work: impl FnOnce(Plain) -> Result<T> + Send,
) -> Result<T> {
    run(algorithm, limit, work, |feeder| feeder.pass(plain))
}

fn run<T: Send>(
    algorithm: Algorithm,
    limit: u64,
    work: impl FnOnce(Plain) -> Result<T> + Send,
    feed: impl FnOnce(Feeder),
) -> Result<T> {
    let (plain, feeder) = pipe(algorithm, limit);
    thread::scope(|scope| {
        let worker = thread::Builder::new()
            .name("layer".into())
            .spawn_scoped(scope, move || work(plain))
            .map_err(Error::at("start a thread for", "layer"))?;
        feed(feeder);
        // A fault of the reader has reached the worker, and is its error then.
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Inflates `packed` on a new thread, a few chunks ahead of whoever takes the plain bytes.
pub fn ahead<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    packed: impl Read + Send + 'scope,
    algorithm: Algorithm,
    limit: u64,
) -> Result<Plain> {
    let (plain, feeder) = pipe(algorithm, limit);
    thread::Builder::new()
        .name("inflate".into())
        .spawn_scoped(scope, move || feeder.feed(packed))
        .map_err(Error::at("start a thread for", "layer"))?;
    Ok(plain)
}

/// Says of which layer an error is.
pub fn explain(layer: &Digest, error: Error) -> Error {
    let layer = format!("layer {layer}");
    match error {
        Error::Digest { what, want, got } if what == "layer" => {
            Error::Digest { what: layer, want, got }
        }
        Error::Invalid { what, why } if what == "layer" => Error::Invalid { what: layer, why },
        Error::Invalid { what, why } => Error::Invalid { what: format!("{layer}: {what}"), why },
        other => other,
    }
}

fn pipe(algorithm: Algorithm, limit: u64) -> (Plain, Feeder) {
    let (to_work, chunks) = sync_channel(IN_FLIGHT);
    let (spent, reuse) = channel();
    let hasher = Hasher::new(algorithm);
    let chunk = Chunk { bytes: Box::default(), end: 0 };
    let packed = Arc::new(AtomicU64::new(0));
    let feeder = Feeder { to_work, reuse, packed: Arc::clone(&packed) };
    (Plain { chunks, spent, chunk, at: 0, hasher, count: 0, limit, packed }, feeder)
}

/// The reading half.
struct Feeder {
    to_work: SyncSender<io::Result<Chunk>>,
    reuse: Receiver<Box<[u8]>>,
    packed: Arc<AtomicU64>,
}

/// Tells how much was read.
struct Told<R>(R, Arc<AtomicU64>);

impl<R: Read> Read for Told<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.0.read(buf)?;
        self.1.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

impl Feeder {
    /// What `packed` inflates to.
    fn feed(self, packed: impl Read) {
        match inflate(Told(packed, Arc::clone(&self.packed))) {
            Ok((_, mut plain)) => self.send(|buf| plain.fill(buf).map_err(unpack_error)),
            Err(e) => drop(self.to_work.send(Err(e.into_io()))),
        }
    }

    /// What `plain` yields.
    fn pass(self, plain: impl Read) {
        let mut plain = Told(plain, Arc::clone(&self.packed));
        self.send(|buf| fill(&mut plain, &mut buf[WINDOW..]));
    }

    /// Sends until the end, the first fault, or until nobody takes the chunks.
    fn send(self, mut fill: impl FnMut(&mut [u8]) -> io::Result<usize>) {
        loop {
            let mut bytes = match self.reuse.try_recv() {
                Ok(spent) if !spent.is_empty() => spent,
                Ok(_) | Err(TryRecvError::Empty) => vec![0; WINDOW + CHUNK].into(),
                Err(TryRecvError::Disconnected) => return,
            };
            let filled = fill(&mut bytes);
            let last = !matches!(filled, Ok(CHUNK));
            if !matches!(filled, Ok(0)) {
                let chunk = filled.map(|n| Chunk { bytes, end: WINDOW + n });
                if self.to_work.send(chunk).is_err() {
                    return;
                }
            }
            if last {
                return;
            }
        }
    }
}

/// A decoder's complaint, as ours; what came through it from the source stays as it is.
fn unpack_error(error: io::Error) -> io::Error {
    if error.raw_os_error().is_some()
        || error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Error>)
    {
        return error;
    }
    Error::invalid("layer", format!("it can't be decompressed: {error}")).into_io()
}

#[cfg(test)]
mod tests {
    use super::super::squeeze::Squeeze;
    use super::*;
    use std::io::Write;

    fn digest_of(packed: &[u8], limit: u64) -> Result<(Digest, u64)> {
        pipeline(packed, Algorithm::Sha256, limit, |mut plain| plain.drain())
    }

    #[test]
    fn the_plain_bytes_are_hashed_to_the_last() {
        let data = vec![7u8; 3 * CHUNK + 5];
        let packed = zstd::encode_all(&data[..], 1).unwrap();
        let (digest, count) = digest_of(&packed, u64::MAX).unwrap();
        assert_eq!((digest, count), (Digest::of(&data), data.len() as u64));
    }

    #[test]
    fn a_bomb_is_refused() {
        let packed = zstd::encode_all(&vec![0u8; 20 << 20][..], 1).unwrap();
        assert!(packed.len() < 10_000);
        let error = digest_of(&packed, 1 << 20).unwrap_err();
        assert!(error.to_string().contains("larger than 1048576 bytes"), "{error}");
        let packed = zstd::encode_all(&vec![0u8; 40 << 20][..], 1).unwrap();
        let error = digest_of(&packed, u64::MAX).unwrap_err();
        assert!(error.to_string().contains("it is a bomb"), "{error}");
        // As hard as gzip can pack is no bomb yet.
        let mut gzip = Squeeze::gzip(Vec::new(), Some(9));
        gzip.write_all(&vec![0u8; 40 << 20]).unwrap();
        assert!(digest_of(&gzip.finish().unwrap(), u64::MAX).is_ok());
    }

    #[test]
    fn faults_of_either_half_come_out_whole() {
        let packed = zstd::encode_all(&vec![0u8; 100][..], 1).unwrap();
        let cut = digest_of(&packed[..packed.len() - 2], u64::MAX).unwrap_err();
        assert!(cut.to_string().contains("can't be decompressed"), "{cut}");
        let worker = pipeline(&vec![0u8; 64 << 20][..], Algorithm::Sha256, u64::MAX, |_| {
            Err::<(), _>(Error::invalid("x", "y"))
        });
        assert_eq!(worker.unwrap_err().to_string(), "invalid x: y");
        let packed = crate::digest::Verified::new(&b"abc"[..], &Digest::of(b"abd"), 3, "blob b");
        let wrong = pipeline(packed, Algorithm::Sha256, u64::MAX, |mut p| p.drain()).unwrap_err();
        assert!(matches!(wrong, Error::Digest { .. }), "{wrong}");
    }
}
