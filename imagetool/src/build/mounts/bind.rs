//! `type=bind`: files of the context, a stage or an image. What is written to them is lost.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use dhow_kernel::mount::{Tree, open_tree};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat};

use super::overlay::{like, mount_at};
use super::owned::by_root;
use super::{Attached, mask};
use crate::build::copy::{Files, Owners, locate_below};
use crate::build::dockerfile::RunMount;
use crate::error::{Error, Result};
use crate::layer::RootDir;
use crate::layer::at::kind;
use crate::store::make_dir;

/// What a mount shows, and what it stands on.
pub(super) struct Bound {
    pub what: Arc<OwnedFd>,
    pub held: Vec<Attached>,
}

/// Opens the source of a mount; `place` is its own.
pub(super) fn bind(mount: &RunMount, files: &Files<'_>, place: &Path) -> Result<Bound> {
    let (path, source) = open(mount, files)?;
    let stat = fstat(&source).map_err(|e| files.root.error("open", &path, e))?;
    let (source, shown) = match (files.owners, kind(&stat)) {
        (Owners::Root, SFlag::S_IFDIR | SFlag::S_IFREG) => by_root(source, place)?,
        _ => (source, None),
    };
    let mut held: Vec<Attached> = shown.into_iter().collect();
    match kind(&stat) {
        SFlag::S_IFDIR => {}
        _ if !mount.writable => return Ok(Bound { what: Arc::new(source), held }),
        SFlag::S_IFREG => return Ok(Bound { what: Arc::new(own_copy(&source, place)?), held }),
        // Not even opened: a pipe would never be, and some devices do something then.
        _ => {
            let what = "a writable bind mount of what is neither file nor directory";
            return Err(Error::unsupported(what, "leave out rw"));
        }
    }
    let layer = place.join("mask");
    let masked = mask::make(files, &source, &path, &layer)?;
    if !masked && !mount.writable {
        return Ok(Bound { what: Arc::new(source), held });
    }
    let hides =
        masked.then(|| File::open(&layer)).transpose().map_err(Error::at("open", &layer))?;
    let lower = hides.iter().map(AsFd::as_fd).chain([source.as_fd()]);
    let lower: Vec<_> = lower.collect();
    let (merged, root) = mount_at(place, &lower, mount.writable.then_some(place))?;
    let what = root.open_inside(b"", OFlag::O_PATH).map_err(|e| root.error("open", b"", e))?;
    held.insert(0, merged);
    Ok(Bound { what: Arc::new(what), held })
}

/// The source and its path, clean and without links.
pub(super) fn open(mount: &RunMount, files: &Files<'_>) -> Result<(Vec<u8>, OwnedFd)> {
    let found = open_below(mount, files)?;
    match open_tree(found.1.as_fd(), c"", Tree::Clone) {
        // KERNEL: mount(2): only what is of one's own mount namespace can be mounted elsewhere, and
        // a context was opened before the build had one.
        Err(Errno::EINVAL) => {
            let root = again(files.root)?;
            open_below(mount, &Files { root: &root, ..*files })
        }
        _ => Ok(found),
    }
}

fn open_below(mount: &RunMount, files: &Files<'_>) -> Result<(Vec<u8>, OwnedFd)> {
    let path = locate_below(files, mount.source.as_deref().unwrap_or("/"))?;
    // Found without links a moment ago: who has put one there since is refused.
    let source = files.root.open_plain(&path, OFlag::O_PATH);
    let source = source.map_err(|e| files.root.error("open", &path, e))?;
    Ok((path, source))
}

/// The same directory by its path, as it is in this mount namespace.
fn again(root: &RootDir) -> Result<RootDir> {
    let same = RootDir::open(root.path())?;
    let id = |dir: &RootDir| fstat(dir).map(|stat| (stat.st_dev, stat.st_ino));
    if id(root).is_ok_and(|known| id(&same) == Ok(known)) {
        return Ok(same);
    }
    let what = format!("directory {}", root.path().display());
    Err(Error::invalid(what, "it was exchanged for another one while it was built from"))
}

/// A file that can be written to without anybody else seeing it; the source is a regular file.
fn own_copy(source: &OwnedFd, place: &Path) -> Result<OwnedFd> {
    make_dir(place)?;
    let path = place.join("file");
    let from = format!("/proc/self/fd/{}", source.as_raw_fd());
    let mut from = File::open(&from).map_err(Error::at("read", &from))?;
    let mut to = File::options();
    let mut to = to.write(true).create_new(true).open(&path).map_err(Error::at("create", &path))?;
    io::copy(&mut from, &mut to).map_err(Error::at("write", &path))?;
    like(to.as_fd(), from.as_fd()).map_err(|e| Error::io("create", &path, e.into()))?;
    drop(to);
    fs::File::open(&path).map(OwnedFd::from).map_err(Error::at("open", &path))
}

#[cfg(test)]
mod tests {
    use nix::sys::stat::Mode;

    use super::*;

    /// Opening a pipe that nobody writes to takes for ever.
    #[test]
    fn what_is_no_file_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("from")).unwrap();
        nix::unistd::mkfifo(&dir.path().join("from/pipe"), Mode::S_IRWXU).unwrap();
        let root = RootDir::open(dir.path().join("from")).unwrap();
        let title = "the build context";
        let files = Files {
            root: &root,
            ignore: None,
            memory: None,
            owners: Owners::Kept,
            title,
            cancel: None,
        };
        let mount =
            |writable| RunMount { source: Some("pipe".into()), writable, ..RunMount::default() };
        let why = bind(&mount(true), &files, &dir.path().join("m")).err().unwrap().to_string();
        assert!(why.contains("neither file nor directory"), "{why}");
        assert!(bind(&mount(false), &files, &dir.path().join("m")).is_ok());
    }
}
