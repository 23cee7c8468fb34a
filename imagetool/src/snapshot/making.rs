//! A new layer, made in one pass: one thread writes its tar, one compresses and keeps it,
//! one hashes the plain bytes and makes the unpacked files. Commits and builds come here.

use std::io::{self, BufWriter, Read, Write};
use std::thread;

use super::{Layers, Unpacked};
use crate::error::{Error, Result};
use crate::layer::squeeze::Squeeze;
use crate::manifest::{Descriptor, OCI_LAYER_GZIP};
use crate::store::{BlobWriter, Lease};

const BUFFER: usize = 256 << 10;

/// A layer that nobody sees yet. Dropped with its lease, it leaves nothing.
#[derive(Debug)]
pub struct Made {
    /// Its packed bytes.
    pub blob: Descriptor,
    /// Its files, to be committed.
    pub unpacked: Unpacked,
}

impl Layers {
    /// Makes a layer of the tar that `fill` writes: the same tar, the same layer.
    pub fn make<T: Send>(
        &self,
        lease: &Lease,
        fill: impl FnOnce(&mut (dyn Write + Send)) -> Result<T> + Send,
    ) -> Result<(Made, T)> {
        let pipe = |e| Error::io("make a pipe for", "layer", e);
        let (reader, writer) = io::pipe().map_err(pipe)?;
        let unpacking = self.start_unknown(lease)?;
        let mut tee = Tee { from: reader, to: Squeeze::gzip(lease.blob()?, None) };
        let (filled, unpacked, tee) = thread::scope(|scope| {
            let filler = scope.spawn(move || fill(&mut BufWriter::with_capacity(BUFFER, writer)));
            let unpacked = unpacking.run_plain(&mut tee);
            // Who still writes hears that nobody reads any more.
            let Tee { from, to } = tee;
            drop(from);
            (filler.join(), unpacked, to)
        });
        let filled = filled.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let (filled, unpacked) = match (filled, unpacked) {
            // The reader has stopped first, and knows why.
            (Err(Error::Io { source, .. }), Err(error))
                if source.kind() == io::ErrorKind::BrokenPipe =>
            {
                return Err(error);
            }
            (filled, unpacked) => (filled?, unpacked?),
        };
        let blob: BlobWriter<'_> = tee.finish().map_err(Error::at("write", lease.dir()))?;
        Ok((Made { blob: blob.finish(OCI_LAYER_GZIP)?, unpacked }, filled))
    }
}

/// Keeps what is read.
struct Tee<R, W> {
    from: R,
    to: W,
}

impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(buf)?;
        self.to.write_all(&buf[..n])?;
        Ok(n)
    }
}
