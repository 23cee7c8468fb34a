//! A root's directories, one after the other: what is in each, sorted, in little memory.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstat};

use crate::error::{Error, Result};
use crate::layer::at::{chmod, readable, stat_at};
use crate::layer::name::{MAX_PATH, ancestors, show};
use crate::layer::{Closed, RootDir, entry, pack, settle};

const READ_DIR: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY);

/// The names in a directory, in order: two numbers and the bytes for each.
#[derive(Debug, Default)]
pub(super) struct Names {
    bytes: Vec<u8>,
    places: Vec<(u32, u16)>,
}

impl Names {
    fn read(dir: OwnedFd) -> nix::Result<Self> {
        let mut this = Self::default();
        for entry in nix::dir::Dir::from_fd(dir)?.iter() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                let start = u32::try_from(this.bytes.len()).map_err(|_| Errno::EOVERFLOW)?;
                this.places.push((start, name.len() as u16));
                this.bytes.extend_from_slice(name);
            }
        }
        let bytes = &this.bytes;
        let name = |&(start, len): &(u32, u16)| &bytes[start as usize..][..usize::from(len)];
        this.places.sort_unstable_by(|a, b| name(a).cmp(name(b)));
        Ok(this)
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let name = |&(start, len): &(u32, u16)| &self.bytes[start as usize..][..usize::from(len)];
        self.places.iter().map(name)
    }
}

/// The way through a root.
pub(super) struct Walk<'a> {
    pub root: &'a RootDir,
    /// Directories that are open to us for now, and the modes that they should have.
    pub closed: Closed,
    device: u64,
}

impl<'a> Walk<'a> {
    pub fn new(root: &'a RootDir, closed: Closed) -> Result<Self> {
        let stat = fstat(root).map_err(|e| root.error("stat", b"", e))?;
        Ok(Self { root, closed, device: stat.st_dev })
    }

    /// Whether something else is mounted on a directory: no part of the root then.
    pub fn is_mount(&self, stat: &FileStat) -> bool {
        stat.st_dev != self.device
    }

    /// A directory and its names. Without root, one that is closed is opened for a while.
    pub fn list(&mut self, path: &[u8]) -> Result<(OwnedFd, Names)> {
        if path.len() > MAX_PATH {
            let why = "it is longer than 4095 bytes: nothing could unpack it";
            return Err(Error::invalid(format!("path {}", show(path)), why));
        }
        let fail = |e| self.root.error("read", path, e);
        let dir = match self.root.open_plain(path, READ_DIR) {
            Err(Errno::EACCES) => {
                self.open_up(path)?;
                self.root.open_plain(path, READ_DIR)
            }
            dir => dir,
        };
        let dir = dir.map_err(fail)?;
        let listing = self.root.open_plain(path, READ_DIR).map_err(fail)?;
        Ok((dir, Names::read(listing).map_err(fail)?))
    }

    /// What is called `base` in a directory, with the mode that it should have.
    pub fn stat(&self, dir: &OwnedFd, base: &[u8], path: &[u8]) -> Result<FileStat> {
        let found = self.look(dir, base, path)?;
        found.ok_or_else(|| self.root.error("stat", path, Errno::ENOENT))
    }

    /// The same for what may have vanished.
    pub fn look(&self, dir: &OwnedFd, base: &[u8], path: &[u8]) -> Result<Option<FileStat>> {
        match stat_at(dir, base) {
            Ok(mut stat) => {
                self.right(&mut stat, path);
                Ok(Some(stat))
            }
            Err(Errno::ENOENT) => Ok(None),
            Err(e) => Err(self.root.error("stat", path, e)),
        }
    }

    /// What the root itself is.
    pub fn top(&self) -> Result<FileStat> {
        let mut stat = fstat(self.root).map_err(|e| self.root.error("stat", b"", e))?;
        self.right(&mut stat, b"");
        Ok(stat)
    }

    fn right(&self, stat: &mut FileStat, path: &[u8]) {
        if let Some(mode) = self.closed.mode(path) {
            stat.st_mode = stat.st_mode & !0o7777 | mode;
        }
    }

    /// Opens a directory and those above it to their owner, which we must be.
    fn open_up(&mut self, path: &[u8]) -> Result<()> {
        let all: Vec<&[u8]> = std::iter::once(b"".as_slice()).chain(ancestors(path)).collect();
        let (top, below) = all.split_first().expect("never empty");
        for path in [*top].into_iter().chain(below.iter().rev().copied()) {
            let fail = |e| self.root.error("open", path, e);
            let dir = self.root.open_plain(path, OFlag::O_PATH | OFlag::O_DIRECTORY);
            let dir = dir.map_err(fail)?;
            let mode = fstat(&dir).map_err(fail)?.st_mode & 0o7777;
            if mode & 0o700 != 0o700 {
                chmod(&dir, self.closed.open(path, mode)?).map_err(fail)?;
            }
        }
        Ok(())
    }

    /// Closes again what was opened.
    pub fn close(&mut self) -> Result<()> {
        std::mem::take(&mut self.closed).close(self.root)
    }
}

impl Drop for Walk<'_> {
    fn drop(&mut self) {
        // On the way of another error, which counts.
        let _ = self.close();
    }
}

/// Opens a regular file to read.
pub(super) fn open_file(dir: impl AsFd, base: &[u8]) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    readable(&dir, base, || openat(dir.as_fd(), base, flags, Mode::empty()))
}

/// The attributes that are an image's, sorted; of the directory itself if `base` is empty.
pub(super) fn attributes(dir: impl AsFd, base: &[u8]) -> nix::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let all = if base.is_empty() {
        settle::attributes(dir)
    } else {
        readable(&dir, base, || pack::attributes_at(&dir, base))
    };
    // SPEC: pax: an empty value takes a record back; umoci leaves such attributes out, too.
    all.map(|all| all.into_iter().filter(|(k, v)| entry::wanted(k) && !v.is_empty()).collect())
}
