//! A layer that is new: packed into a file, hashed both ways while it is written.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use crate::digest::{Algorithm, DiffId, Hashing};
use crate::error::{Error, Result};
use crate::layer::squeeze::Squeeze;
use crate::leftovers;
use crate::manifest::{Compression, Descriptor};
use crate::pieces::PIECE;

const BUFFER: usize = PIECE;

/// A packed layer in a file of its own, gone when dropped unless someone took it.
#[derive(Debug)]
pub struct NewLayer {
    /// The packed bytes.
    pub blob: Descriptor,
    /// The digest of the plain ones.
    pub diff_id: DiffId,
    /// The number of the plain ones.
    pub plain: u64,
    file: tempfile::TempPath,
}

impl NewLayer {
    /// Packs the tar that `fill` writes. The file lies in `spool`, which should be on the file
    /// system that the layer goes to: then it is renamed, not copied.
    pub fn pack<T>(
        spool: &Path,
        how: Compression,
        fill: impl FnOnce(&mut (dyn Write + Send)) -> Result<T>,
    ) -> Result<(Self, T)> {
        let (file, path) = leftovers::file_in(spool)?.into_parts();
        let packed = Hashing::new(BufWriter::with_capacity(BUFFER, file), Algorithm::Sha256);
        let failed = |e| Error::from_io("write", &path, e);
        let mut plain = Hashing::new(Squeeze::by(how, packed, None), Algorithm::Sha256);
        let filled = fill(&mut plain)?;
        let (packer, diff_id, size) = plain.finish();
        let (mut out, digest, length) = packer.finish().map_err(failed)?.finish();
        out.flush().map_err(failed)?;
        let blob = Descriptor::new(how.oci_layer(), digest, length);
        Ok((Self { blob, diff_id, plain: size, file: path }, filled))
    }

    /// Packs a plain tar.
    pub fn of_tar(spool: &Path, how: Compression, mut tar: impl Read) -> Result<Self> {
        let fill = |out: &mut (dyn Write + Send)| {
            let mut buffer = vec![0; BUFFER];
            loop {
                match tar.read(&mut buffer) {
                    Ok(0) => return Ok(()),
                    Ok(n) => out
                        .write_all(&buffer[..n])
                        .map_err(|e| Error::from_io("write", spool, e))?,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(Error::from_io("read", "layer", e)),
                }
            }
        };
        Self::pack(spool, how, fill).map(|(layer, ())| layer)
    }

    /// Where it lies.
    pub fn path(&self) -> PathBuf {
        self.file.to_path_buf()
    }

    /// Its packed bytes.
    pub fn open(&self) -> Result<File> {
        File::open(&self.file).map_err(Error::at("open", &self.file))
    }
}
