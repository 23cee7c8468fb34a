//! The container's root, held by a descriptor: no path of the image leads out of it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, mkdirat};

use crate::error::{Error, Result};

/// A root directory; every path below it is resolved as if it were `/`.
#[derive(Debug)]
pub struct RootDir {
    fd: OwnedFd,
    path: PathBuf,
}

impl RootDir {
    /// The root at `path`.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::open(path, flags, Mode::empty())
            .map_err(|e| Error::io("open root", path, e.desc()))?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// The root that `fd` is; `path` is what messages call it.
    pub fn from_fd(fd: OwnedFd, path: impl Into<PathBuf>) -> Self {
        Self { fd, path: path.into() }
    }

    /// The directory itself.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Its path on the host, for messages and for the image library.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens `path` inside the root, symlinks and `..` confined to it.
    pub fn at(&self, path: impl AsRef<[u8]>, flags: OFlag) -> Result<OwnedFd, Errno> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            // CVE-2019-14271 and its kind: magic links would lead to the host.
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let path = path.as_ref();
        let path = if path.is_empty() { b"." } else { path };
        loop {
            match openat2(self.fd.as_fd(), path, how) {
                // KERNEL: openat2(2): a rename raced with `..`; ask again.
                Err(Errno::EAGAIN) => {}
                other => return other,
            }
        }
    }

    /// Makes the directory `path` inside the root, with its parents, 0755 and root's.
    pub fn make_dirs(&self, path: &str) -> Result<(), Errno> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        match self.at(path, flags) {
            Ok(_) => return Ok(()),
            Err(Errno::ENOENT) => {}
            Err(e) => return Err(e),
        }
        let mut done = String::new();
        for part in path.split('/').filter(|p| !p.is_empty() && *p != ".") {
            let parent = self.at(&done, flags)?;
            match mkdirat(parent.as_fd(), part, Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(e) => return Err(e),
            }
            done.push('/');
            done.push_str(part);
        }
        self.at(path, flags).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_out_of_the_root_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let root = RootDir::open(dir.path()).unwrap();
        symlink(outside.path(), dir.path().join("out")).unwrap();
        symlink("../../../../../../etc", dir.path().join("up")).unwrap();
        assert!(root.make_dirs("/out/x").is_err() || !outside.path().join("x").exists());
        assert!(root.at("/up/passwd", OFlag::O_PATH).is_err());
        root.make_dirs("/a/b/c").unwrap();
        assert!(dir.path().join("a/b/c").is_dir());
        assert!(std::fs::read_dir(outside.path()).unwrap().next().is_none());
    }
}
