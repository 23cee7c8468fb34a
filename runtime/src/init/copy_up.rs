//! `tmpcopyup`: a tmpfs that starts with what it covers.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{
    FchmodatFlags, FileStat, Mode, SFlag, UtimensatFlags, fchmodat, fstatat, mkdirat, mknodat,
    utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat, symlinkat};

use super::fault::{Because, Done};
use super::protocol::errno_of;
use super::root::{Root, shown};

/// Copies the tree at `target` into the detached mount `to`.
pub fn perform(root: &Root, target: &CStr, to: BorrowedFd<'_>) -> Done {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    let from = root.open(target, flags).because("open", shown(target))?;
    directory(from.owned(), to).because("copy up", shown(target))
}

fn directory(from: OwnedFd, to: BorrowedFd<'_>) -> nix::Result<()> {
    let mut dir = Dir::from_fd(from)?;
    let mut names: Vec<CString> = Vec::new();
    for entry in dir.iter() {
        let name = entry?.file_name().to_owned();
        if name.as_bytes() != b"." && name.as_bytes() != b".." {
            names.push(name);
        }
    }
    names.iter().try_for_each(|name| entry(dir.as_fd(), to, name))
}

fn entry(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> nix::Result<()> {
    let stat = fstatat(from, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let mode = Mode::from_bits_truncate(stat.st_mode);
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    let plain = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match kind {
        SFlag::S_IFDIR => {
            mkdirat(to, name, mode)?;
            let flags = plain | OFlag::O_RDONLY | OFlag::O_DIRECTORY;
            let below = openat(to, name, flags, Mode::empty())?;
            directory(openat(from, name, flags, Mode::empty())?, below.as_fd())?;
        }
        SFlag::S_IFLNK => {
            let text = readlinkat(from, name)?;
            symlinkat(text.as_os_str(), to, name)?;
        }
        SFlag::S_IFREG => {
            let source = openat(from, name, plain | OFlag::O_RDONLY, Mode::empty())?;
            let flags = plain | OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
            contents(source, openat(to, name, flags, mode)?)?;
        }
        _ => mknodat(to, name, kind, mode, stat.st_rdev)?,
    }
    metadata(to, name, &stat, kind)
}

fn contents(from: OwnedFd, to: OwnedFd) -> nix::Result<()> {
    let (mut from, mut to) = (File::from(from), File::from(to));
    std::io::copy(&mut from, &mut to).map(drop).map_err(|e| errno_of(&e))
}

fn metadata(to: BorrowedFd<'_>, name: &CStr, stat: &FileStat, kind: SFlag) -> nix::Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    match fchownat(to, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW) {
        // An id that the user namespace doesn't map.
        Ok(()) | Err(Errno::EINVAL) => {}
        Err(errno) => return Err(errno),
    }
    if kind == SFlag::S_IFLNK {
        return Ok(());
    }
    let mode = Mode::from_bits_truncate(stat.st_mode);
    fchmodat(to, name, mode, FchmodatFlags::FollowSymlink)?;
    let time = TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec);
    utimensat(to, name, &time, &time, UtimensatFlags::NoFollowSymlink)
}
