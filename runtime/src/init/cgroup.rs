//! A `cgroup` mount: the container's own groups, bound from the host.
//!
//! Binds of directories that exist before the fork need neither the cgroup
//! namespace nor init's membership, so init mounts while the parent moves it.

use std::ffi::CString;
use std::os::fd::AsFd;

use dhow_kernel::fd::Loose;
use dhow_kernel::mount as kernel;
use nix::errno::Errno;
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::symlinkat;

use super::fault::{Because, Cause, Done};
use super::mounts;
use super::root::{Root, shown};
use crate::cgroup::Mounts;
use crate::validate::mount::{Attributes, Mount, attr};

/// Attaches what the container may see.
pub fn attach(groups: Option<&Mounts>, root: &Root, m: &Mount) -> Done {
    match groups {
        Some(Mounts::Unified { dir }) => {
            let tree = mounts::tree(&path(dir), false)?;
            mounts::bind(root, m, tree, false).map(drop)
        }
        Some(Mounts::Separate { mounts, .. }) if !mounts.is_empty() => separate(groups, root, m),
        // Without groups of its own (rootless) it sees the host's, and can't write them.
        _ => {
            let tree = mounts::tree(c"/sys/fs/cgroup", true)?;
            let readonly = Attributes { set: attr::RDONLY, clear: 0 };
            mounts::dress(tree.as_fd(), readonly, true)
                .because("mount_setattr", "/sys/fs/cgroup")?;
            mounts::bind(root, m, tree, false).map(drop)
        }
    }
}

/// As runc: whatever the options are, v1 groups hold no programs and no devices.
const HARD: u64 = attr::NOSUID | attr::NODEV | attr::NOEXEC;

fn separate(groups: Option<&Mounts>, root: &Root, m: &Mount) -> Done {
    let Some(Mounts::Separate { mounts: list, links }) = groups else { return Ok(()) };
    let target = root.directory(&m.target)?;
    let own = Attributes { set: m.attributes.set | HARD, clear: 0 };
    let writable = own.set & !attr::RDONLY;
    let tmpfs = mounts::make(c"tmpfs", c"tmpfs", &[], Some(0o755), writable)
        .map(Loose::from)
        .map_err(|(errno, _)| Cause::new("mount", shown(&m.target), errno))?;
    for group in list {
        mkdirat(&tmpfs, group.name.as_str(), Mode::from_bits_truncate(0o755))
            .because("mkdir", &group.name)?;
    }
    for (name, to) in links {
        match symlinkat(to.as_str(), &tmpfs, name.as_str()) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno).because("symlink", name),
        }
    }
    kernel::move_mount(tmpfs.as_fd(), target.as_fd()).because("mount", shown(&m.target))?;
    for group in list {
        let tree = Loose::from(mounts::tree(&path(&group.dir), false)?);
        // What has that name in there was made above, and nobody else has been there.
        kernel::move_mount_to(tree.as_fd(), tmpfs.as_fd(), &path(&group.name))
            .because("mount", &group.name)?;
    }
    // All of them at once.
    mounts::dress(tmpfs.as_fd(), own, true).because("mount_setattr", shown(&m.target))?;
    mounts::spread(&m.propagation, tmpfs.as_fd()).because("mount_setattr", shown(&m.target))
}

fn path(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}
