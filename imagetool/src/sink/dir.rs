//! `dir:`, skopeo's own form; see [the reading side](crate::source).

use std::fs;
use std::path::{Path, PathBuf};

use super::births::Births;
use super::layout::{keep, learn, mark, replace};
use super::{New, Part, Signatures, Sink};
use crate::error::{Error, Result};
use crate::leftovers;
use crate::manifest::Descriptor;
use crate::source::{DIR_VERSION, Document, signature_name};
use crate::store::sync_dir;
use crate::trust::Signature;

/// Writes one image into a directory of its own.
pub struct Dir {
    dir: PathBuf,
    births: Births,
}

impl Dir {
    /// Makes the directory if need be. One that holds something else is refused.
    pub fn open(dir: &Path) -> Result<Self> {
        let births = Births::begin(dir, "version", "manifest.json", || {
            fs::create_dir_all(dir).map_err(Error::at("create", dir))?;
            let mut entries = fs::read_dir(dir).map_err(Error::at("read", dir))?;
            let ours = |name: &std::ffi::OsStr| {
                // Another copy's first file, on its way to its name.
                name == "version"
                    || name.as_encoded_bytes().starts_with(leftovers::PREFIX.as_bytes())
            };
            let foreign = entries.any(|e| e.is_ok_and(|e| !ours(&e.file_name())));
            if foreign && !dir.join("version").exists() {
                let (name, by) = (dir.display().to_string(), "files that are no dir: image".into());
                return Err(Error::InUse { what: "directory", name, by });
            }
            mark(dir, "version", format!("{DIR_VERSION}1.1\n").as_bytes())
        })?;
        Ok(Self { dir: dir.to_owned(), births })
    }

    /// All is written; its names are brought to disk.
    pub fn finish(&self) -> Result<()> {
        self.births.keep();
        sync_dir(&self.dir)
    }
}

impl Sink for Dir {
    fn signatures(&self) -> Signatures {
        Signatures::Kept
    }

    fn put(&self, part: Part<'_>) -> Result<&'static str> {
        keep(&self.births, &self.dir.join(part.blob.digest.flat_name()), &part, &self.dir)
    }

    fn put_signatures(&self, of: &Document, top: bool, signatures: &[Signature]) -> Result<()> {
        for (i, signature) in signatures.iter().enumerate() {
            let name = signature_name(&of.at.digest, top, i + 1);
            let fresh = !self.dir.join(&name).exists();
            replace(&self.dir, &name, &signature.to_file())?;
            if fresh {
                self.births.born(&self.dir.join(name));
            }
        }
        // Those of an earlier image would be taken for this one's.
        for n in signatures.len() + 1.. {
            let old = self.dir.join(signature_name(&of.at.digest, top, n));
            match fs::remove_file(&old) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => break,
                removed => removed.map_err(Error::at("remove", &old))?,
            }
        }
        Ok(())
    }

    fn learn(&self, blob: New<'_>) -> Option<Result<Descriptor>> {
        Some(learn(&self.births, &self.dir, |digest| self.dir.join(digest.hex()), blob))
    }

    fn document(&self, document: &Document, top: bool) -> Result<()> {
        if top {
            return replace(&self.dir, "manifest.json", &document.bytes);
        }
        let name = format!("{}.manifest.json", document.at.digest.flat_name());
        let fresh = !self.dir.join(&name).exists();
        replace(&self.dir, &name, &document.bytes)?;
        if fresh {
            self.births.born(&self.dir.join(name));
        }
        Ok(())
    }
}
