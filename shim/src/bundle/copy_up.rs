//! The first contents of a volume: what the image has at its mount point.

use std::fs::{File, Permissions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, UtimensatFlags, fstatat, mkdirat, mknodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat, symlinkat};

use crate::bundle::{RootDir, etc};
use crate::error::{Error, Result};
use crate::model::{MountPoint, Record};

/// How deep a tree may be: a hostile one must not eat the stack or the descriptors.
const DEEPEST: usize = 128;

/// Fills each empty volume that asks for it from this container's own root.
/// `sources` are where the record's mounts come from, one for each.
pub fn volumes(root: &RootDir, record: &Record, sources: &[PathBuf]) -> Result<()> {
    let own = |mount: &&MountPoint| mount.copy_up && mount.layers.is_empty();
    let mut all = record.mounts.iter().zip(sources).filter(|(mount, _)| own(mount));
    all.try_for_each(|(mount, data)| volume(root, mount, data))
}

/// Fills a volume at `data` that is empty. A symlink at the mount point leads inside the root
/// only (CVE-2022-23648).
pub fn volume(root: &RootDir, mount: &MountPoint, data: &Path) -> Result<()> {
    let Ok(source) = root.at(&mount.destination, OFlag::O_RDONLY | OFlag::O_DIRECTORY) else {
        return Ok(()); // the image has nothing there
    };
    let fail = |e: Errno| {
        let full =
            if e == Errno::ENOSPC { "; 'dhow system prune' frees what nobody uses" } else { "" };
        Error::engine(format!(
            "volume {}: copy {} from the image: {}{full}",
            mount.name,
            mount.destination,
            e.desc()
        ))
    };
    let target = match openat(AT_FDCWD, data, DIRECTORY, Mode::empty()) {
        Err(Errno::ENOTDIR) => return Ok(()), // a file of the volume: it is what it is
        other => other.map_err(fail)?,
    };
    if is_empty(&target).map_err(fail)? {
        tree(source.as_fd(), target.as_fd(), 0).map_err(fail)?;
        places(&mount.destination, target.as_fd()).map_err(fail)?;
        let stat = nix::sys::stat::fstat(&source).map_err(fail)?;
        give(target.as_fd(), ".", &stat).map_err(fail)?;
    }
    Ok(())
}

/// docker's images have the files that are bound over /etc's, so that a volume there does, too:
/// in one that is mounted read-only nobody could make them.
fn places(destination: &str, target: BorrowedFd) -> Result<(), Errno> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    for (_, path) in etc::FILES {
        let Some((_, name)) = path.rsplit_once('/').filter(|(dir, _)| *dir == destination) else {
            continue;
        };
        match openat(target, name, flags, Mode::from_bits_truncate(0o755)) {
            Ok(_) | Err(Errno::EEXIST) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

fn is_empty(dir: &OwnedFd) -> Result<bool, Errno> {
    Ok(names(dir.as_fd())?.is_empty())
}

fn names(dir: BorrowedFd) -> Result<Vec<std::ffi::CString>, Errno> {
    let mut list = Vec::new();
    for entry in Dir::openat(dir, ".", DIRECTORY, Mode::empty())?.iter() {
        let name = entry?.file_name().to_owned();
        if name.as_bytes() != b"." && name.as_bytes() != b".." {
            list.push(name);
        }
    }
    Ok(list)
}

fn tree(from: BorrowedFd, to: BorrowedFd, depth: usize) -> Result<(), Errno> {
    if depth > DEEPEST {
        return Err(Errno::ELOOP);
    }
    for name in names(from)? {
        let name = name.as_c_str();
        let stat = fstatat(from, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
        let private = Mode::from_bits_truncate(0o600);
        match kind {
            SFlag::S_IFDIR => {
                mkdirat(to, name, Mode::from_bits_truncate(0o700))?;
                let source = openat(from, name, DIRECTORY, Mode::empty())?;
                let target = openat(to, name, DIRECTORY, Mode::empty())?;
                tree(source.as_fd(), target.as_fd(), depth + 1)?;
            }
            SFlag::S_IFREG => file(from, to, name)?,
            SFlag::S_IFLNK => symlinkat(readlinkat(from, name)?.as_os_str(), to, name)?,
            SFlag::S_IFIFO | SFlag::S_IFCHR | SFlag::S_IFBLK => {
                mknodat(to, name, kind, private, stat.st_rdev)?;
            }
            _ => continue, // a socket is nothing without its listener
        }
        give(to, name, &stat)?;
    }
    Ok(())
}

fn file(from: BorrowedFd, to: BorrowedFd, name: &std::ffi::CStr) -> Result<(), Errno> {
    let read = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let write = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let mut source = File::from(openat(from, name, read, Mode::empty())?);
    let mut target = File::from(openat(to, name, write, Mode::from_bits_truncate(0o600))?);
    let mut buffer = vec![0_u8; 1 << 17];
    loop {
        let n = source.read(&mut buffer).map_err(errno)?;
        if n == 0 {
            return Ok(());
        }
        target.write_all(&buffer[..n]).map_err(errno)?;
    }
}

fn errno(e: std::io::Error) -> Errno {
    Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO))
}

/// Owner, then mode (chown takes setuid away), then times.
fn give<P: ?Sized + nix::NixPath>(dir: BorrowedFd, name: &P, stat: &FileStat) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    fchownat(dir, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if stat.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFLNK.bits() {
        // Another container may have this volume, and put a link of its own here by now:
        // KERNEL: fchmodat(2) would follow it, a descriptor of the thing itself leads nowhere.
        let itself = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(dir, name, itself, Mode::empty())?;
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        std::fs::set_permissions(path, Permissions::from_mode(stat.st_mode & 0o7777))
            .map_err(errno)?;
    }
    let access = TimeSpec::new(stat.st_atime, stat.st_atime_nsec);
    let change = TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec);
    utimensat(dir, name, &access, &change, UtimensatFlags::NoFollowSymlink)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_link_that_another_container_puts_there_meanwhile_is_not_followed() {
        let (volume, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let secret = outside.path().join("secret");
        std::fs::write(&secret, "x").unwrap();
        std::fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
        let stat = nix::sys::stat::stat("/dev/null").unwrap(); // open for all
        symlink(&secret, volume.path().join("tool")).unwrap();
        let dir = File::open(volume.path()).unwrap();
        let _ = give(dir.as_fd(), "tool", &stat);
        assert_eq!(std::fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn an_empty_volume_gets_the_images_files_and_a_link_out_gets_none() {
        let (root, volume) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "x").unwrap();
        std::fs::create_dir_all(root.path().join("data/sub")).unwrap();
        let tool = root.path().join("data/sub/tool");
        std::fs::write(&tool, "tool").unwrap();
        std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o4755)).unwrap();
        symlink("sub/tool", root.path().join("data/link")).unwrap();
        symlink(outside.path(), root.path().join("evil")).unwrap();
        let dir = RootDir::open(root.path()).unwrap();
        let mut record: Record = serde_json::from_str(
            r#"{"version":1,"id":"a","name":"n","created":"2026-01-01T00:00:00Z",
            "image":{"reference":"","id":"","manifest":""},"layers":[],"path":"","args":[],
            "config":{},"host_config":{},"mounts":[]}"#,
        )
        .unwrap();
        record.mounts = vec![MountPoint {
            destination: "/data".into(),
            source: volume.path().to_str().unwrap().into(),
            copy_up: true,
            ..MountPoint::default()
        }];
        volumes(&dir, &record, &[volume.path().into()]).unwrap();
        let copied = volume.path().join("sub/tool");
        assert_eq!(std::fs::metadata(&copied).unwrap().permissions().mode() & 0o7777, 0o4755);
        assert_eq!(std::fs::read_to_string(volume.path().join("link")).unwrap(), "tool");

        let empty = tempfile::tempdir().unwrap();
        record.mounts[0].destination = "/evil".into();
        record.mounts[0].source = empty.path().to_str().unwrap().into();
        volumes(&dir, &record, &[empty.path().into()]).unwrap();
        assert!(std::fs::read_dir(empty.path()).unwrap().next().is_none());
    }
}
