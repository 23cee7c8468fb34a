//! A new layer, made in one pass: one thread writes its tar, one compresses and keeps it,
//! one hashes the plain bytes and makes the unpacked files. Commits and builds come here.

use std::io::{self, BufWriter, Write};
use std::thread;

use super::{Layers, Unpacked};
use crate::digest::{Algorithm, DiffId, Hashing};
use crate::error::{Error, Result};
use crate::layer::squeeze::Squeeze;
use crate::manifest::{Descriptor, OCI_LAYER_GZIP};
use crate::pieces::Tee;
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

/// A layer's plain bytes on their way into a blob, or nowhere.
enum Keeper<'a> {
    Blob(Box<Squeeze<BlobWriter<'a>>>),
    None,
}

impl Write for Keeper<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Blob(blob) => blob.write(buf),
            Self::None => Ok(buf.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Blob(blob) => blob.flush(),
            Self::None => Ok(()),
        }
    }
}

impl Layers {
    /// Makes a layer of the tar that `fill` writes: the same tar, the same layer.
    pub fn make<T: Send>(
        &self,
        lease: &Lease,
        fill: impl FnOnce(&mut (dyn Write + Send)) -> Result<T> + Send,
    ) -> Result<(Made, T)> {
        let (unpacked, blob, filled) = self.make_some(lease, true, fill)?;
        let blob = blob.ok_or_else(|| Error::invalid("layer", "it has no blob"))?;
        Ok((Made { blob, unpacked }, filled))
    }

    /// The same, with a blob only if `packed`.
    pub(crate) fn make_some<T: Send>(
        &self,
        lease: &Lease,
        packed: bool,
        fill: impl FnOnce(&mut (dyn Write + Send)) -> Result<T> + Send,
    ) -> Result<(Unpacked, Option<Descriptor>, T)> {
        let pipe = |e| Error::io("make a pipe for", "layer", e);
        let (reader, writer) = io::pipe().map_err(pipe)?;
        let unpacking = self.start_unknown(lease)?;
        let mut tee = Tee { from: reader, to: Keeper::new(lease, packed)? };
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
        Ok((unpacked, tee.finish(lease)?, filled))
    }
}

impl Layers {
    /// Packs a layer that lies unpacked already: its tar's digest, and its blob if `packed`.
    pub(crate) fn pack<T>(
        lease: &Lease,
        packed: bool,
        fill: impl FnOnce(&mut dyn Write) -> Result<T>,
    ) -> Result<(DiffId, Option<Descriptor>, T)> {
        let to = Keeper::new(lease, packed)?;
        let mut out = BufWriter::with_capacity(BUFFER, Hashing::new(to, Algorithm::Sha256));
        let filled = fill(&mut out)?;
        let failed = |e: io::Error| Error::from_io("write", lease.dir(), e);
        let (to, diff_id, _) = out.into_inner().map_err(|e| failed(e.into_error()))?.finish();
        Ok((diff_id, to.finish(lease)?, filled))
    }
}

impl<'a> Keeper<'a> {
    fn new(lease: &'a Lease, packed: bool) -> Result<Self> {
        if !packed {
            return Ok(Self::None);
        }
        Ok(Self::Blob(Box::new(Squeeze::gzip(lease.blob()?, None))))
    }

    fn finish(self, lease: &Lease) -> Result<Option<Descriptor>> {
        match self {
            Self::None => Ok(None),
            Self::Blob(blob) => {
                let blob = blob.finish().map_err(Error::at("write", lease.dir()))?;
                blob.finish(OCI_LAYER_GZIP).map(Some)
            }
        }
    }
}
