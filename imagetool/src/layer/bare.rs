//! Places where something is mounted, and nothing else is: what makes a mount needs them, and
//! they are no part of an image.

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, SFlag};

use super::at::{RootDir, is_dir, kind, names, stat_at};
use super::name::join;
use super::settle::{find, is_opaque};

/// Such places, by path.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mounts<'a> {
    /// The one layer that is looked at.
    pub upper: &'a [RootDir],
    /// Those below, topmost first.
    pub lowers: &'a [RootDir],
    pub places: &'a [&'a [u8]],
}

impl Mounts<'_> {
    /// Whether what is at `path` is such a place, or a directory that is there for some alone.
    pub fn only(&self, path: &[u8], stat: &FileStat) -> nix::Result<bool> {
        let (mut named, mut above) = (false, false);
        for mount in self.places {
            match mount.strip_prefix(path) {
                Some(b"") => named = true,
                Some([b'/', ..]) => above = true,
                _ => {}
            }
        }
        if !named && !above {
            return Ok(false);
        }
        let below = find(self.lowers, path)?.map(|(_, stat)| stat);
        if !is_dir(stat) {
            let empty = kind(stat) == SFlag::S_IFREG && stat.st_size == 0;
            return Ok(named && empty && below.is_none());
        }
        let what = |s: &FileStat| (s.st_mode, s.st_uid, s.st_gid);
        if below.is_some_and(|below| what(&below) != what(stat)) {
            return Ok(false);
        }
        self.holds_nothing_else(path)
    }

    fn holds_nothing_else(&self, path: &[u8]) -> nix::Result<bool> {
        let Some(upper) = self.upper.first() else { return Ok(false) };
        let dir = match upper.open_plain(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(false),
            dir => dir?,
        };
        if is_opaque(&dir)? {
            return Ok(false);
        }
        for base in names(dir.try_clone().map_err(|_| Errno::EMFILE)?)? {
            match stat_at(&dir, &base) {
                Ok(stat) if self.only(&join(path, &base), &stat)? => {}
                Err(Errno::ENOENT) => {}
                Ok(_) => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }
}
