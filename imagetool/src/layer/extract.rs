//! An archive into a directory that others use: what `cp` and a build's COPY do.
//!
//! Whoever uses it may fight: every parent is opened from the root's descriptor, links in it
//! lead no further than that root, what is made is made anew and never written through a
//! link, and a directory is never removed. Names that mean whiteouts in layers mean themselves.

use std::fs::File;
use std::io::BufRead;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::apply::{Applied, Apply, Owner, Place, Sink, apply};
use super::at::{RootDir, is_dir, kind, stat_at};
use super::entry::Entries;
use super::journal::Journal;
use super::seal::seal;
use crate::error::{Error, Result};

/// Unpacks `entries` into `root`. A file that can't be finished is taken away again.
///
/// Must run on a thread of its own, as [`apply`] must.
pub fn extract<R: BufRead>(
    root: &RootDir,
    entries: &mut Entries<R>,
    owner: Owner,
    mut journal: Journal,
) -> Result<Applied> {
    let done = apply(root, entries, Sink::Live(owner), &mut journal)?;
    seal(root, &journal, Sink::Live(owner))?;
    Ok(done)
}

impl Apply<'_> {
    /// Removes what stands in the way, but for directories.
    pub(super) fn replace(&mut self, at: &Place<'_>) -> Result<()> {
        let Ok(stat) = stat_at(&at.parent.fd, at.base) else { return Ok(()) };
        let directory = || Error::Overwrite { path: at.path.to_vec(), directory: true };
        if is_dir(&stat) {
            return Err(directory());
        }
        if kind(&stat) == SFlag::S_IFLNK {
            self.parents.forget();
        }
        match unlinkat(&at.parent.fd, at.base, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(Errno::EISDIR) => Err(directory()),
            Err(e) => Err(self.root.error("replace", at.path, e)),
        }
    }

    /// A new file; or the one there, emptied, where something is mounted on it (`true`).
    pub(super) fn fresh_file(
        &mut self,
        at: &Place<'_>,
        make: impl Fn() -> nix::Result<OwnedFd>,
    ) -> Result<(OwnedFd, bool)> {
        match self.fresh(at, "create", make) {
            Err(Error::Io { source, .. })
                if matches!(self.sink, Sink::Live(_))
                    && source.raw_os_error() == Some(libc::EBUSY) =>
            {
                let fail = |e| self.root.error("write", at.path, e);
                mounted_file(at).map(|file| (file.into(), true)).map_err(fail)
            }
            made => made.map(|fd| (fd, false)),
        }
    }
}

/// A bind of a single file, such as /etc/hosts, can't be replaced, only written.
/// DIFFERS: docker gives up there.
fn mounted_file(at: &Place<'_>) -> nix::Result<File> {
    let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let fd = openat(&at.parent.fd, at.base, flags, Mode::empty())?;
    if kind(&fstat(&fd)?) != SFlag::S_IFREG {
        return Err(Errno::EBUSY);
    }
    nix::unistd::ftruncate(&fd, 0)?;
    Ok(fd.into())
}
