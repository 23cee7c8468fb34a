//! The container's root as a handle that confines every path used inside it.
//!
//! CVE: 2021-30465, 2019-18837, 2023-27561: a path is never resolved twice, and
//! never outside: openat2(RESOLVE_IN_ROOT) yields a descriptor, and everything
//! is done to that descriptor.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, mkdirat};

use super::fault::{Because, Done};

/// A directory that paths can't leave.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
}

const CONFINED: ResolveFlag =
    ResolveFlag::RESOLVE_IN_ROOT.union(ResolveFlag::RESOLVE_NO_MAGICLINKS);

impl Root {
    /// Confines to the directory of `fd`.
    pub const fn new(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Opens what is at `path` (relative, may be empty for the root itself).
    pub fn open(&self, path: &CStr, flags: OFlag) -> nix::Result<OwnedFd> {
        self.open_with(path, flags, CONFINED)
    }

    /// As [`Self::open`], refusing symbolic links anywhere in `path`.
    pub fn open_plain(&self, path: &CStr, flags: OFlag) -> nix::Result<OwnedFd> {
        self.open_with(path, flags, CONFINED | ResolveFlag::RESOLVE_NO_SYMLINKS)
    }

    fn open_with(&self, path: &CStr, flags: OFlag, resolve: ResolveFlag) -> nix::Result<OwnedFd> {
        let path = if path.is_empty() { c"." } else { path };
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
        // KERNEL: openat2(2): EAGAIN when a rename raced with the walk; it is for trying again.
        let mut tries = 0;
        loop {
            match openat2(&self.fd, path, how) {
                Err(Errno::EAGAIN | Errno::EINTR) if tries < 128 => tries += 1,
                other => return other,
            }
        }
    }

    /// The directory at `path`, made with all its parents where missing.
    pub fn directory(&self, path: &CStr) -> Done<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        match self.open(path, flags) {
            Err(Errno::ENOENT) => self.make_directories(path),
            other => other.because("open", shown(path)),
        }
    }

    fn make_directories(&self, path: &CStr) -> Done<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let mut so_far: Vec<u8> = Vec::with_capacity(path.to_bytes().len());
        let mut at = self.open(c"", flags).because("open", "/")?;
        for part in path.to_bytes().split(|b| *b == b'/').filter(|part| !part.is_empty()) {
            if !so_far.is_empty() {
                so_far.push(b'/');
            }
            so_far.extend(part);
            let prefix = CString::new(so_far.clone()).unwrap_or_default();
            at = match self.open(&prefix, flags) {
                Err(Errno::ENOENT) => {
                    match mkdirat(&at, part, Mode::from_bits_truncate(0o755)) {
                        Ok(()) | Err(Errno::EEXIST) => {}
                        Err(errno) => return Err(errno).because("mkdir", shown(&prefix)),
                    }
                    // A dangling link would have been EEXIST: it stays ENOENT here and is refused.
                    self.open(&prefix, flags).because("open", shown(&prefix))?
                }
                other => other.because("open", shown(&prefix))?,
            };
        }
        Ok(at)
    }

    /// What is at `path` unless it is a directory; an empty file is made where nothing is.
    pub fn file(&self, path: &CStr) -> Done<OwnedFd> {
        match self.open(path, OFlag::O_PATH) {
            Err(Errno::ENOENT) => {}
            other => return other.because("open", shown(path)),
        }
        let (parent, name) = split(path);
        let parent = self.directory(&parent)?;
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(&parent, name.as_c_str(), flags | OFlag::O_WRONLY, Mode::from_bits_truncate(0o644))
            .because("create", shown(path))?;
        openat(
            &parent,
            name.as_c_str(),
            OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
            Mode::empty(),
        )
        .because("open", shown(path))
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Parent and last part of a relative path.
pub fn split(path: &CStr) -> (CString, CString) {
    let bytes = path.to_bytes();
    let cut = bytes.iter().rposition(|b| *b == b'/');
    let (parent, name) = cut.map_or((&b""[..], bytes), |n| (&bytes[..n], &bytes[n + 1..]));
    (CString::new(parent).unwrap_or_default(), CString::new(name).unwrap_or_default())
}

/// A path relative to the root as people write it.
pub fn shown(path: &CStr) -> Vec<u8> {
    [b"/", path.to_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let fd = nix::fcntl::open(dir.path(), OFlag::O_PATH, Mode::empty()).unwrap();
        (dir, Root::new(fd))
    }

    #[test]
    fn a_link_out_of_the_root_stays_inside() {
        let (dir, root) = root();
        std::os::unix::fs::symlink("/../../etc", dir.path().join("l")).unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        root.directory(c"l/made").unwrap();
        assert!(dir.path().join("etc/made").is_dir());
    }

    #[test]
    fn a_dangling_link_is_refused() {
        let (dir, root) = root();
        std::os::unix::fs::symlink("nowhere", dir.path().join("l")).unwrap();
        assert_eq!(root.directory(c"l").unwrap_err().errno, libc::ENOENT);
        assert!(root.file(c"l").is_err());
    }

    #[test]
    fn a_missing_file_is_made_with_its_parents() {
        let (dir, root) = root();
        root.file(c"a/b/c").unwrap();
        assert!(dir.path().join("a/b/c").is_file());
    }
}
