//! Into an OCI layout in a directory, made if it isn't there.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::births::Births;
use super::{New, Part, Signatures, Sink};
use crate::digest::{Algorithm, Digest, Hasher, Hashing};
use crate::edit::Doc;
use crate::error::{Error, Result};
use crate::leftovers;
use crate::manifest::{Descriptor, Index, MAX_MANIFEST, REF_NAME};
use crate::pieces::Flowing;
use crate::source::{Directory, Document, Files};
use crate::store::sync_dir;

/// Writes one image into a layout.
pub struct LayoutDir {
    dir: PathBuf,
    /// Where blobs go, if not into the layout.
    shared: Option<PathBuf>,
    root: Mutex<Option<Descriptor>>,
    births: Births,
}

impl LayoutDir {
    /// Makes the directory and its `oci-layout`, if need be.
    pub fn open(dir: &Path) -> Result<Self> {
        Self::open_with(dir, None)
    }

    /// The same, with its blobs in a directory that several layouts share: `SHARED/sha256/HEX`.
    pub fn open_with(dir: &Path, shared: Option<&Path>) -> Result<Self> {
        let blobs = shared.map_or_else(|| dir.join("blobs/sha256"), Path::to_owned);
        let births = Births::begin(dir, "oci-layout", "index.json", || {
            fs::create_dir_all(&blobs).map_err(Error::at("create", &blobs))?;
            fs::create_dir_all(dir).map_err(Error::at("create", dir))?;
            mark(dir, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)
        })?;
        let (dir, shared) = (dir.to_owned(), shared.map(Path::to_owned));
        Ok(Self { dir, shared, root: Mutex::new(None), births })
    }

    /// Enters the image in the index, under a name if there is one; whoever had it loses it.
    pub fn finish(&self, name: Option<&str>) -> Result<()> {
        self.enter(|index, mut root| {
            index.manifests.retain(|d| match (d.ref_name(), name) {
                (Some(old), Some(new)) => old != new,
                (None, None) => d.digest != root.digest,
                _ => true,
            });
            root.annotations.extend(name.map(|n| (REF_NAME.to_owned(), n.to_owned())));
            index.manifests.push(root);
            Ok(())
        })
    }

    /// Has `change` enter the image in the index; if it fails, what was written goes.
    pub fn enter(&self, change: impl FnOnce(&mut Index, Descriptor) -> Result<()>) -> Result<()> {
        let root = self.root.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let root = root.ok_or_else(|| Error::invalid("copy", "no image came"))?;
        self.births.sync()?;
        change_index(&self.dir, |index| change(index, root))?;
        self.births.keep();
        sync_dir(&self.dir)
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        match &self.shared {
            Some(shared) => shared.join(digest.algorithm().name()).join(digest.hex()),
            None => self.dir.join(crate::source::blob_name(digest)),
        }
    }

    /// Where blobs are written before they get their names: on the same file system.
    fn nursery(&self) -> &Path {
        self.shared.as_deref().unwrap_or(&self.dir)
    }
}

/// Makes a layout without images in a directory that isn't there yet.
pub fn new_layout(dir: &Path) -> Result<()> {
    if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(Error::at("create", parent))?;
    }
    fs::create_dir(dir).map_err(Error::at("create", dir))?;
    let made = || {
        let blobs = dir.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(Error::at("create", &blobs))?;
        replace(dir, "index.json", &Doc::new(Index::default())?.bytes()?)?;
        replace(dir, "oci-layout", b"{\"imageLayoutVersion\":\"1.0.0\"}\n")?;
        sync_dir(dir)
    };
    made().inspect_err(|_| drop(fs::remove_dir_all(dir)))
}

/// Changes a layout's index, alone: others wait, readers see the old one or the new one.
pub fn change_index<T>(dir: &Path, change: impl FnOnce(&mut Index) -> Result<T>) -> Result<T> {
    let path = dir.join("index.json");
    let lock = fs::File::open(dir).map_err(Error::at("open", dir))?;
    lock.lock().map_err(Error::at("lock", dir))?;
    let mut index: Doc<Index> = match Directory(dir.to_owned()).read("index.json", MAX_MANIFEST) {
        Ok(bytes) => Doc::parse(&bytes, &path.display().to_string())?,
        Err(e) if e.is_not_found() => Doc::new(Index::default())?,
        Err(e) => return Err(e),
    };
    let done = change(&mut index)?;
    replace(dir, "index.json", &index.bytes()?)?;
    Ok(done)
}

/// Puts a file into a directory in one step.
pub(super) fn replace(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = dir.join(name);
    let mut file = leftovers::file_in(dir)?;
    file.write_all(bytes).map_err(Error::at("write", &path))?;
    persist(file, &path)
}

/// Puts a file into a directory unless it is there: those who hold it locked must not have it
/// replaced under their hands.
pub(super) fn mark(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = dir.join(name);
    if path.exists() {
        return Ok(());
    }
    let mut file = leftovers::file_in(dir)?;
    file.write_all(bytes).map_err(Error::at("write", &path))?;
    belong(file.as_file(), &path).map_err(Error::at("write", &path))?;
    file.as_file().sync_data().map_err(Error::at("sync", &path))?;
    match file.persist_noclobber(&path) {
        Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done.map(drop).map_err(|e| Error::io("create", &path, e.error)),
    }
}

/// Syncs it, and gives it its name.
pub(super) fn persist(file: tempfile::NamedTempFile, to: &Path) -> Result<()> {
    belong(file.as_file(), to).map_err(Error::at("write", to))?;
    file.as_file().sync_data().map_err(Error::at("sync", to))?;
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(Error::at("create", parent))?;
    }
    file.persist(to).map(drop).map_err(|e| Error::io("create", to, e.error))
}

/// Writes a blob to its place, unless it is there: by its bytes, not by its name alone. One
/// that isn't what its name says is put right.
pub(super) fn keep(
    births: &Births,
    to: &Path,
    part: &Part<'_>,
    dir: &Path,
) -> Result<&'static str> {
    if is_there(to, part.blob) {
        return Ok("already there");
    }
    let fresh = !to.exists();
    let taken = part.spooled.as_ref().is_some_and(|path| take(path, to).is_ok());
    if !taken {
        let mut file = leftovers::file_in(dir)?;
        let mut from = (part.open)()?;
        super::pour(&mut from, &mut Flowing::new(&mut file), to)?;
        persist(file, to)?;
    }
    if fresh {
        births.born(to);
    }
    Ok("written")
}

/// Makes a spooled file the blob, if it lies on the same file system.
fn take(path: &Path, to: &Path) -> io::Result<()> {
    let file = fs::File::open(path)?;
    belong(&file, to)?;
    file.sync_data()?;
    to.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::rename(path, to)
}

/// Gives a new file the layout's owner, and lets others read it: what root adds to a user's
/// layout stays the user's.
fn belong(file: &fs::File, to: &Path) -> io::Result<()> {
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    let mut near = to.parent();
    while let Some(dir) = near {
        match fs::metadata(dir) {
            Ok(about) if crate::rootless::is_root() => {
                return std::os::unix::fs::fchown(file, Some(about.uid()), Some(about.gid()));
            }
            Ok(_) => return Ok(()),
            Err(_) => near = dir.parent(),
        }
    }
    Ok(())
}

/// Writes a blob that is only now made, and gives it its digest's name.
pub(super) fn learn(
    births: &Births,
    dir: &Path,
    to: impl Fn(&Digest) -> PathBuf,
    new: New<'_>,
) -> Result<Descriptor> {
    let mut file = Hashing::new(Flowing::new(leftovers::file_in(dir)?), Algorithm::Sha256);
    (new.fill)(&mut file)?;
    let (file, digest, size) = file.finish();
    let (file, to) = (file.into_inner(), to(&digest));
    let fresh = !to.exists();
    persist(file, &to)?;
    if fresh {
        births.born(&to);
    }
    Ok(Descriptor::new(new.media_type, digest, size))
}

fn is_there(path: &Path, blob: &Descriptor) -> bool {
    // Looked at first: a FIFO would be waited for.
    if !fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() == blob.size) {
        return false;
    }
    let Ok(mut file) = fs::File::open(path) else { return false };
    let mut hash = Hasher::new(blob.digest.algorithm());
    let mut buf = vec![0; 256 << 10];
    loop {
        match io::Read::read(&mut file, &mut buf) {
            Ok(0) => return hash.finish() == blob.digest,
            Ok(n) => hash.update(&buf[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}

impl Sink for LayoutDir {
    fn signatures(&self) -> Signatures {
        Signatures::Refused("an OCI layout")
    }

    fn put(&self, part: Part<'_>) -> Result<&'static str> {
        keep(&self.births, &self.blob(&part.blob.digest), &part, self.nursery())
    }

    fn learn(&self, blob: New<'_>) -> Option<Result<Descriptor>> {
        Some(learn(&self.births, self.nursery(), |digest| self.blob(digest), blob))
    }

    fn document(&self, document: &Document, top: bool) -> Result<()> {
        let to = self.blob(&document.at.digest);
        let fresh = !to.exists();
        let mut file = leftovers::file_in(self.nursery())?;
        file.write_all(&document.bytes).map_err(Error::at("write", &to))?;
        persist(file, &to)?;
        if fresh {
            self.births.born(&to);
        }
        if top {
            let mut root = self.root.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            *root = Some(document.at.clone());
        }
        Ok(())
    }
}
