//! Directories become tar streams: the same tree always gives the same bytes.
//!
//! Sorted by name, numbers only, no times but the files' own; pax records for what the
//! ustar header can't hold (long and non-ASCII names, nanoseconds, attributes, large
//! numbers). Hard links are kept, sockets left out, mount points entered no further.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, major, minor};

use dhow_kernel::xattr;

use super::at::{RootDir, is_dir, is_whiteout, kind, names, stat_at};
use super::header::{Item, Writer};
use super::name::join;
use super::settle::{attributes, is_opaque, is_overlay};
use super::whiteout::{OPAQUE, PREFIX};
use crate::error::{Error, Result};

const READ_DIR: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY);
const BUFFER: usize = 256 << 10;

/// What a stream came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// The lengths of its regular files together.
    pub size: u64,
    /// Its entries.
    pub entries: u64,
}

/// Writes the merged view of overlay layers, topmost first, as a tar. One plain directory
/// is a stack of one.
pub fn export(layers: &[RootDir], out: impl Write) -> Result<Packed> {
    Packer::new(layers, false, out).run()
}

/// Writes what an overlay upper directory changes, as a layer: its whiteouts and opaque
/// directories take the form they have in archives.
pub fn diff(upper: &RootDir, out: impl Write) -> Result<Packed> {
    Packer::new(std::slice::from_ref(upper), true, out).run()
}

struct Packer<'a, W> {
    layers: &'a [RootDir],
    /// Whiteouts are written, not obeyed.
    changes: bool,
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
        self.out.finish()?;
        Ok(self.done)
    }

    fn directory(&mut self, path: &[u8], active: &[usize]) -> Result<()> {
        if self.changes
            && let Some(&only) = active.first()
            && is_opaque(self.open(only, path)?).map_err(|e| self.fail(only, "read", path, e))?
            && !path.is_empty()
        {
            self.write(&Item::file(&join(path, OPAQUE), 0o600, 0))?;
        }
        for (base, child) in self.children(path, active)? {
            let Some(top) = child.top else { continue };
            let whole = join(path, &base);
            // What vanishes while a live tree is read was never there.
            let Some((dir, stat)) = self.look(top, path, &base)? else { continue };
            self.entry(top, &dir, &base, &whole, &stat)?;
            if is_dir(&stat) && stat.st_dev == self.device {
                self.directory(&whole, &child.merged)?;
            }
        }
        Ok(())
    }

    /// The names in a directory and who shows them.
    fn children(&self, path: &[u8], active: &[usize]) -> Result<BTreeMap<Vec<u8>, Child>> {
        let mut children: BTreeMap<Vec<u8>, Child> = BTreeMap::new();
        for &layer in active {
            let dir = self.open(layer, path)?;
            let fail = |e| self.fail(layer, "read", path, e);
            let opaque = is_opaque(&dir).map_err(fail)?;
            let listing = dir.try_clone().map_err(Error::at("read", self.layers[layer].path()))?;
            for base in names(listing).map_err(fail)? {
                if children.get(&base).is_some_and(|child| child.closed) {
                    continue;
                }
                let Ok(stat) = stat_at(&dir, &base) else { continue };
                let (directory, gone) = (is_dir(&stat), is_whiteout(&stat) && !self.changes);
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
        let dir = self.open(layer, path)?;
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
        let id = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1 && !is_dir(stat) {
            if let Some(first) = self.links.get(&id) {
                let first = first.clone();
                return self.write(&Item { link: Some(&first), ..Item::of(path, stat, b'1') });
            }
            self.links.insert(id, path.to_vec());
        }
        let fail = |e| self.fail(layer, "read", path, e);
        match kind(stat) {
            SFlag::S_IFREG => self.file(layer, dir, base, path),
            SFlag::S_IFDIR => {
                let here = self.open(layer, path)?;
                let xattrs = attributes(&here).map_err(fail)?;
                self.write(&Item { xattrs, ..Item::of(path, stat, b'5') })
            }
            SFlag::S_IFLNK => {
                let text = readlinkat(dir, base).map_err(fail)?;
                let text = std::os::unix::ffi::OsStringExt::into_vec(text);
                let xattrs = attributes_at(dir, base).map_err(fail)?;
                self.write(&Item { link: Some(&text), xattrs, ..Item::of(path, stat, b'2') })
            }
            SFlag::S_IFCHR | SFlag::S_IFBLK => {
                let flag = if kind(stat) == SFlag::S_IFCHR { b'3' } else { b'4' };
                let device = Some((major(stat.st_rdev), minor(stat.st_rdev)));
                let xattrs = attributes_at(dir, base).map_err(fail)?;
                self.write(&Item { device, xattrs, ..Item::of(path, stat, flag) })
            }
            SFlag::S_IFIFO => {
                let xattrs = attributes_at(dir, base).map_err(fail)?;
                self.write(&Item { xattrs, ..Item::of(path, stat, b'6') })
            }
            _ => Ok(()), // SPEC: tar has no sockets
        }
    }

    fn file(&mut self, layer: usize, dir: &OwnedFd, base: &[u8], path: &[u8]) -> Result<()> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let fail = |e| self.fail(layer, "read", path, e);
        let mut file = match openat(dir, base, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::ENOENT) => return Ok(()),
            Err(e) => return Err(fail(e)),
        };
        let stat = fstat(&file).map_err(fail)?;
        let xattrs = attributes(&file).map_err(fail)?;
        let size = stat.st_size.cast_unsigned();
        self.write(&Item { size, xattrs, ..Item::of(path, &stat, b'0') })?;
        self.done.size += size;
        let mut left = size;
        while left > 0 {
            let want = left.min(BUFFER as u64) as usize;
            let read = file.read(&mut self.buffer[..want]);
            let n = read.map_err(|e| Error::io("read", self.layers[layer].path(), e))?;
            if n == 0 {
                // A live file that shrank: the header has promised this much.
                self.buffer[..want].fill(0);
                self.out.data(&self.buffer[..want])?;
                left -= want as u64;
            } else {
                self.out.data(&self.buffer[..n])?;
                left -= n as u64;
            }
        }
        self.out.pad(size)
    }

    fn write(&mut self, item: &Item<'_>) -> Result<()> {
        self.done.entries += 1;
        self.out.item(item)
    }

    fn open(&self, layer: usize, path: &[u8]) -> Result<OwnedFd> {
        let root = &self.layers[layer];
        root.open_plain(path, READ_DIR).map_err(|e| root.error("open", path, e))
    }

    fn fail(&self, layer: usize, action: &'static str, path: &[u8], errno: Errno) -> Error {
        self.layers[layer].error(action, path, errno)
    }
}

/// All attributes but overlay's, of what can't be opened.
fn attributes_at(dir: impl AsFd, base: &[u8]) -> nix::Result<Vec<(Vec<u8>, Vec<u8>)>> {
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
