//! Blobs: read with their digest checked, written through a hash.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::PathBuf;

use super::{Lease, Store};
use crate::digest::{Algorithm, Digest, Hashing, Verified};
use crate::error::{Error, Result};
use crate::manifest::Descriptor;
use crate::pieces::PIECE;

impl Store {
    /// Whether the blob is there. Meaningful only while a lease or a name holds it.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.blob_path(digest).exists() || self.recipe_path(digest).exists()
    }

    /// Opens a blob, a dropped one too; its bytes are not checked.
    pub fn open_blob(&self, digest: &Digest) -> Result<Box<dyn Read + Send>> {
        let path = self.blob_path(digest);
        match File::open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && self.recipe_path(digest).exists() => {
                self.recreate(digest)
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(Error::NotFound {
                what: "blob",
                name: format!("{digest} in {}", self.layout().display()),
                hint: "pull the image again".into(),
            }),
            Err(e) => Err(Error::io("open", path, e)),
            Ok(file) => Ok(Box::new(file)),
        }
    }

    /// Opens a blob; reading it to the end checks size and digest.
    pub fn open_verified(&self, blob: &Descriptor) -> Result<Verified<Box<dyn Read + Send>>> {
        let what = format!("blob {}", blob.digest);
        Ok(Verified::new(self.open_blob(&blob.digest)?, &blob.digest, blob.size, what))
    }

    /// Reads a small document whole, checked, of at most `max` bytes.
    pub fn read_blob(&self, digest: &Digest, max: u64) -> Result<Vec<u8>> {
        let path = self.blob_path(digest);
        let mut file = self.open_blob(digest)?.take(max + 1);
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(Error::at("read", &path))?;
        if bytes.len() as u64 > max {
            return Err(Error::invalid(format!("blob {digest}"), format!("over {max} bytes")));
        }
        let got = Digest::by(digest.algorithm(), &bytes);
        if got != *digest {
            return Err(Error::Digest {
                what: format!("blob {digest}"),
                want: digest.clone(),
                got,
            });
        }
        Ok(bytes)
    }
}

/// A blob being written. Dropped before [`BlobWriter::finish`], it leaves nothing.
pub struct BlobWriter<'a> {
    lease: &'a Lease,
    file: Hashing<File>,
    path: PathBuf,
}

impl Lease {
    /// Starts a blob of yet unknown digest.
    pub fn blob(&self) -> Result<BlobWriter<'_>> {
        let (file, path) = self.file()?;
        Ok(BlobWriter { lease: self, file: Hashing::new(file, Algorithm::Sha256), path })
    }

    /// A file for a blob whose bytes are checked by whoever writes them; to be adopted.
    pub(crate) fn file(&self) -> Result<(File, PathBuf)> {
        tempfile::Builder::new()
            .prefix("blob-")
            .tempfile_in(self.dir())
            .and_then(|t| t.keep().map_err(|e| e.error))
            .map_err(Error::at("create a file in", self.dir()))
    }

    /// Makes a blob of bytes whose digest is known and has been checked.
    pub(crate) fn put_as(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        let path = self.dir().join(format!("doc-{}", digest.hex()));
        fs::write(&path, bytes).map_err(Error::at("write", &path))?;
        self.adopt(path, digest.clone());
        Ok(())
    }

    /// Makes a blob of some bytes.
    pub fn put(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor> {
        let mut blob = self.blob()?;
        blob.write_all(bytes).map_err(Error::at("write", self.dir()))?;
        blob.finish(media_type)
    }
}

impl BlobWriter<'_> {
    /// The blob is whole; it becomes visible when the lease's image is published.
    pub fn finish(mut self, media_type: &str) -> Result<Descriptor> {
        self.flush().map_err(Error::at("write", &self.path))?;
        let path = std::mem::take(&mut self.path);
        let old = File::open("/dev/null").map_err(Error::at("open", "/dev/null"))?;
        let whole = std::mem::replace(&mut self.file, Hashing::new(old, Algorithm::Sha256));
        let (_, digest, size) = whole.finish();
        self.lease.adopt(path, digest.clone());
        Ok(Descriptor::new(media_type, digest, size))
    }
}

impl Write for BlobWriter<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.file.write(&buf[..buf.len().min(PIECE)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for BlobWriter<'_> {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.path);
        }
    }
}
