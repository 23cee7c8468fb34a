//! `dir:`, skopeo's own form: `manifest.json`, and beside it each blob under its digest's hex,
//! each further manifest as `HEX.manifest.json`. It has no names.

use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use super::{Directory, Document, Files, Source};
use crate::digest::{Digest, Verified};
use crate::error::{Error, Result};
use crate::manifest::{Descriptor, MAX_MANIFEST};
use crate::trust::{self, MAX_SIGNATURE, Signature};

/// What its file `version` begins with; what follows is a number that never mattered.
pub(crate) const VERSION: &str = "Directory Transport Version: ";

/// The image of such a directory.
pub struct Dir {
    files: Directory,
}

impl Dir {
    /// Opens it. One without a version is from before there were any.
    pub fn open(dir: &Path) -> Result<Self> {
        let files = Directory(dir.to_owned());
        match files.read("version", 64) {
            Ok(version) if !version.starts_with(VERSION.as_bytes()) => {
                Err(Error::invalid(format!("version in {}", files.title()), "it is no dir: image"))
            }
            _ => Ok(Self { files }),
        }
    }

    fn manifest(&self, name: &str) -> Result<Document> {
        #[derive(Deserialize)]
        struct Typed {
            #[serde(default, rename = "mediaType")]
            media_type: String,
        }
        let bytes = self.files.read(name, MAX_MANIFEST)?;
        let what = || format!("{name} in {}", self.files.title());
        let typed: Typed = serde_json::from_slice(&bytes).map_err(|e| Error::invalid(what(), e))?;
        let at = Descriptor::new(&typed.media_type, Digest::of(&bytes), bytes.len() as u64);
        Ok(Document { bytes, at })
    }
}

/// The file of an image's Nth signature, from 1.
pub(crate) fn signature_name(of: &Digest, top: bool, n: usize) -> String {
    if top { format!("signature-{n}") } else { format!("{}.signature-{n}", of.hex()) }
}

impl Source for Dir {
    fn root(&self) -> Result<Document> {
        self.manifest("manifest.json")
    }

    fn document(&self, at: &Descriptor) -> Result<Document> {
        let mut bytes = Vec::new();
        let what = format!("manifest {} in {}", at.digest, self.files.title());
        if at.size > MAX_MANIFEST {
            return Err(Error::invalid(what, format!("it is over {MAX_MANIFEST} bytes")));
        }
        let name = format!("{}.manifest.json", at.digest.flat_name());
        let (reader, _) = self.files.open(&name)?;
        Verified::new(reader, &at.digest, at.size, &what)
            .read_to_end(&mut bytes)
            .map_err(|e| Error::from_io("read", what, e))?;
        Ok(Document { bytes, at: Descriptor::new(&at.media_type, at.digest.clone(), at.size) })
    }

    fn signatures(&self, of: &Digest) -> Result<Vec<Signature>> {
        let top = self.root()?.at.digest == *of;
        let mut found = Vec::new();
        for n in 1.. {
            let name = signature_name(of, top, n);
            let bytes = match self.files.read(&name, MAX_SIGNATURE) {
                Ok(bytes) => bytes,
                Err(e) if e.is_not_found() => break,
                Err(e) => return Err(e),
            };
            let what = format!("{name} in {}", self.files.title());
            trust::collect(&mut found, Signature::from_file(&bytes, &what)?, &what)?;
        }
        Ok(found)
    }

    fn size(&self, blob: &Digest) -> Result<u64> {
        self.files.open(&blob.flat_name()).map(|(_, size)| size)
    }

    fn blob<'a>(&'a self, blob: &'a Descriptor) -> Result<Box<dyn Read + Send + 'a>> {
        let (reader, size) = self.files.open(&blob.digest.flat_name())?;
        let what = format!("blob {} in {}", blob.digest, self.files.title());
        if size != blob.size {
            return Err(Error::Size { what, want: blob.size, got: size });
        }
        Ok(Box::new(Verified::new(reader, &blob.digest, blob.size, what)))
    }
}
