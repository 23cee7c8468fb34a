//! Overlays for one RUN: layers by their handles, in the build's own mount namespace.

use std::ffi::CString;
use std::fmt::Write;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use dhow_kernel::mount as kernel;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, fchmod, fstat};
use nix::unistd::{Gid, Uid, fchown};

use super::Attached;
use crate::error::{Error, Result};
use crate::layer::RootDir;
use crate::store::make_dir;

/// Mounts directories on each other, the topmost first, at a new directory `place`/merged. What is
/// written goes to `upper` (its `upper` and `work` are made), or can't be.
pub(super) fn mount_at(
    place: &Path,
    lower: &[BorrowedFd<'_>],
    upper: Option<&Path>,
) -> Result<(Attached, RootDir)> {
    let target = place.join("merged");
    make_dir(&target)?;
    let mut own = None;
    if let Some(home) = upper {
        let (up, work) = (home.join("upper"), home.join("work"));
        let first = !up.exists();
        make_dir(&up)?;
        make_dir(&work)?;
        if first && let Some(below) = lower.first() {
            let made = RootDir::open(&up)?;
            like(made.as_fd(), *below).map_err(|e| made.error("create", b"", e))?;
        }
        own = Some((up, work));
    }
    let names: Vec<String> =
        lower.iter().map(|fd| format!("/proc/self/fd/{}", fd.as_raw_fd())).collect();
    let own = own.as_ref().map(|(up, work)| (up.as_path(), work.as_path()));
    let done = match by_descriptor(&names, own, &target) {
        Err(Errno::EINVAL | Errno::ENOSYS) => by_text(&names, own, &target),
        done => done,
    };
    done.map_err(|e| Error::io("mount an overlay on", &target, e.into()))?;
    let attached = Attached(target);
    let root = RootDir::open(&attached.0)?;
    Ok((attached, root))
}

/// A file or directory is whose another one is, with its mode.
pub(super) fn like(made: BorrowedFd<'_>, model: BorrowedFd<'_>) -> nix::Result<()> {
    let stat = fstat(model)?;
    fchown(made, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    fchmod(made, Mode::from_bits_truncate(stat.st_mode & 0o7777))
}

/// KERNEL: `lowerdir+` came with Linux 6.8; before that the answer is EINVAL.
fn by_descriptor(lower: &[String], own: Option<(&Path, &Path)>, target: &Path) -> nix::Result<()> {
    let context = kernel::fsopen(c"overlay")?;
    let set = |key, value: &[u8]| {
        let value = CString::new(value).map_err(|_| Errno::EINVAL)?;
        kernel::fsconfig_string(context.as_fd(), key, &value)
    };
    set(c"source", b"dhow-build")?;
    for dir in lower {
        set(c"lowerdir+", dir.as_bytes())?;
    }
    if let Some((upper, work)) = own {
        set(c"upperdir", upper.as_os_str().as_encoded_bytes())?;
        set(c"workdir", work.as_os_str().as_encoded_bytes())?;
        let _ = kernel::fsconfig_flag(context.as_fd(), c"volatile"); // there since Linux 5.10
    }
    kernel::fsconfig_create(context.as_fd())?;
    let attributes = if own.is_none() { libc::MOUNT_ATTR_RDONLY } else { 0 };
    let mounted = kernel::fsmount(context.as_fd(), attributes)?;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    kernel::move_mount(mounted.as_fd(), open(target, flags, Mode::empty())?.as_fd())
}

fn by_text(lower: &[String], own: Option<(&Path, &Path)>, target: &Path) -> nix::Result<()> {
    let mut options = format!("lowerdir={}", lower.join(":"));
    let mut flags = MsFlags::MS_RDONLY;
    if let Some((upper, work)) = own {
        let _ = write!(options, ",upperdir={},workdir={}", upper.display(), work.display());
        flags = MsFlags::empty();
    }
    mount(Some("dhow-build"), target, Some("overlay"), flags, Some(options.as_str()))
}

/// Forgets that an overlay was here whose writes may not all be on disk: it is mounted again.
pub(super) fn forgive(home: &Path) {
    let _ = fs::remove_dir_all(home.join("work/work/incompat"));
}
