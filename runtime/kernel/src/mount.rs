//! The mount API of file descriptors: fsopen, fsconfig, fsmount, open_tree, move_mount, mount_setattr.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::check;

mod older;

/// Attributes of a mount for [`set_attributes`]: `struct mount_attr`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// MOUNT_ATTR_* to set.
    pub set: u64,
    /// MOUNT_ATTR_* to clear.
    pub clear: u64,
    /// One of MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE, or 0.
    pub propagation: u64,
    /// The user namespace of MOUNT_ATTR_IDMAP.
    pub userns_fd: u64,
}

const FSCONFIG_SET_FLAG: u32 = 0;
const FSCONFIG_SET_STRING: u32 = 1;
const FSCONFIG_CMD_CREATE: u32 = 6;
const FSCONFIG_CMD_RECONFIGURE: u32 = 7;
const FSPICK_CLOEXEC: u32 = 1;
const FSPICK_EMPTY_PATH: u32 = 8;

/// MOUNT_ATTR_IDMAP: show files by the ids that [`Attributes::userns_fd`] maps theirs to.
pub const IDMAP: u64 = 0x0010_0000;

fn owned(answer: libc::c_long) -> nix::Result<OwnedFd> {
    let fd = check(answer)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Opens a context to make a file system of type `name`.
pub fn fsopen(name: &CStr) -> nix::Result<OwnedFd> {
    // SAFETY: `name` ends in NUL and lives through the call.
    owned(unsafe { libc::syscall(libc::SYS_fsopen, name.as_ptr(), libc::FSOPEN_CLOEXEC) })
}

/// Opens a context to change the file system whose mount `mount` is.
pub fn fspick(mount: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    let flags = FSPICK_CLOEXEC | FSPICK_EMPTY_PATH;
    // SAFETY: the path is a static empty string.
    owned(unsafe { libc::syscall(libc::SYS_fspick, mount.as_raw_fd(), c"".as_ptr(), flags) })
}

fn fsconfig(
    fs: BorrowedFd<'_>,
    command: u32,
    key: Option<&CStr>,
    value: Option<&CStr>,
) -> nix::Result<()> {
    let key = key.map_or(ptr::null(), CStr::as_ptr);
    let value = value.map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: both are null or end in NUL, and live through the call.
    check(unsafe { libc::syscall(libc::SYS_fsconfig, fs.as_raw_fd(), command, key, value, 0) })
        .map(drop)
}

/// Sets `key=value` on a context.
pub fn fsconfig_string(fs: BorrowedFd<'_>, key: &CStr, value: &CStr) -> nix::Result<()> {
    fsconfig(fs, FSCONFIG_SET_STRING, Some(key), Some(value))
}

/// Sets a bare option on a context.
pub fn fsconfig_flag(fs: BorrowedFd<'_>, key: &CStr) -> nix::Result<()> {
    fsconfig(fs, FSCONFIG_SET_FLAG, Some(key), None)
}

/// Makes the superblock.
pub fn fsconfig_create(fs: BorrowedFd<'_>) -> nix::Result<()> {
    fsconfig(fs, FSCONFIG_CMD_CREATE, None, None)
}

/// Changes the superblock of a context that was picked.
pub fn fsconfig_reconfigure(fs: BorrowedFd<'_>) -> nix::Result<()> {
    fsconfig(fs, FSCONFIG_CMD_RECONFIGURE, None, None)
}

/// Makes a detached mount of a context's superblock, with MOUNT_ATTR_* `attributes`.
///
/// KERNEL: MOUNT_ATTR_NOSYMFOLLOW since 5.14; before, the mount has it from when it is attached.
pub fn fsmount(fs: BorrowedFd<'_>, attributes: u64) -> nix::Result<OwnedFd> {
    let make = |attributes: u64| {
        // SAFETY: no pointers.
        owned(unsafe {
            libc::syscall(
                libc::SYS_fsmount,
                fs.as_raw_fd(),
                libc::FSMOUNT_CLOEXEC,
                attributes as u32,
            )
        })
    };
    match make(attributes) {
        Err(Errno::EINVAL) if attributes & NOSYMFOLLOW != 0 => {
            let made = make(attributes & !NOSYMFOLLOW)?;
            let rest = Attributes { set: NOSYMFOLLOW, ..Attributes::default() };
            older::set(made.as_fd(), &rest, false)?;
            Ok(made)
        }
        done => done,
    }
}

const NOSYMFOLLOW: u64 = 0x20_0000;

/// What [`open_tree`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tree {
    /// Refers to the mount as it is.
    Open,
    /// A detached copy of the one mount.
    Clone,
    /// A detached copy of the mount and all below it.
    CloneRecursive,
}

/// open_tree(2) on `path` from `dir` (the directory itself when `path` is empty); links are followed.
pub fn open_tree(dir: BorrowedFd<'_>, path: &CStr, tree: Tree) -> nix::Result<OwnedFd> {
    let mut flags = libc::OPEN_TREE_CLOEXEC;
    if path.is_empty() {
        flags |= libc::AT_EMPTY_PATH as u32;
    }
    flags |= match tree {
        Tree::Open => 0,
        Tree::Clone => libc::OPEN_TREE_CLONE,
        Tree::CloneRecursive => libc::OPEN_TREE_CLONE | libc::AT_RECURSIVE as u32,
    };
    // SAFETY: `path` ends in NUL and lives through the call.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, dir.as_raw_fd(), path.as_ptr(), flags) })
}

/// Attaches (or moves) the mount `from` onto `to`, both by descriptor.
pub fn move_mount(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> nix::Result<()> {
    attach(from, to, c"", libc::MOVE_MOUNT_T_EMPTY_PATH)
}

/// As [`move_mount`], onto what is called `name` in the directory `to`; a link is not followed.
pub fn move_mount_to(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> nix::Result<()> {
    attach(from, to, name, 0)
}

/// The same by a path of the caller's own; links are followed.
pub fn move_mount_to_path(from: BorrowedFd<'_>, path: &CStr) -> nix::Result<()> {
    attach(from, nix::fcntl::AT_FDCWD, path, libc::MOVE_MOUNT_T_SYMLINKS)
}

fn attach(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, flags: u32) -> nix::Result<()> {
    // SAFETY: the first path is a static empty string, `name` ends in NUL and lives on.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            from.as_raw_fd(),
            c"".as_ptr(),
            to.as_raw_fd(),
            name.as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH | flags,
        )
    })?;
    older::settle(from)
}

/// mount_setattr(2) on the mount `fd` (and all below it when `recursive`).
///
/// KERNEL: since 5.12; before, a detached mount has it from when it is attached. ENOSYS for id maps,
/// and for attributes of all mounts below.
pub fn set_attributes(fd: BorrowedFd<'_>, attr: &Attributes, recursive: bool) -> nix::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    set(fd, c"", flags, attr).or_else(|errno| match errno {
        Errno::ENOSYS => older::set(fd, attr, recursive),
        // KERNEL: 5.12 and 5.13 don't know the attribute: no mount of theirs has it by this API.
        Errno::EINVAL if attr.set & NOSYMFOLLOW == 0 && attr.clear & NOSYMFOLLOW != 0 => {
            set(fd, c"", flags, &Attributes { clear: attr.clear & !NOSYMFOLLOW, ..*attr })
        }
        other => Err(other),
    })
}

/// The same on the mount at `name` in the directory `dir`; a link is not followed.
pub fn set_attributes_at(dir: BorrowedFd<'_>, name: &CStr, attr: &Attributes) -> nix::Result<()> {
    set(dir, name, libc::AT_SYMLINK_NOFOLLOW, attr).or_else(|errno| match errno {
        Errno::ENOSYS => older::set(itself(dir, name)?.as_fd(), attr, false),
        other => Err(other),
    })
}

/// The same on the mount that the working directory is the root of, and all below it.
pub fn set_attributes_here(attr: &Attributes) -> nix::Result<()> {
    let here = nix::fcntl::AT_FDCWD;
    set(here, c".", libc::AT_RECURSIVE, attr).or_else(|errno| match errno {
        Errno::ENOSYS => older::set(itself(here, c".")?.as_fd(), attr, true),
        other => Err(other),
    })
}

fn itself(dir: BorrowedFd<'_>, name: &CStr) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    nix::fcntl::openat(dir, name, flags, nix::sys::stat::Mode::empty())
}

fn set(fd: BorrowedFd<'_>, path: &CStr, flags: i32, attr: &Attributes) -> nix::Result<()> {
    // SAFETY: `path` ends in NUL, `attr` has the kernel's layout and its size is passed.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            path.as_ptr(),
            flags,
            ptr::from_ref(attr),
            size_of::<Attributes>(),
        )
    })
    .map(drop)
}

/// Which mount a descriptor is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id {
    /// Its number, where the kernel has one that is never used again: that one.
    pub number: u64,
    /// Whether the descriptor is of the mount's root.
    pub is_root: bool,
}

/// STATX_MNT_ID_UNIQUE, linux/stat.h.
const UNIQUE: u32 = 0x4000;

/// The mount that `fd` is of.
///
/// KERNEL: statx(2): STATX_MNT_ID since 5.8, STATX_MNT_ID_UNIQUE since 6.8.
pub fn id(fd: BorrowedFd<'_>) -> nix::Result<Id> {
    let told = statx(fd, libc::STATX_MNT_ID | UNIQUE)?;
    let is_root = told.stx_attributes & libc::STATX_ATTR_MOUNT_ROOT as u64 != 0;
    Ok(Id { number: told.stx_mnt_id, is_root })
}

/// statx(2) of what `fd` refers to.
fn statx(fd: BorrowedFd<'_>, mask: u32) -> nix::Result<libc::statx> {
    // SAFETY: statx is plain integers, for which zero is a value.
    let mut told: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: the path is a static empty string; `told` is live and of the kernel's layout.
    check(
        unsafe {
            libc::statx(fd.as_raw_fd(), c"".as_ptr(), libc::AT_EMPTY_PATH, mask, &raw mut told)
        }
        .into(),
    )
    .map(|_| told)
}
