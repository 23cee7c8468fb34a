//! Into an OCI layout in a directory, made if it isn't there.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::{Part, Sink};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::manifest::{Descriptor, Index, REF_NAME};
use crate::source::Document;
use crate::store::sync_dir;

/// Writes one image into a layout.
pub struct LayoutDir {
    dir: PathBuf,
    root: Mutex<Option<Descriptor>>,
}

impl LayoutDir {
    /// Makes the directory and its `oci-layout`, if need be.
    pub fn open(dir: &Path) -> Result<Self> {
        let new = Self { dir: dir.to_owned(), root: Mutex::new(None) };
        let blobs = dir.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(Error::at("create", &blobs))?;
        if !dir.join("oci-layout").exists() {
            new.replace("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        Ok(new)
    }

    /// Enters the image in the index, under a name if there is one; whoever had it loses it.
    pub fn finish(&self, name: Option<&str>) -> Result<()> {
        let root = self.root.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let mut root = root.ok_or_else(|| Error::invalid("copy", "no image came"))?;
        let path = self.dir.join("index.json");
        let lock = fs::File::open(&self.dir).map_err(Error::at("open", &self.dir))?;
        lock.lock().map_err(Error::at("lock", &self.dir))?;
        let mut index: Index = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|e| Error::invalid(path.display().to_string(), e))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Index::default(),
            Err(e) => return Err(Error::io("read", path, e)),
        };
        index.manifests.retain(|d| match (d.ref_name(), name) {
            (Some(old), Some(new)) => old != new,
            (None, None) => d.digest != root.digest,
            _ => true,
        });
        root.annotations.extend(name.map(|n| (REF_NAME.to_owned(), n.to_owned())));
        index.manifests.push(root);
        let bytes = serde_json::to_vec(&index).map_err(|e| Error::invalid("index.json", e))?;
        self.replace("index.json", &bytes)?;
        sync_dir(&self.dir)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.dir.join(name);
        let mut file = born(&self.dir)?;
        file.write_all(bytes).map_err(Error::at("write", &path))?;
        persist(file, &path)
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.dir.join(crate::source::blob_name(digest))
    }
}

/// A new file beside what it will become part of.
pub(super) fn born(dir: &Path) -> Result<tempfile::NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".dhow-")
        .tempfile_in(dir)
        .map_err(Error::at("create a file in", dir))
}

/// Syncs it, and gives it its name.
pub(super) fn persist(file: tempfile::NamedTempFile, to: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let open = fs::Permissions::from_mode(0o644);
    file.as_file().set_permissions(open).map_err(Error::at("write", to))?;
    file.as_file().sync_data().map_err(Error::at("sync", to))?;
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(Error::at("create", parent))?;
    }
    file.persist(to).map(drop).map_err(|e| Error::io("create", to, e.error))
}

/// Writes a blob to its place, unless one of its size is there: a digest is its name.
pub(super) fn keep(dir: &Path, to: &Path, part: &Part<'_>) -> Result<&'static str> {
    if fs::metadata(to).is_ok_and(|m| m.len() == part.blob.size) {
        return Ok("already there");
    }
    let mut file = born(dir)?;
    let mut from = (part.open)()?;
    super::pour(&mut from, &mut file, to)?;
    persist(file, to)?;
    Ok("written")
}

impl Sink for LayoutDir {
    fn put(&self, part: Part<'_>) -> Result<&'static str> {
        keep(&self.dir, &self.blob(&part.blob.digest), &part)
    }

    fn document(&self, document: &Document, top: bool) -> Result<()> {
        let to = self.blob(&document.at.digest);
        let mut file = born(&self.dir)?;
        file.write_all(&document.bytes).map_err(Error::at("write", &to))?;
        persist(file, &to)?;
        if top {
            let mut root = self.root.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            *root = Some(document.at.clone());
        }
        Ok(())
    }
}
