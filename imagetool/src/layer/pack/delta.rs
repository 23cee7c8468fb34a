//! A layer of single changes, each told by who knows what changed.

use std::io::Write;
use std::os::fd::OwnedFd;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag};
use nix::unistd::geteuid;

use super::{Packed, Packer};
use crate::error::{Error, Result};
use crate::layer::at::{RootDir, is_dir, kind, readable};
use crate::layer::entry::wanted;
use crate::layer::header::Item;
use crate::layer::name::{Name, join, split};
use crate::layer::pax::Time;
use crate::layer::remap::Manner;
use crate::layer::settle;
use crate::layer::whiteout::{OPAQUE, PREFIX};

const READ: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_NONBLOCK).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// What every entry goes through on its way into an archive.
#[derive(Clone, Copy, Debug, Default)]
pub struct Adjust<'a> {
    /// Whose the files are inside.
    pub manner: Option<&'a Manner>,
    /// No file is newer: SOURCE_DATE_EPOCH.
    pub newest: Option<i64>,
    /// The mode it should have, if we have changed it to get in.
    pub(super) mode: Option<u32>,
}

impl<'a> Adjust<'a> {
    /// What files of this user's store need.
    pub(super) fn own() -> Self {
        let manner = Some(Manner::own()).filter(|manner| manner.rootless);
        Self { manner, ..Self::default() }
    }

    /// Owners as in an image, no time after `newest`, and only attributes that an image has.
    pub fn new(manner: &'a Manner, newest: Option<i64>) -> Self {
        Self { manner: Some(manner), newest, mode: None }
    }

    /// The entry as it is written.
    pub(super) fn apply<'b>(&self, item: &Item<'b>) -> Result<Option<Item<'b>>> {
        let Some(manner) = self.manner else { return Ok(None) };
        let mut item = item.clone();
        // SPEC: pax: an empty value takes a record back.
        item.xattrs.retain(|(key, value)| wanted(key) && !value.is_empty());
        let path = Name::trusted(item.path.as_slice());
        let ids = manner.inside((item.uid, item.gid), &mut item.xattrs);
        (item.uid, item.gid) = ids.map_err(|e| match e {
            Error::Invalid { why, .. } => Error::invalid(format!("file {path}"), why),
            other => other,
        })?;
        if let Some(newest) = self.newest
            && (item.mtime.secs, item.mtime.nanos) > (newest, 0)
        {
            item.mtime = Time { secs: newest, nanos: 0 };
        }
        item.mode = self.mode.unwrap_or(item.mode);
        Ok(Some(item))
    }
}

/// A layer in the making. The same changes give the same bytes.
pub struct Delta<'a, W: Write> {
    packer: Packer<'a, W>,
}

impl<'a, W: Write> Delta<'a, W> {
    /// Changes in `root`.
    pub fn new(root: &'a RootDir, adjust: Adjust<'a>, out: W) -> Self {
        let packer = Packer::new(std::slice::from_ref(root), false, out);
        Self { packer: Packer { adjust, holes: true, across: true, ..packer } }
    }

    /// What is below `base` comes to lie below `name`.
    #[must_use]
    pub fn renamed(mut self, base: &'a [u8], name: &'a [u8]) -> Self {
        self.packer.rename = Some((base, name));
        self
    }

    /// What is called `base` in `dir` is new or another. Sockets are left out.
    pub fn put(&mut self, dir: &OwnedFd, base: &[u8], path: &[u8], stat: &FileStat) -> Result<()> {
        if base.starts_with(PREFIX) {
            let why = "a name that begins with .wh. means a whiteout in a layer; rename it";
            return Err(Error::invalid(format!("file {}", Name::trusted(path)), why));
        }
        self.packer.adjust.mode = Some(stat.st_mode & 0o7777);
        let closed = kind(stat) == SFlag::S_IFREG && stat.st_mode & 0o400 == 0;
        let done = if is_dir(stat) {
            self.directory(dir, base, path, stat)
        } else if closed && !geteuid().is_root() {
            let mut done = Ok(());
            let opened = readable(dir, base, || {
                openat(dir, base, READ, Mode::empty())?;
                done = self.packer.entry(0, dir, base, path, stat);
                Ok(())
            });
            opened.map_err(|e| self.packer.layers[0].error("read", path, e)).and(done)
        } else {
            self.packer.entry(0, dir, base, path, stat)
        };
        self.packer.adjust.mode = None;
        done
    }

    /// Whether another name of this file is in the layer.
    pub fn has(&self, stat: &FileStat) -> bool {
        self.packer.links.contains_key(&(stat.st_dev, stat.st_ino))
    }

    /// The root itself.
    pub fn put_root(&mut self, root: &OwnedFd, stat: &FileStat) -> Result<()> {
        self.packer.adjust.mode = Some(stat.st_mode & 0o7777);
        let fail = |e| self.packer.layers[0].error("read", b"", e);
        let xattrs = settle::attributes(root).map_err(fail)?;
        let name = match self.packer.rename {
            Some((_, name)) => name,
            None => b"./",
        };
        let done = self.packer.write(&Item { xattrs, ..Item::of(name, stat, b'5') });
        self.packer.adjust.mode = None;
        done
    }

    fn directory(
        &mut self,
        dir: &OwnedFd,
        base: &[u8],
        path: &[u8],
        stat: &FileStat,
    ) -> Result<()> {
        let fail = |e| self.packer.layers[0].error("read", path, e);
        let xattrs = readable(dir, base, || super::attributes_at(dir, base)).map_err(fail)?;
        let name = self.packer.shown(path);
        self.packer.write(&Item { xattrs, ..Item::of(&name, stat, b'5') })
    }

    /// What was at `path` is gone.
    pub fn gone(&mut self, path: &[u8]) -> Result<()> {
        let (dir, base) = split(path);
        self.mark(&join(dir, &[PREFIX, base].concat()))
    }

    /// Nothing that was in the directory at `path` is there any more.
    pub fn opaque(&mut self, path: &[u8]) -> Result<()> {
        self.mark(&join(path, OPAQUE))
    }

    fn mark(&mut self, path: &[u8]) -> Result<()> {
        self.packer.done.entries += 1;
        self.packer.out.item(&Item::file(path, 0o600, 0))
    }

    /// The archive's end.
    pub fn finish(self) -> Result<Packed> {
        self.packer.end()
    }
}
