//! Directories get their metadata when nothing more comes into them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use dhow_kernel::xattr;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, fchmod, futimens};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, getegid, geteuid};

use super::apply::{Owner, Sink};
use super::at::RootDir;
use super::entry::Meta;
use super::journal::{Debt, Journal};
use super::make::set_attribute;
use super::pax::Time;
use crate::error::{Error, Result};

pub(super) fn timespec(time: Time) -> TimeSpec {
    TimeSpec::new(time.secs, i64::from(time.nanos))
}

/// Gives the directories the metadata that is owed to them, each once.
///
/// Root may do that in any order. Others must do it deepest first, or a directory
/// without search permission would hide those below it.
pub fn seal(root: &RootDir, journal: &Journal, sink: Sink) -> Result<()> {
    let how = match sink {
        Sink::Plain { first: false } => Onto::Lower,
        Sink::Plain { first: true } | Sink::Overlay => Onto::New,
        Sink::Live(Owner::Maker) => Onto::Kept,
        Sink::Live(_) => Onto::Shared,
    };
    if geteuid().is_root() {
        return journal
            .dirs
            .each(|debt| seal_one(root, debt, how).map_err(Stop))
            .map_err(|Stop(e)| e);
    }
    for level in (0..=journal.deepest).rev() {
        journal
            .dirs
            .each(|debt| match &debt {
                Debt::Seal(name, _) | Debt::Restore(name, _)
                    if super::name::depth(name.as_bytes()) == level =>
                {
                    seal_one(root, debt, how).map_err(Stop)
                }
                _ => Ok(()),
            })
            .map_err(|Stop(e)| e)?;
    }
    Ok(())
}

/// Lets [`Spool::each`](super::journal::Spool::each) stop at our errors and at its own.
pub(super) struct Stop(pub Error);

impl From<io::Error> for Stop {
    fn from(e: io::Error) -> Self {
        Self(Error::io("read", "the layer's journal", e))
    }
}

fn seal_one(root: &RootDir, debt: Debt, how: Onto) -> Result<()> {
    let (name, meta, time) = match debt {
        Debt::Seal(name, meta) => (name, Some(meta.clone()), meta.mtime),
        Debt::Restore(name, time) => (name, None, time),
        _ => return Ok(()),
    };
    let path = name.as_bytes();
    let dir = match root.open_plain(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
        Ok(dir) => dir,
        // A later entry has put something else there.
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(()),
        Err(e) => return Err(root.error("open", path, e)),
    };
    if let Some(meta) = meta {
        set_metadata(&dir, &meta, how).map_err(|e| root.error("set metadata of", path, e))?;
    }
    let time = timespec(time);
    futimens(&dir, &time, &time).map_err(|e| root.error("set the time of", path, e))
}

/// What the metadata comes upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Onto {
    /// What we have just made.
    New,
    /// What a layer below may have made: its attributes go.
    Lower,
    /// What others may have made: its attributes stay.
    Shared,
    /// The same, and its owner stays.
    Kept,
}

/// Owner, mode and attributes.
pub(super) fn set_metadata(fd: &OwnedFd, meta: &Meta, onto: Onto) -> nix::Result<()> {
    let ours = (meta.uid, meta.gid) == (geteuid().as_raw(), getegid().as_raw());
    if onto != Onto::Kept && !(onto == Onto::New && ours) {
        fchown(fd, Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)))?;
    }
    fchmod(fd, Mode::from_bits_truncate(meta.mode))?;
    if onto == Onto::Lower {
        for key in xattr::list(fd)? {
            if !meta.xattrs.iter().any(|(k, _)| k == key.as_bytes()) {
                match xattr::remove(fd.as_fd(), &key) {
                    Ok(()) | Err(Errno::ENODATA | Errno::EPERM | Errno::EOPNOTSUPP) => {}
                    Err(e) => return Err(e),
                }
            }
        }
    }
    for (key, value) in &meta.xattrs {
        set_attribute(key, |key| xattr::set(fd, key, value))?;
    }
    Ok(())
}
