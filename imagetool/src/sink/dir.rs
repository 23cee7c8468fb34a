//! `dir:`, skopeo's own form; see [the reading side](crate::source).

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::layout::{born, keep, persist};
use super::{Part, Sink};
use crate::error::{Error, Result};
use crate::source::{DIR_VERSION, Document};
use crate::store::sync_dir;

/// Writes one image into a directory of its own.
pub struct Dir {
    dir: PathBuf,
}

impl Dir {
    /// Makes the directory if need be. One that holds something else is refused.
    pub fn open(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).map_err(Error::at("create", dir))?;
        let mut entries = fs::read_dir(dir).map_err(Error::at("read", dir))?;
        if entries.next().is_some() && !dir.join("version").exists() {
            let (name, by) = (dir.display().to_string(), "files that are no dir: image".into());
            return Err(Error::InUse { what: "directory", name, by });
        }
        let new = Self { dir: dir.to_owned() };
        new.write("version", format!("{DIR_VERSION}1.1\n").as_bytes())?;
        Ok(new)
    }

    /// All is written; its names are brought to disk.
    pub fn finish(&self) -> Result<()> {
        sync_dir(&self.dir)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let to = self.dir.join(name);
        let mut file = born(&self.dir)?;
        file.write_all(bytes).map_err(Error::at("write", &to))?;
        persist(file, &to)
    }
}

impl Sink for Dir {
    fn put(&self, part: Part<'_>) -> Result<&'static str> {
        keep(&self.dir, &self.dir.join(part.blob.digest.hex()), &part)
    }

    fn document(&self, document: &Document, top: bool) -> Result<()> {
        if top {
            return self.write("manifest.json", &document.bytes);
        }
        let name = format!("{}.manifest.json", document.at.digest.hex());
        self.write(&name, &document.bytes)
    }
}
