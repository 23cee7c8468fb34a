//! An overlay's upper directory becomes a layer as it lies: what overlayfs and whoever mounted
//! things in it have left there for themselves goes, so that the directory is what unpacking the
//! layer's tar would make of it.

use std::os::fd::{AsFd, OwnedFd};

use dhow_kernel::xattr;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, SFlag, UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

use super::at::{RootDir, is_dir, is_whiteout, kind, names, open_dir, remove_at, stat_at};
use super::bare::Mounts;
use super::name::join;
use super::settle::{find, is_overlay};
use super::whiteout::{FUSE_OPAQUE, is_fuse_mark, opaque_xattr};
use crate::error::Result;

const READ_DIR: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY);

/// What was left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tidied {
    /// Files, directories and whiteouts.
    pub entries: u64,
    /// The lengths of its regular files together.
    pub size: u64,
}

/// Tidies `upper`, which nothing is mounted on any more; `lowers` lie below it, topmost first.
/// `mounts`, paths such as `etc/hosts`, go where they are empty and new. No time stays that is
/// after `newest`.
pub(crate) fn tidy(
    upper: &RootDir,
    lowers: &[RootDir],
    mounts: &[&[u8]],
    newest: Option<i64>,
) -> Result<Tidied> {
    let mounts = Mounts { upper: std::slice::from_ref(upper), lowers, places: mounts };
    let work = Tidy { upper, lowers, mounts, newest };
    let mut done = Tidied::default();
    let mut todo = vec![Vec::new()];
    while let Some(path) = todo.pop() {
        work.directory(&path, &mut todo, &mut done).map_err(|e| upper.error("tidy", &path, e))?;
    }
    Ok(done)
}

struct Tidy<'a> {
    upper: &'a RootDir,
    lowers: &'a [RootDir],
    mounts: Mounts<'a>,
    newest: Option<i64>,
}

impl Tidy<'_> {
    /// Everything in a directory; its own attributes and time are its parent's business.
    fn directory(
        &self,
        path: &[u8],
        todo: &mut Vec<Vec<u8>>,
        done: &mut Tidied,
    ) -> nix::Result<()> {
        let dir = self.upper.open_plain(path, READ_DIR)?;
        let mut kept = Vec::new();
        for base in names(open_dir(&dir, b"")?)? {
            let stat = stat_at(&dir, &base)?;
            let whole = join(path, &base);
            // SPEC: tar has no sockets.
            let goes = kind(&stat) == SFlag::S_IFSOCK
                || is_fuse_mark(&base)
                || self.mounts.only(&whole, &stat)?;
            if goes {
                remove_at(&dir, &base)?;
                continue;
            }
            kept.push((base, whole, stat));
        }
        for (base, whole, stat) in kept {
            self.attributes(&dir, &base, &whole, &stat)?;
            done.entries += 1;
            if kind(&stat) == SFlag::S_IFREG {
                done.size += stat.st_size.cast_unsigned();
            }
            if is_dir(&stat) {
                todo.push(whole);
            }
        }
        if !path.is_empty() {
            self.clamp(&dir)?;
        }
        Ok(())
    }

    fn attributes(
        &self,
        dir: &OwnedFd,
        base: &[u8],
        whole: &[u8],
        stat: &FileStat,
    ) -> nix::Result<()> {
        if is_whiteout(stat) {
            return Ok(());
        }
        for name in xattr::list_at(dir, base)? {
            if name.as_c_str() == FUSE_OPAQUE && is_dir(stat) && !self.is_idle(whole)? {
                // The kernel's overlays are to see the same.
                let it = self.upper.open_plain(whole, READ_DIR)?;
                xattr::set(&it, opaque_xattr(), b"y")?;
            }
            let opaque = name.as_c_str() == opaque_xattr() && !self.is_idle(whole)?;
            if is_overlay(name.as_bytes()) && !opaque {
                xattr::remove_at(dir, base, &name)?;
            }
        }
        let Some(newest) = self.newest else { return Ok(()) };
        if !is_dir(stat) && (stat.st_mtime, stat.st_mtime_nsec) > (newest, 0) {
            let time = TimeSpec::new(newest, 0);
            utimensat(dir, base, &time, &time, UtimensatFlags::NoFollowSymlink)?;
        }
        Ok(())
    }

    /// KERNEL: overlayfs calls a directory opaque that it makes where nothing lies below, too.
    fn is_idle(&self, path: &[u8]) -> nix::Result<bool> {
        Ok(!find(self.lowers, path)?.is_some_and(|(_, stat)| is_dir(&stat)))
    }

    /// A directory's time, when all that changes it is done.
    fn clamp(&self, dir: &OwnedFd) -> nix::Result<()> {
        let Some(newest) = self.newest else { return Ok(()) };
        let stat = nix::sys::stat::fstat(dir.as_fd())?;
        if (stat.st_mtime, stat.st_mtime_nsec) <= (newest, 0) {
            return Ok(());
        }
        let time = TimeSpec::new(newest, 0);
        match nix::sys::stat::futimens(dir, &time, &time) {
            Err(Errno::EPERM) => Ok(()),
            done => done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::net::UnixListener;

    #[test]
    fn what_is_nobodys_goes_and_times_are_clamped() {
        let (upper, lower) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |name: &str| upper.path().join(name);
        fs::create_dir_all(at("d/run")).unwrap();
        fs::write(at("d/f"), "content").unwrap();
        let _socket = UnixListener::bind(at("d/s")).unwrap();
        fs::create_dir(lower.path().join("etc")).unwrap();
        fs::create_dir(at("etc")).unwrap();
        fs::write(at("etc/hosts"), "").unwrap();
        let root = |d: &tempfile::TempDir| RootDir::open(d.path()).unwrap();
        let mounts: [&[u8]; 2] = [b"etc/hosts", b"d/run"];
        let done = tidy(&root(&upper), &[root(&lower)], &mounts, Some(1000)).unwrap();
        assert_eq!(done, Tidied { entries: 2, size: 7 });
        assert!(!at("etc").exists() && !at("d/s").exists() && !at("d/run").exists());
        for name in ["d", "d/f"] {
            let time = fs::metadata(at(name)).unwrap().modified().unwrap();
            let since = time.duration_since(std::time::UNIX_EPOCH).unwrap();
            assert_eq!(since.as_secs(), 1000, "{name}");
        }
    }
}
