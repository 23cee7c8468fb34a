//! Named files, in a directory or in a tar: what an OCI layout is made of.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::error::{Error, Result};

/// Files by name.
pub trait Files: Sync {
    /// A file's bytes and their number.
    fn open<'a>(&'a self, name: &str) -> Result<(Box<dyn Read + Send + 'a>, u64)>;

    /// A file that may be taken, of these bytes.
    fn spooled(&self, _digest: &Digest) -> Option<PathBuf> {
        None
    }

    /// What the files are in, for messages.
    fn title(&self) -> String;

    /// A small file, whole.
    fn read(&self, name: &str, max: u64) -> Result<Vec<u8>> {
        let what = || format!("{} in {}", name, self.title());
        let (reader, size) = self.open(name)?;
        if size > max {
            return Err(Error::invalid(what(), format!("it is over {max} bytes")));
        }
        let mut bytes = Vec::new();
        let mut reader = reader.take(max);
        reader.read_to_end(&mut bytes).map_err(|e| Error::from_io("read", what(), e))?;
        Ok(bytes)
    }
}

/// The files of a directory. The names that are asked for come from parsed digests, so
/// none leads out of it; a symlink in it is the layout's owner's business.
pub struct Directory(pub PathBuf);

impl Files for Directory {
    fn open<'a>(&'a self, name: &str) -> Result<(Box<dyn Read + Send + 'a>, u64)> {
        let path = self.0.join(name);
        // A FIFO would be waited for, and a device never ends.
        let file = match File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(missing(name, &self.title()));
            }
            other => other.map_err(Error::at("open", &path))?,
        };
        let meta = file.metadata().map_err(Error::at("read", &path))?;
        if !meta.is_file() {
            let what = format!("{name} in {}", self.title());
            return Err(Error::invalid(what, "it is no regular file"));
        }
        Ok((Box::new(file), meta.len()))
    }

    fn title(&self) -> String {
        self.0.display().to_string()
    }
}

/// A layout's files, its blobs in a directory that several layouts share.
pub struct Shared {
    /// The layout.
    pub layout: Directory,
    /// The shared directory, with `sha256/HEX` in it.
    pub blobs: Directory,
}

impl Files for Shared {
    fn open<'a>(&'a self, name: &str) -> Result<(Box<dyn Read + Send + 'a>, u64)> {
        match name.strip_prefix("blobs/") {
            Some(blob) => self.blobs.open(blob),
            None => self.layout.open(name),
        }
    }

    fn title(&self) -> String {
        self.layout.title()
    }
}

/// A file that isn't there.
pub(super) fn missing(name: &str, title: &str) -> Error {
    Error::NotFound { what: "file", name: format!("{name} in {title}"), hint: String::new() }
}
