//! Directories get their metadata when nothing more comes into them.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use dhow_kernel::xattr;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, UtimensatFlags, fchmod, fstat, futimens, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, getegid, geteuid};

use super::apply::{Owner, Sink};
use super::at::{RootDir, is_dir, stat_at};
use super::entry::Meta;
use super::journal::{Debt, Journal};
use super::make::set_attribute;
use super::name::Name;
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
    seal_with(root, journal, sink, None)
}

/// The same, but with `closed` directories stay open to their owner until [`Closed::close`].
pub fn seal_with(
    root: &RootDir,
    journal: &Journal,
    sink: Sink,
    mut closed: Option<&mut Closed>,
) -> Result<()> {
    let how = match sink {
        Sink::Plain { first: false } => Onto::Lower,
        Sink::Plain { first: true } | Sink::Overlay => Onto::New,
        Sink::Live(Owner::Maker) => Onto::Kept,
        Sink::Live(_) => Onto::Shared,
    };
    if geteuid().is_root() || closed.is_some() {
        let mut above = Above::default();
        let mut seal = |debt: Debt| match &debt {
            Debt::Seal(name, meta)
                if how == Onto::New && closed.is_none() && above.stamp(root, name, meta) =>
            {
                Ok(())
            }
            _ => seal_one(root, debt, how, closed.as_deref_mut()).map_err(Stop),
        };
        return journal.dirs.each(&mut seal).map_err(|Stop(e)| e);
    }
    for level in (0..=journal.deepest).rev() {
        journal
            .dirs
            .each(|debt| match &debt {
                Debt::Seal(name, _) | Debt::Restore(name, _)
                    if super::name::depth(name.as_bytes()) == level =>
                {
                    seal_one(root, debt, how, None).map_err(Stop)
                }
                _ => Ok(()),
            })
            .map_err(|Stop(e)| e)?;
    }
    Ok(())
}

/// Directories that are kept open to their owner for a while, and the modes they should have.
///
/// Without root, a directory of an image that nobody may enter would keep the layers above,
/// and whoever looks at the whole, out of it.
#[derive(Clone, Debug, Default)]
pub struct Closed(BTreeMap<Vec<u8>, u32>);

/// An image that closes more directories is none that we know what to do with.
const MOST_CLOSED: usize = 1 << 16;

impl Closed {
    /// Notes a directory's mode; the one it has meanwhile.
    pub(crate) fn open(&mut self, path: &[u8], mode: u32) -> Result<u32> {
        if mode & 0o700 == 0o700 {
            self.0.remove(path);
            return Ok(mode);
        }
        if self.0.len() >= MOST_CLOSED {
            let why = "more than 65536 directories are closed to their owner; unpack as root";
            return Err(Error::invalid("image", why));
        }
        self.0.insert(path.to_vec(), mode);
        Ok(mode | 0o700)
    }

    /// The mode that a directory should have, if it is another than it has now.
    pub fn mode(&self, path: &[u8]) -> Option<u32> {
        self.0.get(path).copied()
    }

    /// Gives the directories their modes, the deepest first.
    pub fn close(&self, root: &RootDir) -> Result<()> {
        for (path, &mode) in self.0.iter().rev() {
            let fail = |e| root.error("change the mode of", path, e);
            let dir = match root.open_plain(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => continue,
                dir => dir.map_err(fail)?,
            };
            // A later layer may have made another one.
            if fstat(&dir).map_err(fail)?.st_mode & 0o7777 == mode | 0o700 {
                fchmod(&dir, Mode::from_bits_truncate(mode)).map_err(fail)?;
            }
        }
        Ok(())
    }
}

/// Lets [`Spool::each`](super::journal::Spool::each) stop at our errors and at its own.
pub(super) struct Stop(pub Error);

impl From<io::Error> for Stop {
    fn from(e: io::Error) -> Self {
        Self(Error::io("read", "the layer's journal", e))
    }
}

/// The directories above those that get their metadata: opened once, a few kept.
#[derive(Default)]
struct Above(HashMap<Vec<u8>, OwnedFd>);

impl Above {
    /// Gives a directory its time, if that is all it lacks: two calls in the place of four. Where it may
    /// lack more, or isn't what it was, nothing is done, and `false` said.
    fn stamp(&mut self, root: &RootDir, name: &Name, meta: &Meta) -> bool {
        /// Archives go directory by directory.
        const KEPT: usize = 64;
        if !meta.xattrs.is_empty() || name.is_root() {
            return false;
        }
        let (above, base) = name.split();
        if !self.0.contains_key(above) {
            let Ok(dir) = root.open_plain(above, OFlag::O_PATH | OFlag::O_DIRECTORY) else {
                return false;
            };
            if self.0.len() >= KEPT {
                self.0.clear();
            }
            self.0.insert(above.to_vec(), dir);
        }
        let Some(above) = self.0.get(above) else { return false };
        let time = timespec(meta.mtime);
        stat_at(above, base).is_ok_and(|stat| {
            is_dir(&stat)
                && stat.st_mode & 0o7777 == meta.mode
                && (stat.st_uid, stat.st_gid) == (meta.uid, meta.gid)
        }) && utimensat(above, base, &time, &time, UtimensatFlags::NoFollowSymlink).is_ok()
    }
}

fn seal_one(root: &RootDir, debt: Debt, how: Onto, closed: Option<&mut Closed>) -> Result<()> {
    let (name, mut meta, time) = match debt {
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
    if let (Some(meta), Some(closed)) = (&mut meta, closed) {
        meta.mode = closed.open(path, meta.mode)?;
    }
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
        set_attribute((key, value), |key| xattr::set(fd, key, value))?;
    }
    Ok(())
}
