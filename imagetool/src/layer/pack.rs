//! Directories become tar streams: the same tree always gives the same bytes.
//!
//! Sorted by name, numbers only, no times but the files' own; pax records for what the
//! ustar header can't hold (long and non-ASCII names, nanoseconds, attributes, large
//! numbers). Hard links are kept, sockets left out, mount points entered no further.

mod delta;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, major, minor};

use dhow_kernel::xattr;

use super::at::{RootDir, is_dir, is_whiteout, kind, names, stat_at};
use super::bare::Mounts;
use super::header::{Item, Writer};
use super::holes;
use super::name::join;
use super::settle::{attributes, errno, is_opaque, is_overlay};
use super::sparse::Segment;
use super::whiteout::{OPAQUE, PREFIX, is_fuse_mark};
use crate::error::{Error, Result};

pub use delta::{Adjust, Delta};

const READ_DIR: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY);
const BUFFER: usize = 256 << 10;

/// What a stream came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// The lengths of its regular files together.
    pub size: u64,
    /// Its entries.
    pub entries: u64,
    /// The bytes of a plain ustar archive of the same entries.
    pub plain: u64,
}

/// One file or directory with all below it, to be written by [`tree`].
#[derive(Clone, Copy, Debug)]
pub struct Tree<'a> {
    /// The directory it is in.
    pub root: &'a RootDir,
    /// What it is called there; empty for the directory itself.
    pub base: &'a [u8],
    /// What it is called in the archive.
    pub name: &'a [u8],
    /// Holes are left out, in GNU's format; not every reader knows it.
    pub holes: bool,
}

/// Writes the merged view of overlay layers, topmost first, as a tar. One plain directory
/// is a stack of one.
pub fn export(layers: &[RootDir], out: impl Write) -> Result<Packed> {
    Packer::new(layers, false, out).run()
}

/// Writes what an overlay upper directory (the first of `layers`; the others lie below it,
/// topmost first) changes, as a layer: its whiteouts and opaque directories take the form they
/// have in archives. `mounts`, paths such as `etc/hosts`, are left out where they are empty and
/// new: something was mounted there, and nothing else.
pub fn diff(layers: &[RootDir], mounts: &[&[u8]], out: impl Write) -> Result<Packed> {
    let (upper, lowers) = layers.split_at(layers.len().min(1));
    Packer { mounts: Mounts { upper, lowers, places: mounts }, ..Packer::new(upper, true, out) }
        .run()
}

/// Writes a tree that others may be changing meanwhile: what vanishes was never there, and what
/// is exchanged for a link is not followed. Mount points are entered, links to them are not.
pub fn tree(tree: &Tree<'_>, out: impl Write) -> Result<Packed> {
    let rename = Some((tree.base, tree.name));
    let layers = std::slice::from_ref(tree.root);
    Packer { rename, across: true, holes: tree.holes, ..Packer::new(layers, false, out) }
        .run_tree(tree.base)
}

struct Packer<'a, W> {
    layers: &'a [RootDir],
    /// Whiteouts are written, not obeyed.
    changes: bool,
    /// A path's beginning, and what stands for it in the archive.
    rename: Option<(&'a [u8], &'a [u8])>,
    /// Mount points are entered.
    across: bool,
    /// Holes are left out.
    holes: bool,
    /// What isn't written.
    mounts: Mounts<'a>,
    adjust: Adjust<'a>,
    out: Writer<W>,
    /// Where a file with several names was written first.
    links: HashMap<(u64, u64), Vec<u8>>,
    buffer: Vec<u8>,
    device: u64,
    done: Packed,
}

/// A name in a directory of the merged view.
struct Child {
    /// The layer that shows it; `None` if it is whited out.
    top: Option<usize>,
    /// The layers whose directories of this name are merged.
    merged: Vec<usize>,
    /// No layer further down counts.
    closed: bool,
}

impl<'a, W: Write> Packer<'a, W> {
    fn new(layers: &'a [RootDir], changes: bool, out: W) -> Self {
        Self {
            layers,
            changes,
            rename: None,
            across: false,
            holes: false,
            mounts: Mounts::default(),
            adjust: Adjust::own(),
            out: Writer::new(out),
            links: HashMap::new(),
            buffer: vec![0; BUFFER],
            device: 0,
            done: Packed::default(),
        }
    }

    fn run(mut self) -> Result<Packed> {
        if let Some(top) = self.layers.first() {
            self.device = fstat(top).map_err(|e| top.error("stat", b"", e))?.st_dev;
        }
        let all: Vec<usize> = (0..self.layers.len()).collect();
        self.directory(b"", &all)?;
        self.end()
    }

    fn end(mut self) -> Result<Packed> {
        self.out.finish()?;
        self.done.plain += 1024;
        Ok(self.done)
    }

    fn run_tree(mut self, base: &[u8]) -> Result<Packed> {
        let dir = self.open(0, b"")?.ok_or_else(|| self.fail(0, "open", b"", Errno::ENOENT))?;
        let stat = if base.is_empty() { fstat(&dir) } else { stat_at(&dir, base) };
        let stat = stat.map_err(|e| self.fail(0, "read", base, e))?;
        self.entry(0, &dir, base, base, &stat)?;
        drop(dir);
        if is_dir(&stat) {
            self.directory(base, &[0])?;
        }
        self.end()
    }

    /// A path as the archive has it.
    fn shown(&self, path: &[u8]) -> Vec<u8> {
        let Some((base, name)) = self.rename else { return path.to_vec() };
        let rest = path.strip_prefix(base).unwrap_or(path);
        let rest = rest.strip_prefix(b"/").unwrap_or(rest);
        match (name, rest) {
            (_, b"") => name.to_vec(),
            (b"/", _) => [b"/", rest].concat(),
            _ => join(name, rest),
        }
    }

    fn directory(&mut self, path: &[u8], active: &[usize]) -> Result<()> {
        if self.changes
            && let Some(&only) = active.first()
            && let Some(dir) = self.open(only, path)?
            && is_opaque(dir).map_err(|e| self.fail(only, "read", path, e))?
            && !path.is_empty()
        {
            self.write(&Item::file(&join(path, OPAQUE), 0o600, 0))?;
        }
        for (base, child) in self.children(path, active)? {
            let Some(top) = child.top else { continue };
            let whole = join(path, &base);
            // What vanishes while a live tree is read was never there.
            let Some((dir, stat)) = self.look(top, path, &base)? else { continue };
            if self.mounts.only(&whole, &stat).map_err(|e| self.fail(top, "read", &whole, e))? {
                continue;
            }
            self.entry(top, &dir, &base, &whole, &stat)?;
            drop(dir); // a tree may be deep
            if is_dir(&stat) && (self.across || stat.st_dev == self.device) {
                self.directory(&whole, &child.merged)?;
            }
        }
        Ok(())
    }

    /// The names in a directory and who shows them.
    fn children(&self, path: &[u8], active: &[usize]) -> Result<BTreeMap<Vec<u8>, Child>> {
        let mut children: BTreeMap<Vec<u8>, Child> = BTreeMap::new();
        for &layer in active {
            let Some(dir) = self.open(layer, path)? else { continue };
            let fail = |e| self.fail(layer, "read", path, e);
            let opaque = is_opaque(&dir).map_err(fail)?;
            let listing = dir.try_clone().map_err(Error::at("read", self.layers[layer].path()))?;
            for base in names(listing).map_err(fail)? {
                if children.get(&base).is_some_and(|child| child.closed) || is_fuse_mark(&base) {
                    continue;
                }
                let Ok(stat) = stat_at(&dir, &base) else { continue };
                let (directory, gone) =
                    (is_dir(&stat), is_whiteout(&stat) && !self.changes && !self.across);
                let child = children.entry(base).or_insert_with(|| Child {
                    top: (!gone).then_some(layer),
                    merged: Vec::new(),
                    closed: false,
                });
                child.closed = !directory;
                if directory {
                    child.merged.push(layer);
                }
            }
            if opaque {
                break;
            }
        }
        Ok(children)
    }

    fn look(&self, layer: usize, path: &[u8], base: &[u8]) -> Result<Option<(OwnedFd, FileStat)>> {
        let Some(dir) = self.open(layer, path)? else { return Ok(None) };
        match stat_at(&dir, base) {
            Ok(stat) => Ok(Some((dir, stat))),
            Err(Errno::ENOENT) => Ok(None),
            Err(e) => Err(self.fail(layer, "stat", &join(path, base), e)),
        }
    }

    fn entry(
        &mut self,
        layer: usize,
        dir: &OwnedFd,
        base: &[u8],
        path: &[u8],
        stat: &FileStat,
    ) -> Result<()> {
        if self.changes && is_whiteout(stat) {
            let (up, _) = super::name::split(path);
            let hidden = join(up, &[PREFIX, base].concat());
            return self.write(&Item::file(&hidden, 0o600, 0));
        }
        if kind(stat) == SFlag::S_IFSOCK {
            return Ok(()); // SPEC: tar has no sockets
        }
        let id = (stat.st_dev, stat.st_ino);
        let linked = stat.st_nlink > 1 && !is_dir(stat);
        let name = self.shown(path);
        if linked && let Some(first) = self.links.get(&id) {
            let first = first.clone();
            return self.write(&Item { link: Some(&first), ..Item::of(&name, stat, b'1') });
        }
        if self.one(layer, dir, base, path, stat)? && linked {
            self.links.insert(id, name);
        }
        Ok(())
    }

    /// An entry that is no link to an earlier one; `false` if it has vanished meanwhile.
    fn one(
        &mut self,
        layer: usize,
        dir: &OwnedFd,
        base: &[u8],
        path: &[u8],
        stat: &FileStat,
    ) -> Result<bool> {
        let name = self.shown(path);
        let fail = |e| self.fail(layer, "read", path, e);
        let gone = |e| matches!(e, Errno::ENOENT | Errno::EINVAL | Errno::ENOTDIR);
        match kind(stat) {
            SFlag::S_IFREG => return self.file(layer, dir, base, path),
            SFlag::S_IFDIR => {
                let Some(here) = self.open(layer, path)? else { return Ok(false) };
                let xattrs = attributes(&here).map_err(fail)?;
                self.write(&Item { xattrs, ..Item::of(&name, stat, b'5') })?;
            }
            SFlag::S_IFLNK => {
                let text = match readlinkat(dir, base) {
                    Err(e) if gone(e) => return Ok(false),
                    text => std::os::unix::ffi::OsStringExt::into_vec(text.map_err(fail)?),
                };
                let xattrs = attributes_at(dir, base).map_err(fail)?;
                self.write(&Item { link: Some(&text), xattrs, ..Item::of(&name, stat, b'2') })?;
            }
            SFlag::S_IFCHR | SFlag::S_IFBLK => {
                let flag = if kind(stat) == SFlag::S_IFCHR { b'3' } else { b'4' };
                let device = Some((major(stat.st_rdev), minor(stat.st_rdev)));
                let xattrs = attributes_at(dir, base).map_err(fail)?;
                self.write(&Item { device, xattrs, ..Item::of(&name, stat, flag) })?;
            }
            _ => {
                let xattrs = attributes_at(dir, base).map_err(fail)?;
                self.write(&Item { xattrs, ..Item::of(&name, stat, b'6') })?;
            }
        }
        Ok(true)
    }

    fn file(&mut self, layer: usize, dir: &OwnedFd, base: &[u8], path: &[u8]) -> Result<bool> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let fail = |e| self.fail(layer, "read", path, e);
        let file = match openat(dir, base, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            // Gone, or a link, socket or device by now.
            Err(Errno::ENOENT | Errno::ELOOP | Errno::ENXIO) => return Ok(false),
            Err(e) => match stat_at(dir, base) {
                Ok(stat) if kind(&stat) == SFlag::S_IFREG => return Err(fail(e)),
                _ => return Ok(false),
            },
        };
        let stat = fstat(&file).map_err(fail)?;
        if kind(&stat) != SFlag::S_IFREG {
            return Ok(false);
        }
        let xattrs = attributes(&file).map_err(fail)?;
        let size = stat.st_size.cast_unsigned();
        let item = Item { size, xattrs, ..Item::of(&self.shown(path), &stat, b'0') };
        let sparse = if self.holes { holes::map(&file, &stat).map_err(fail)? } else { None };
        self.done.size += size;
        self.done.plain += size.next_multiple_of(512);
        let Some(sparse) = sparse else {
            self.write(&item)?;
            self.copy(layer, path, &file, Segment { offset: 0, length: size })?;
            return self.out.pad(size).map(|()| true);
        };
        let table = holes::table(&sparse);
        let data = sparse.iter().map(|s| s.length).sum::<u64>();
        let stored = table.len() as u64 + data;
        self.write(&Item { size: stored, whole: Some(size), ..item })?;
        self.out.data(&table)?;
        for segment in sparse {
            self.copy(layer, path, &file, segment)?;
        }
        self.out.pad(stored).map(|()| true)
    }

    /// A part of a file, as long as promised: a live file may shrink.
    fn copy(&mut self, layer: usize, path: &[u8], file: &File, part: Segment) -> Result<()> {
        let (mut at, end) = (part.offset, part.offset + part.length);
        while at < end {
            let want = (end - at).min(BUFFER as u64) as usize;
            let read = file.read_at(&mut self.buffer[..want], at);
            let n = read.map_err(|e| self.fail(layer, "read", path, errno(&e)))?;
            if n == 0 {
                self.buffer[..want].fill(0);
            }
            let n = if n == 0 { want } else { n };
            self.out.data(&self.buffer[..n])?;
            at += n as u64;
        }
        Ok(())
    }

    fn write(&mut self, item: &Item<'_>) -> Result<()> {
        self.done.entries += 1;
        self.done.plain += 512;
        match self.adjust.apply(item)? {
            Some(adjusted) => self.out.item(&adjusted),
            None => self.out.item(item),
        }
    }

    /// A directory, unless it is gone or something else by now.
    fn open(&self, layer: usize, path: &[u8]) -> Result<Option<OwnedFd>> {
        let root = &self.layers[layer];
        match root.open_plain(path, READ_DIR) {
            Ok(dir) => Ok(Some(dir)),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) if !path.is_empty() => Ok(None),
            Err(e) => Err(root.error("open", path, e)),
        }
    }

    fn fail(&self, layer: usize, action: &'static str, path: &[u8], errno: Errno) -> Error {
        self.layers[layer].error(action, path, errno)
    }
}

/// All attributes but overlay's, of what can't be opened.
pub(crate) fn attributes_at(dir: impl AsFd, base: &[u8]) -> nix::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut all = Vec::new();
    for name in xattr::list_at(dir.as_fd(), base)? {
        if !is_overlay(name.as_bytes())
            && let Some(value) = xattr::get_at(dir.as_fd(), base, &name)?
        {
            all.push((name.into_bytes(), value));
        }
    }
    all.sort();
    Ok(all)
}
