//! Where the user's mounts come from: made, mounted or found at each start.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use dhow_kernel::mount as fs;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat};

use super::{RootDir, copy_up, local, propagation};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::{MountPoint, Record};
use crate::store::make_dir;

/// Whether dhow itself mounts something for `record` beside its root.
pub fn mounts_more(record: &Record) -> bool {
    record.host_config.ipc_mode == "shareable"
        || record.mounts.iter().any(|m| !m.layers.is_empty() || !m.subpath.is_empty())
}

/// One source for each of the record's mounts, in order. What is mounted for it lies
/// below the container's directory, in this process's mount namespace.
pub fn settle(host: &Host, record: &Record) -> Result<Vec<PathBuf>> {
    let mut sources = Vec::new();
    for (n, point) in record.mounts.iter().enumerate() {
        let place = host.paths.container(&record.id).join("mounts").join(n.to_string());
        sources.push(match point.kind.as_str() {
            "bind" => bind(point)?,
            "image" => image(host, point, &place)?,
            "volume" => {
                if point.mounted {
                    local::acquire(host, record, point)?;
                }
                volume(host, point, &place)?
            }
            _ => PathBuf::new(),
        });
    }
    Ok(sources)
}

/// Fills the volumes of a container that never ran, as its own start would: from its image.
pub fn first_contents(host: &Host, record: &Record, sources: &[PathBuf]) -> Result<()> {
    for (n, (point, data)) in record.mounts.iter().zip(sources).enumerate() {
        if point.copy_up && !point.layers.is_empty() {
            let place = host.paths.container(&record.id).join("mounts").join(format!("{n}.image"));
            let point = MountPoint { subpath: String::new(), ..point.clone() };
            let origin = image(host, &point, &place)?;
            copy_up::volume(&RootDir::open(&origin)?, &point, data)?;
        }
    }
    Ok(())
}

/// As [`settle`], for a look from outside: nothing is made on the host, and what is mounted is so
/// in this process's own mount namespace.
pub fn of_view(host: &Host, record: &Record) -> Result<Vec<PathBuf>> {
    let mut sources = Vec::new();
    for (n, point) in record.mounts.iter().enumerate() {
        let place = host.paths.container(&record.id).join("mounts").join(n.to_string());
        sources.push(match point.kind.as_str() {
            "image" => image(host, point, &place)?,
            "volume" => {
                if point.mounted {
                    local::look(host, point)?;
                }
                volume(host, point, &place)?
            }
            _ => PathBuf::from(&point.source),
        });
    }
    Ok(sources)
}

fn bind(point: &MountPoint) -> Result<PathBuf> {
    let source = PathBuf::from(&point.source);
    if std::fs::metadata(&source).is_err() {
        if !point.make_source {
            return Err(Error::engine(format!(
                "bind source path does not exist: {}; make it, or mount it by -v",
                point.source
            )));
        }
        // The monitor's umask, not the caller's: 0755, as docker's daemon makes it.
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(&source).map_err(|e| {
            Error::engine(format!("error while creating mount source path '{}': {e}", point.source))
        })?;
    }
    propagation::check(&source, &point.propagation)?;
    Ok(source)
}

fn volume(host: &Host, point: &MountPoint, place: &Path) -> Result<PathBuf> {
    let data = PathBuf::from(&point.source);
    if !data.is_dir() {
        // Removed by hand, or by a force: docker makes it again.
        host.volumes.ensure(&point.name)?;
    }
    if point.subpath.is_empty() {
        Ok(data)
    } else {
        part(&data, &point.subpath, place, &point.name)
    }
}

/// An image's files, read-only: one layer as it is, more as an overlay without an upper.
fn image(host: &Host, point: &MountPoint, place: &Path) -> Result<PathBuf> {
    let lower: Vec<PathBuf> = point.layers.iter().rev().map(|id| host.paths.layer_fs(id)).collect();
    if let Some(lost) = lower.iter().find(|layer| !layer.is_dir()) {
        return Err(Error::io("image layer", lost, format!("it lacks; pull {} again", point.name)));
    }
    let whole =
        if point.subpath.is_empty() { place.to_owned() } else { place.with_extension("whole") };
    make_dir(place.parent().unwrap_or(place))?;
    make_dir(&whole)?;
    let lower: Vec<&Path> = lower.iter().map(PathBuf::as_path).collect();
    let mounted = match lower[..] {
        [] => Ok(()), // an image without files
        [one] => directory(one).and_then(|dir| clone_onto(&dir, &whole)),
        _ => crate::monitor::mount_lower(&lower, &whole),
    };
    mounted.map_err(|e| Error::io("mount image on", &whole, e.desc()))?;
    if point.subpath.is_empty() {
        Ok(whole)
    } else {
        part(&whole, &point.subpath, place, &point.name)
    }
}

/// A directory or file of a volume or image, mounted at `place`: by a path, another container
/// could put a link there in the meantime.
fn part(whole: &Path, subpath: &str, place: &Path, name: &str) -> Result<PathBuf> {
    let fail = |e: Errno| {
        Error::engine(format!(
            "cannot access path {subpath} of {name}: {}; make it first",
            e.desc()
        ))
    };
    let found = RootDir::open(whole)?.at(subpath, OFlag::O_PATH).map_err(fail)?;
    let kind = fstat(&found).map_err(fail)?.st_mode & SFlag::S_IFMT.bits();
    make_dir(place.parent().unwrap_or(place))?;
    if kind == SFlag::S_IFDIR.bits() {
        make_dir(place)?;
    } else {
        File::options()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(place)
            .map_err(|e| Error::io("create", place, e))?;
    }
    clone_onto(&found, place).map_err(|e| Error::io("mount on", place, e.desc()))?;
    Ok(place.to_owned())
}

fn directory(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    nix::fcntl::open(path, flags, nix::sys::stat::Mode::empty())
}

/// What `from` is, mounted at `place`.
fn clone_onto(from: &OwnedFd, place: &Path) -> Result<(), Errno> {
    let tree = fs::open_tree(from.as_fd(), c"", fs::Tree::CloneRecursive)?;
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let target = nix::fcntl::open(place, flags, nix::sys::stat::Mode::empty())?;
    fs::move_mount(tree.as_fd(), target.as_fd())
}
