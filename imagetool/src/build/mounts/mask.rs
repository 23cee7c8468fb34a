//! A context's files without those that .dockerignore names: whiteouts in a layer upon them.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag, fstat, mknod};

use super::overlay::like;
use crate::build::copy::Files;
use crate::build::ignore::{Ignore, Seen};
use crate::error::{Error, Result};
use crate::layer::RootDir;
use crate::layer::at::{is_dir, names, open_dir, stat_at};
use crate::layer::name::join;
use crate::store::make_dir;

struct Walk<'a> {
    files: &'a Files<'a>,
    ignore: &'a Ignore,
    /// What is to be hidden, from the top.
    hidden: Vec<Vec<u8>>,
}

/// Makes the layer in `dir`, for what lies below `top` (a directory at the clean path `path` of the
/// files); false if nothing has to be hidden.
pub(super) fn make(files: &Files<'_>, top: &OwnedFd, path: &[u8], dir: &Path) -> Result<bool> {
    let Some(ignore) = files.ignore.filter(|ignore| !ignore.is_empty()) else { return Ok(false) };
    let mut walk = Walk { files, ignore, hidden: Vec::new() };
    let fail = |e: Errno| files.root.error("read", path, e);
    walk.directory(open_dir(top.as_fd(), b"").map_err(fail)?, path, &[], &ignore.seen(path))?;
    if walk.hidden.is_empty() {
        return Ok(false);
    }
    make_dir(dir)?;
    let layer = RootDir::open(dir)?;
    alike(&layer, top, b"")?;
    for hidden in &walk.hidden {
        let above = hidden.iter().rposition(|&b| b == b'/').unwrap_or(0);
        parents(&layer, top, &hidden[..above])?;
        let place = dir.join(OsStr::from_bytes(hidden));
        mknod(&place, SFlag::S_IFCHR, Mode::empty(), 0)
            .map_err(|e| Error::io("create", &place, e.into()))?;
    }
    Ok(true)
}

impl Walk<'_> {
    /// Whether something of it stays.
    fn directory(&mut self, dir: OwnedFd, path: &[u8], below: &[u8], seen: &Seen) -> Result<bool> {
        let fail = |e: Errno| self.files.root.error("read", path, e);
        let mut stays = false;
        let listing = dir.try_clone().map_err(|_| fail(Errno::EMFILE))?;
        for base in names(listing).map_err(fail)? {
            let (path, below) = (join(path, &base), join(below, &base));
            let stat = match stat_at(&dir, &base) {
                Err(Errno::ENOENT) => continue,
                stat => stat.map_err(|e| self.files.root.error("read", &path, e))?,
            };
            let (ignored, inner) = self.ignore.enter(seen, &path);
            let looks = is_dir(&stat)
                && if ignored {
                    self.ignore.spares_below(&path)
                } else {
                    self.ignore.reaches_below(&path)
                };
            let mut here = !ignored;
            if looks {
                let before = self.hidden.len();
                let next =
                    open_dir(&dir, &base).map_err(|e| self.files.root.error("read", &path, e))?;
                here |= self.directory(next, &path, &below, &inner)?;
                if !here {
                    self.hidden.truncate(before); // it goes as a whole
                }
            }
            if !here {
                self.hidden.push(below);
            }
            stays |= here;
        }
        Ok(stays)
    }
}

/// The directories above what is hidden look as they do below: overlayfs shows the topmost's.
fn parents(layer: &RootDir, top: &OwnedFd, path: &[u8]) -> Result<()> {
    let mut done = Vec::new();
    for part in path.split(|&b| b == b'/').filter(|part| !part.is_empty()) {
        done = join(&done, part);
        if layer.open_plain(&done, OFlag::O_PATH).is_ok() {
            continue;
        }
        layer.make_dirs(&done).map_err(|e| layer.error("create", &done, e))?;
        alike(layer, top, &done)?;
    }
    Ok(())
}

fn alike(layer: &RootDir, top: &OwnedFd, path: &[u8]) -> Result<()> {
    let fail = |e: Errno| layer.error("create", path, e);
    let model = open_dir(top.as_fd(), path).map_err(fail)?;
    let made = layer.open_plain(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY).map_err(fail)?;
    let stat = fstat(&model).map_err(fail)?;
    like(made.as_fd(), model.as_fd()).map_err(fail)?;
    let time = |secs, nanos| nix::sys::time::TimeSpec::new(secs, nanos);
    let (accessed, modified) =
        (time(stat.st_atime, stat.st_atime_nsec), time(stat.st_mtime, stat.st_mtime_nsec));
    nix::sys::stat::futimens(&made, &accessed, &modified).map_err(fail)
}
