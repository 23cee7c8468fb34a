//! What an overlay layer owes to the layers below it: paid when they are there.
//!
//! Hard links into a lower layer and the metadata of directories that no entry described
//! are copied up, as the kernel would; whiteouts that hide nothing go, because overlayfs
//! lists them in directories that only this layer has.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use dhow_kernel::xattr;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{
    FchmodatFlags, FileStat, Mode, SFlag, UtimensatFlags, fchmodat, fstat, futimens, mkdirat,
    mknodat, utimensat,
};
use nix::unistd::{Gid, Uid, fchownat, linkat, symlinkat};

use super::at::{RootDir, is_dir, is_whiteout, kind, open_dir, remove_at, stat_at};
use super::entry::{Meta, invalid};
use super::journal::{Debt, Journal};
use super::name::{Name, split};
use super::pax::Time;
use super::seal::{Onto, Stop, set_metadata, timespec};
use super::whiteout::{FUSE_OPAQUE, opaque_xattr};
use crate::error::Result;

const READ_DIR: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY);

/// Pays the journal's debts; `lowers` are the layers below, topmost first.
pub fn settle(root: &RootDir, journal: &Journal, lowers: &[RootDir]) -> Result<()> {
    let mut owed = Vec::new();
    let stop = |Stop(e)| e;
    journal
        .deferred
        .each(|debt| match debt {
            Debt::Link(name, target) => {
                link_up(root, lowers, &name, &target, &mut owed).map_err(Stop)
            }
            _ => Ok(()),
        })
        .map_err(stop)?;
    journal
        .deferred
        .each(|debt| match debt {
            Debt::Whiteout(name) => drop_idle(root, lowers, &name).map_err(Stop),
            Debt::Implicit(name) if !journal.sealed.contains(name.as_bytes())? => {
                inherit(root, lowers, &name).map_err(Stop)
            }
            _ => Ok(()),
        })
        .map_err(stop)?;
    owed.iter().try_for_each(|name| inherit(root, lowers, name))
}

/// The merged view's entry at `path`, and in which layer it is.
pub(super) fn find<'a>(
    lowers: &'a [RootDir],
    path: &[u8],
) -> nix::Result<Option<(&'a RootDir, FileStat)>> {
    'layers: for layer in lowers {
        let mut opaque = false;
        let mut prefix = 0;
        while prefix < path.len() {
            let end = path[prefix..].iter().position(|&b| b == b'/');
            let end = end.map_or(path.len(), |n| prefix + n);
            let (dir, base) = split(&path[..end]);
            let dir = layer.open_plain(dir, READ_DIR)?;
            opaque |= is_opaque(&dir)?;
            match stat_at(&dir, base) {
                Ok(stat) if is_whiteout(&stat) => return Ok(None),
                Ok(stat) if end == path.len() => return Ok(Some((layer, stat))),
                Ok(stat) if is_dir(&stat) => prefix = end + 1,
                Ok(_) => return Ok(None),
                Err(Errno::ENOENT) if opaque => return Ok(None),
                Err(Errno::ENOENT) => continue 'layers,
                Err(e) => return Err(e),
            }
        }
        return Ok(Some((layer, fstat(layer)?)));
    }
    Ok(None)
}

pub(super) fn is_opaque(dir: impl AsFd) -> nix::Result<bool> {
    let says = |name| Ok(xattr::get(dir.as_fd(), name)?.is_some_and(|value| value == b"y"));
    Ok(says(opaque_xattr())? || crate::rootless::is_confined() && says(FUSE_OPAQUE)?)
}

/// Gives a layer's root the metadata of the one it lies upon; of a new one if there is none.
pub(crate) fn take_after(root: &RootDir, below: Option<&RootDir>) -> Result<()> {
    let fail = |e| root.error("set metadata of", b"", e);
    let dir = root.open_plain(b"", READ_DIR).map_err(fail)?;
    let meta = match below {
        Some(below) => {
            let stat = fstat(below).map_err(fail)?;
            meta_of(&stat, attributes(below).map_err(fail)?)
        }
        None => Meta { mode: 0o755, ..Meta::default() },
    };
    set_metadata(&dir, &meta, Onto::Lower).map_err(fail)?;
    let time = timespec(meta.mtime);
    futimens(&dir, &time, &time).map_err(fail)
}

/// A directory takes after the one it lies upon.
fn inherit(root: &RootDir, lowers: &[RootDir], name: &Name) -> Result<()> {
    let path = name.as_bytes();
    let fail = |e| root.error("set metadata of", path, e);
    let dir = match root.open_plain(path, READ_DIR) {
        Ok(dir) => dir,
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(()),
        Err(e) => return Err(fail(e)),
    };
    let below = find(lowers, path).map_err(fail)?.filter(|(_, stat)| is_dir(stat));
    let meta = match below {
        Some((layer, stat)) => {
            let from = layer.open_plain(path, READ_DIR).map_err(fail)?;
            meta_of(&stat, attributes(&from).map_err(fail)?)
        }
        None => Meta { mode: 0o755, ..Meta::default() },
    };
    set_metadata(&dir, &meta, Onto::New).map_err(fail)?;
    let time = timespec(meta.mtime);
    futimens(&dir, &time, &time).map_err(fail)
}

/// A whiteout with nothing beneath goes.
fn drop_idle(root: &RootDir, lowers: &[RootDir], name: &Name) -> Result<()> {
    let path = name.as_bytes();
    let fail = |e| root.error("remove", path, e);
    if find(lowers, path).map_err(fail)?.is_some() {
        return Ok(());
    }
    let (dir, base) = name.split();
    let Ok(dir) = root.open_plain(dir, READ_DIR) else { return Ok(()) };
    if stat_at(&dir, base).is_ok_and(|stat| is_whiteout(&stat)) {
        keeping_time(&dir, || remove_at(&dir, base)).map_err(fail)?;
    }
    Ok(())
}

/// A hard link to a file that lies below: the file is copied up under its own name, unless
/// this layer removes that, and linked.
fn link_up(
    root: &RootDir,
    lowers: &[RootDir],
    name: &Name,
    target: &Name,
    owed: &mut Vec<Name>,
) -> Result<()> {
    let fail = |e| root.error("link", name.as_bytes(), e);
    let (dir, base) = name.split();
    let dir = open_made(root, dir, owed)?;
    match stat_at(&dir, base) {
        // A later entry of the archive has taken the name.
        Ok(stat) if !is_whiteout(&stat) => return Ok(()),
        Ok(_) => remove_at(&dir, base).map_err(fail)?,
        Err(_) => {}
    }
    let (from_dir, from_base) = target.split();
    // An earlier link may have brought it up already.
    let mine = root.open_plain(from_dir, READ_DIR).ok();
    let mine = mine.and_then(|dir| stat_at(&dir, from_base).ok().map(|stat| (dir, stat)));
    let hidden = match mine {
        Some((from, stat)) if !is_whiteout(&stat) => {
            return keeping_time(&dir, || linkat(&from, from_base, &dir, base, AtFlags::empty()))
                .map_err(fail);
        }
        Some(_) => true,
        None => false,
    };
    let Some((layer, stat)) = find(lowers, target.as_bytes()).map_err(fail)? else {
        let why = format!("it is a hard link to {target}, which isn't there");
        return Err(invalid(&why)).map_err(|e| relabel(e, name));
    };
    if hidden {
        return keeping_time(&dir, || copy_up(layer, target, &stat, &dir, base)).map_err(fail);
    }
    let from = open_made(root, from_dir, owed)?;
    keeping_time(&from, || copy_up(layer, target, &stat, &from, from_base)).map_err(fail)?;
    keeping_time(&dir, || linkat(&from, from_base, &dir, base, AtFlags::empty())).map_err(fail)
}

fn relabel(error: crate::Error, name: &Name) -> crate::Error {
    match error {
        crate::Error::Invalid { why, .. } => {
            crate::Error::invalid(format!("archive entry {name}"), why)
        }
        other => other,
    }
}

/// Opens a directory of this layer, made if it lacks.
fn open_made(root: &RootDir, path: &[u8], owed: &mut Vec<Name>) -> Result<OwnedFd> {
    match root.open_plain(path, READ_DIR) {
        Err(Errno::ENOENT) => {}
        done => return done.map_err(|e| root.error("open", path, e)),
    }
    let (up, base) = split(path);
    let up = open_made(root, up, owed)?;
    keeping_time(&up, || mkdirat(&up, base, Mode::from_bits_truncate(0o755)))
        .map_err(|e| root.error("create", path, e))?;
    owed.push(Name::trusted(path));
    root.open_plain(path, READ_DIR).map_err(|e| root.error("open", path, e))
}

fn copy_up(
    layer: &RootDir,
    path: &Name,
    stat: &FileStat,
    dir: &OwnedFd,
    base: &[u8],
) -> nix::Result<()> {
    let (from_dir, from_base) = path.split();
    let from_dir = layer.open_plain(from_dir, READ_DIR)?;
    match kind(stat) {
        SFlag::S_IFREG => {
            let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
            let mut from = File::from(openat(&from_dir, from_base, flags, Mode::empty())?);
            let flags = OFlag::O_WRONLY
                | OFlag::O_CREAT
                | OFlag::O_EXCL
                | OFlag::O_CLOEXEC
                | OFlag::O_NOFOLLOW;
            let to = openat(dir, base, flags, Mode::from_bits_truncate(0o600))?;
            let mut to = File::from(to);
            io::copy(&mut from, &mut to).map_err(|e| errno(&e))?;
            let meta = meta_of(stat, attributes(&from)?);
            let to = OwnedFd::from(to);
            set_metadata(&to, &meta, Onto::Lower)?;
            let time = timespec(meta.mtime);
            return futimens(&to, &time, &time);
        }
        SFlag::S_IFLNK => symlinkat(readlinkat(&from_dir, from_base)?.as_os_str(), dir, base)?,
        SFlag::S_IFDIR => return Err(Errno::EISDIR),
        other => {
            let mode = Mode::from_bits_truncate(stat.st_mode & 0o7777);
            mknodat(dir, base, other, mode, stat.st_rdev)?;
        }
    }
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    fchownat(dir, base, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if kind(stat) != SFlag::S_IFLNK {
        let mode = Mode::from_bits_truncate(stat.st_mode & 0o7777);
        fchmodat(dir, base, mode, FchmodatFlags::FollowSymlink)?;
    }
    let time = timespec(mtime(stat));
    utimensat(dir, base, &time, &time, UtimensatFlags::NoFollowSymlink)
}

/// Acts in a directory whose time is settled already.
fn keeping_time<T>(dir: &OwnedFd, act: impl FnOnce() -> nix::Result<T>) -> nix::Result<T> {
    let time = timespec(mtime(&fstat(dir)?));
    let done = act()?;
    futimens(open_dir(dir, b"")?, &time, &time)?;
    Ok(done)
}

fn meta_of(stat: &FileStat, xattrs: Vec<(Vec<u8>, Vec<u8>)>) -> Meta {
    Meta {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: mtime(stat),
        xattrs,
    }
}

pub(crate) fn mtime(stat: &FileStat) -> Time {
    Time { secs: stat.st_mtime, nanos: stat.st_mtime_nsec as u32 }
}

/// All attributes but overlay's.
pub(crate) fn attributes(fd: impl AsFd) -> nix::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut all = Vec::new();
    for name in xattr::list(fd.as_fd())? {
        if !is_overlay(name.as_bytes())
            && let Some(value) = xattr::get(fd.as_fd(), &name)?
        {
            all.push((name.into_bytes(), value));
        }
    }
    all.sort();
    Ok(all)
}

pub(super) fn is_overlay(name: &[u8]) -> bool {
    const OWN: [&[u8]; 3] = [b"trusted.overlay.", b"user.overlay.", b"user.fuseoverlayfs."];
    OWN.iter().any(|prefix| name.starts_with(prefix))
}

pub(crate) fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}
