//! A record's mounts, upon the root of a view.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use dhow_kernel::mount::{Tree, move_mount, open_tree};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat, umask};

use super::view::harmless;
use crate::bundle::{RootDir, etc};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::{Depth, MountPoint, Record};

/// Something to be mounted.
struct Point {
    destination: String,
    tree: OwnedFd,
    read_only: bool,
}

/// Mounts volumes, binds, /etc's three files, and `live`, the tmpfs of a container that runs.
/// `make`: mount points that lack are made, as its start would.
pub fn all(
    host: &Host,
    record: &Record,
    root: &RootDir,
    live: Vec<(String, OwnedFd)>,
    make: bool,
) -> Result<()> {
    let mut points = Vec::new();
    record.mounts.iter().filter(|m| m.make_source).try_for_each(make_source)?;
    let sources = crate::bundle::of_view(host, record)?;
    for (mount, source) in record.mounts.iter().zip(&sources).filter(|(m, _)| m.kind != "tmpfs") {
        points.push(of_host(mount, source)?);
    }
    for (destination, tree) in live {
        let read_only = record.mounts.iter().any(|m| m.destination == destination && !m.rw);
        points.push(Point { destination, tree, read_only });
    }
    for (name, target) in etc::FILES {
        let source = etc::path(host, record, name);
        if source.exists() && !record.mounts.iter().any(|m| m.destination == target) {
            let mount =
                MountPoint { destination: target.into(), rw: true, ..MountPoint::default() };
            points.push(of_host(&mount, &source)?);
        }
    }
    // As the bundle has them: fewer parts first.
    points.sort_by_key(|p| Path::new(&p.destination).components().count());
    points.iter().try_for_each(|point| {
        put(root, point, make).map_err(|e| {
            let why = format!("mount on it in the view of the container: {}", e.desc());
            Error::engine(format!("{}: {why}", point.destination))
        })
    })
}

/// As its start would, and as docker's `cp` does: who copies to such a mount writes to the host.
fn make_source(mount: &MountPoint) -> Result<()> {
    let source = Path::new(&mount.source);
    if std::fs::metadata(source).is_ok() {
        return Ok(());
    }
    // The thread's own by now: whatever the caller's is, the container's users must get in.
    umask(Mode::from_bits_truncate(0o022));
    std::fs::create_dir_all(source).map_err(|e| {
        let source = source.display();
        Error::engine(format!("error while creating mount source path '{source}': {e}"))
    })
}

fn of_host(mount: &MountPoint, source: &Path) -> Result<Point> {
    let fail = |e: Errno| {
        let why = format!("source path of {}: {}", mount.destination, e.desc());
        Error::engine(format!("{}: {why}", source.display()))
    };
    let tree = if mount.depth == Depth::Alone { Tree::Clone } else { Tree::CloneRecursive };
    let path = CString::new(source.as_os_str().as_bytes()).map_err(|_| fail(Errno::EINVAL))?;
    let tree = open_tree(AT_FDCWD, &path, tree).map_err(fail)?;
    // What lies below a bind may have been left writable.
    if !mount.rw && mount.depth == Depth::Writable {
        harmless(tree.as_fd(), true, false).map_err(fail)?;
    }
    let read_only = !mount.rw && mount.depth != Depth::Writable;
    Ok(Point { destination: mount.destination.clone(), tree, read_only })
}

fn put(root: &RootDir, point: &Point, make: bool) -> nix::Result<()> {
    harmless(point.tree.as_fd(), point.read_only, true)?;
    let directory = fstat(&point.tree)?.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits();
    let at = match root.at(&point.destination, OFlag::O_PATH) {
        Err(Errno::ENOENT) if make => made(root, &point.destination, directory)?,
        // A container that lives has taken it away, or put something else there.
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) if !make => return Ok(()),
        other => other?,
    };
    match move_mount(point.tree.as_fd(), at.as_fd()) {
        Err(Errno::ENOTDIR) if !make => Ok(()),
        other => other,
    }
}

/// A mount point where there is none.
fn made(root: &RootDir, path: &str, directory: bool) -> nix::Result<OwnedFd> {
    if directory {
        root.make_dirs(path)?;
    } else {
        let (parent, name) = path.rsplit_once('/').ok_or(Errno::EINVAL)?;
        root.make_dirs(parent)?;
        let parent = root.at(parent, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        drop(openat(&parent, name, flags, Mode::from_bits_truncate(0o644))?);
    }
    root.at(path, OFlag::O_PATH)
}
