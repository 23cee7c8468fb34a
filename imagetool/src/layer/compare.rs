//! What an overlay's upper directory changes in the layers below, as `diff` tells it.
//!
//! docker compares two whole trees; here only what the upper directory has is looked at, and
//! its whiteouts and opaque directories say the rest.

use std::os::fd::OwnedFd;

use dhow_kernel::xattr;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, SFlag};

use super::at::{RootDir, is_dir, is_whiteout, kind, names, stat_at};
use super::name::join;
use super::settle::is_opaque;
use super::whiteout::{PREFIX, is_fuse_mark};
use crate::error::{Error, Result};

const READ_DIR: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY);

/// What became of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// Its kind, owner, mode, capabilities, or (but for directories) time or length are others.
    Modified,
    /// Something below it changed, and nothing else.
    Within,
    /// It is gone, with all below.
    Deleted,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Absolute, as in the container.
    pub path: Vec<u8>,
    /// What became of it.
    pub kind: ChangeKind,
    /// It is an empty file, or a directory: what a mount point looks like.
    pub hollow: bool,
}

/// The changes of `layers[0]` to the others (topmost first): sorted, parents before children.
pub fn changes(layers: &[RootDir]) -> Result<Vec<Change>> {
    let mut walk = Walk { layers, found: Vec::new() };
    walk.directory(b"", &(1..layers.len()).collect::<Vec<_>>(), false)?;
    Ok(walk.found)
}

struct Walk<'a> {
    layers: &'a [RootDir],
    found: Vec<Change>,
}

/// What the layers below show at a path.
struct Below {
    stat: FileStat,
    /// The layer that shows it.
    layer: usize,
    /// Those whose directories of this name are merged.
    merged: Vec<usize>,
}

impl Walk<'_> {
    fn fail(&self, layer: usize, path: &[u8], errno: Errno) -> Error {
        self.layers[layer].error("read", path, errno)
    }

    /// A directory, unless it is gone or something else by now: the upper one may live.
    fn open(&self, layer: usize, path: &[u8]) -> Result<Option<OwnedFd>> {
        match self.layers[layer].open_plain(path, READ_DIR) {
            Ok(dir) => Ok(Some(dir)),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(None),
            Err(e) => Err(self.fail(layer, path, e)),
        }
    }

    /// The upper directory's entries at `path`, upon the directories of `lowers`; `hidden`: which
    /// don't show through.
    fn directory(&mut self, path: &[u8], lowers: &[usize], hidden: bool) -> Result<()> {
        let Some(dir) = self.open(0, path)? else { return Ok(()) };
        let hidden = hidden || is_opaque(&dir).map_err(|e| self.fail(0, path, e))?;
        let mut all = names(dir).map_err(|e| self.fail(0, path, e))?;
        all.retain(|base| !is_fuse_mark(base));
        if crate::rootless::is_confined() {
            // Where it can make no device, fuse-overlayfs says so what is gone.
            for base in all.iter_mut().filter(|base| base.starts_with(PREFIX)) {
                base.drain(..PREFIX.len());
            }
        }
        if hidden {
            for &layer in lowers {
                let Some(dir) = self.open(layer, path)? else { continue };
                all.extend(names(dir).map_err(|e| self.fail(layer, path, e))?);
            }
        }
        all.sort();
        all.dedup();
        for base in all {
            let whole = join(path, &base);
            let below = self.below(path, &base, lowers)?;
            let Some(dir) = self.open(0, path)? else { return Ok(()) };
            let stat = match stat_at(&dir, &base) {
                Ok(stat) => Some(stat),
                Err(Errno::ENOENT) => None,
                Err(e) => return Err(self.fail(0, &whole, e)),
            };
            drop(dir); // a tree may be deep
            self.entry(path, &base, stat, below, hidden)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        path: &[u8],
        base: &[u8],
        stat: Option<FileStat>,
        below: Option<Below>,
        hidden: bool,
    ) -> Result<()> {
        let whole = join(path, base);
        let stat = match (stat.filter(|stat| !is_whiteout(stat)), &below) {
            (Some(stat), _) => stat,
            (None, None) => return Ok(()),
            (None, Some(_)) => {
                self.push(&whole, ChangeKind::Deleted, false);
                return Ok(());
            }
        };
        let hollow = is_dir(&stat) || (kind(&stat) == SFlag::S_IFREG && stat.st_size == 0);
        let at = self.found.len();
        let mut sure = true;
        let mut merged = Vec::new();
        match below {
            None => self.push(&whole, ChangeKind::Added, hollow),
            Some(below) => {
                sure = differ(&below.stat, &stat)
                    || self.capability(0, path, base)?
                        != self.capability(below.layer, path, base)?;
                if sure {
                    self.push(&whole, ChangeKind::Modified, hollow);
                }
                merged = below.merged;
            }
        }
        if is_dir(&stat) {
            self.directory(&whole, &merged, hidden)?;
        }
        if !sure && self.found.len() > at {
            self.push(&whole, ChangeKind::Within, hollow);
            self.found[at..].rotate_right(1);
        }
        Ok(())
    }

    fn push(&mut self, path: &[u8], kind: ChangeKind, hollow: bool) {
        self.found.push(Change { path: [b"/", path].concat(), kind, hollow });
    }

    fn below(&self, path: &[u8], base: &[u8], lowers: &[usize]) -> Result<Option<Below>> {
        let mut found: Option<Below> = None;
        for &layer in lowers {
            let Some(dir) = self.open(layer, path)? else { continue };
            match stat_at(&dir, base) {
                Ok(stat) if is_dir(&stat) => {
                    let below = found.get_or_insert(Below { stat, layer, merged: Vec::new() });
                    below.merged.push(layer);
                }
                Ok(stat) => {
                    if found.is_none() && !is_whiteout(&stat) {
                        found = Some(Below { stat, layer, merged: Vec::new() });
                    }
                    return Ok(found);
                }
                Err(Errno::ENOENT) => {}
                Err(e) => return Err(self.fail(layer, &join(path, base), e)),
            }
            if is_opaque(&dir).map_err(|e| self.fail(layer, path, e))? {
                break;
            }
        }
        Ok(found)
    }

    /// docker compares this attribute alone.
    fn capability(&self, layer: usize, path: &[u8], base: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(dir) = self.open(layer, path)? else { return Ok(None) };
        match xattr::get_at(&dir, base, c"security.capability") {
            Ok(value) => Ok(value),
            Err(Errno::ENOENT) => Ok(None),
            Err(e) => Err(self.fail(layer, &join(path, base), e)),
        }
    }
}

/// docker's `statDifferent`: of directories, times and lengths don't count.
fn differ(old: &FileStat, new: &FileStat) -> bool {
    let what = |s: &FileStat| (s.st_mode, s.st_uid, s.st_gid, s.st_rdev);
    what(old) != what(new) || (!is_dir(new) && (old.st_size != new.st_size || !same_time(old, new)))
}

/// Times of an archive may have lost their nanoseconds.
fn same_time(a: &FileStat, b: &FileStat) -> bool {
    a.st_mtime == b.st_mtime
        && (a.st_mtime_nsec == b.st_mtime_nsec || a.st_mtime_nsec == 0 || b.st_mtime_nsec == 0)
}
