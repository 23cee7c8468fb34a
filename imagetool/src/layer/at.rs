//! File system acts below a root, by descriptor. Nothing here joins a path to a host
//! path: a parent is opened from the root's descriptor with openat2, and the last
//! component is acted on relative to it, never followed.
//!
//! KERNEL: openat2(2), 5.6. CVE: 2021-29136, 2021-32760, 2025-47290 and their kind.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmodat, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::name::{join, split};
use crate::error::{Error, Result};

/// A directory that confines what is done through it.
#[derive(Debug)]
pub struct RootDir {
    fd: OwnedFd,
    path: PathBuf,
}

const DIR: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_CLOEXEC).union(OFlag::O_NOFOLLOW);

impl RootDir {
    /// Opens a directory of the host's, which the caller trusts.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = open(&path, flags, Mode::empty()).map_err(|e| io_at("open", &path, e))?;
        Ok(Self { fd, path })
    }

    /// The directory that `fd` is; `path` is what errors call it.
    pub fn from_fd(fd: OwnedFd, path: impl Into<PathBuf>) -> Self {
        Self { fd, path: path.into() }
    }

    /// Where it was, for errors.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens what is at a clean path below, without following any link.
    pub(crate) fn open_plain(&self, path: &[u8], flags: OFlag) -> nix::Result<OwnedFd> {
        self.open_how(path, flags | OFlag::O_NOFOLLOW, ResolveFlag::RESOLVE_NO_SYMLINKS)
    }

    /// Opens what is at a path below, links followed as if this were the root of all.
    pub(crate) fn open_inside(&self, path: &[u8], flags: OFlag) -> nix::Result<OwnedFd> {
        self.open_how(path, flags, ResolveFlag::RESOLVE_IN_ROOT)
    }

    /// Opens what is at a path below, links followed as long as they stay below.
    pub(crate) fn open_beneath(&self, path: &[u8], flags: OFlag) -> nix::Result<OwnedFd> {
        self.open_how(path, flags, ResolveFlag::empty())
    }

    fn open_how(&self, path: &[u8], flags: OFlag, resolve: ResolveFlag) -> nix::Result<OwnedFd> {
        let beneath = if resolve == ResolveFlag::RESOLVE_IN_ROOT {
            ResolveFlag::empty()
        } else {
            ResolveFlag::RESOLVE_BENEATH
        };
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(resolve | beneath | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let path = if path.is_empty() { b".".as_slice() } else { path };
        loop {
            // KERNEL: EAGAIN when a rename elsewhere races with "..".
            match openat2(&self.fd, path, how) {
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                done => return done,
            }
        }
    }

    /// Makes the directory at a path below, links followed as if this were the root of all, with what
    /// lacks above it: 0755 and ours.
    pub(crate) fn make_dirs(&self, path: &[u8]) -> nix::Result<()> {
        const PLACE: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY);
        match self.open_inside(path, PLACE) {
            Err(Errno::ENOENT) => {}
            found => return found.map(drop),
        }
        let (mut done, mode) = (Vec::new(), Mode::from_bits_truncate(0o755));
        for part in path.split(|&b| b == b'/').filter(|part| !matches!(*part, b"" | b".")) {
            let parent = self.open_inside(&done, PLACE)?;
            match mkdirat(&parent, part, mode) {
                // KERNEL: mkdirat(2) obeys the umask.
                Ok(()) => {
                    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                    chmod(&openat(&parent, part, flags, Mode::empty())?, 0o755)?;
                }
                Err(Errno::EEXIST) => {}
                Err(e) => return Err(e),
            }
            done = join(&done, part);
        }
        self.open_inside(path, PLACE).map(drop)
    }

    /// An error of an act on a path below.
    pub(crate) fn error(&self, action: &'static str, path: &[u8], errno: Errno) -> Error {
        use std::os::unix::ffi::OsStrExt;
        let below = Path::new(std::ffi::OsStr::from_bytes(path));
        io_at(action, &self.path.join(below), errno)
    }
}

impl AsFd for RootDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

pub(crate) fn io_at(action: &'static str, path: &Path, errno: Errno) -> Error {
    Error::io(action, path, io::Error::from(errno))
}

/// What is called `base` in a directory, not followed.
pub(crate) fn stat_at(dir: impl AsFd, base: &[u8]) -> nix::Result<FileStat> {
    fstatat(dir, base, AtFlags::AT_SYMLINK_NOFOLLOW)
}

/// The type bits of a mode.
pub(crate) fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

/// Whether this is a directory.
pub(crate) fn is_dir(stat: &FileStat) -> bool {
    kind(stat) == SFlag::S_IFDIR
}

/// Whether this is an overlay whiteout.
pub(crate) fn is_whiteout(stat: &FileStat) -> bool {
    kind(stat) == SFlag::S_IFCHR && stat.st_rdev == 0
}

/// Opens the directory `path` (clean, links refused) below a directory.
pub(crate) fn open_dir(dir: impl AsFd, path: &[u8]) -> nix::Result<OwnedFd> {
    let how = OpenHow::new().flags(OFlag::O_RDONLY | DIR).resolve(
        ResolveFlag::RESOLVE_BENEATH
            | ResolveFlag::RESOLVE_NO_SYMLINKS
            | ResolveFlag::RESOLVE_NO_MAGICLINKS,
    );
    openat2(dir, if path.is_empty() { b".".as_slice() } else { path }, how)
}

/// The names in an open directory, unsorted, without `.` and `..`.
pub(crate) fn names(dir: OwnedFd) -> nix::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in nix::dir::Dir::from_fd(dir)?.iter() {
        let entry = entry?;
        if !is_dot(entry.file_name()) {
            names.push(entry.file_name().to_bytes().to_vec());
        }
    }
    Ok(names)
}

fn is_dot(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

/// Removes `base` in `dir` with all below it. A tree of any depth takes a few
/// descriptors: the way down is kept as a path, and reopened.
pub(crate) fn remove_at(dir: impl AsFd, base: &[u8]) -> nix::Result<()> {
    match unlinkat(dir.as_fd(), base, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => return Ok(()),
        Err(Errno::EISDIR | Errno::EPERM) => {}
        Err(e) => return Err(e),
    }
    let mut path = base.to_vec();
    loop {
        let here = open_dir(dir.as_fd(), &path)?;
        if let Some(sub) = unlink_files(here)? {
            path = join(&path, &sub);
            continue;
        }
        let (up, last) = split(&path);
        let parent = open_dir(dir.as_fd(), up)?;
        unlinkat(&parent, last, UnlinkatFlags::RemoveDir)?;
        if up.is_empty() {
            return Ok(());
        }
        path.truncate(up.len());
    }
}

/// Unlinks what can be; the first directory found is handed back.
fn unlink_files(dir: OwnedFd) -> nix::Result<Option<Vec<u8>>> {
    let listing = dir.try_clone().map_err(|_| Errno::EMFILE)?;
    for entry in nix::dir::Dir::from_fd(listing)?.iter() {
        let entry = entry?;
        if is_dot(entry.file_name()) {
            continue;
        }
        match unlinkat(&dir, entry.file_name(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(Errno::EISDIR | Errno::EPERM) => {
                return Ok(Some(entry.file_name().to_bytes().to_vec()));
            }
            Err(e) => return Err(e),
        }
    }
    Ok(None)
}

/// Does what needs leave to read a file or directory; where it lacks, the owner, which we must
/// be, takes it for that long.
pub(crate) fn readable<T>(
    dir: impl AsFd,
    base: &[u8],
    mut act: impl FnMut() -> nix::Result<T>,
) -> nix::Result<T> {
    match act() {
        Err(Errno::EACCES) => {}
        done => return done,
    }
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let itself = openat(dir.as_fd(), base, flags, Mode::empty())?;
    let stat = fstat(&itself)?;
    if !matches!(kind(&stat), SFlag::S_IFREG | SFlag::S_IFDIR) {
        return Err(Errno::EACCES);
    }
    let mode = stat.st_mode & 0o7777;
    chmod(&itself, mode | 0o400)?;
    let done = act();
    chmod(&itself, mode)?;
    done
}

/// Changes the mode of what was opened as a place. KERNEL: a descriptor of O_PATH has no fchmod(2), but a name in /proc.
pub(crate) fn chmod(itself: &OwnedFd, mode: u32) -> nix::Result<()> {
    let path = format!("/proc/self/fd/{}", itself.as_raw_fd());
    let mode = Mode::from_bits_truncate(mode);
    fchmodat(AT_FDCWD, path.as_str(), mode, FchmodatFlags::FollowSymlink)
}
