//! A `cgroup` mount: the container's own groups, bound from the host.
//!
//! Binds of directories that exist before the fork need neither the cgroup
//! namespace nor init's membership, so init mounts while the parent moves it.

use std::ffi::{CStr, CString};
use std::os::fd::AsFd;

use dhow_kernel::fd::Loose;
use dhow_kernel::mount as kernel;
use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, fchdir, mkdir, symlinkat};

use super::fault::{Because, Cause, Done};
use super::mounts;
use super::root::{Root, shown};
use crate::cgroup::Mounts;
use crate::validate::mount::{Attributes, Mount, attr};

/// Attaches what the container may see.
///
/// `sysfs` is the one that the target lies in, if that is held.
pub fn attach(groups: Option<&Mounts>, root: &Root, m: &Mount, sysfs: Option<Way<'_>>) -> Done {
    match groups {
        Some(Mounts::Unified { dir }) => {
            let tree = mounts::tree(&path(dir), false)?;
            mounts::bind(root, m, tree, false).map(drop)
        }
        Some(Mounts::Separate { mounts, .. }) if !mounts.is_empty() => {
            separate(groups, root, m, sysfs)
        }
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

fn separate(groups: Option<&Mounts>, root: &Root, m: &Mount, sysfs: Option<Way<'_>>) -> Done {
    let Some(Mounts::Separate { mounts: list, links }) = groups else { return Ok(()) };
    let own = Attributes { set: m.attributes.set | HARD, clear: 0 };
    let tmpfs = match sysfs.filter(|_| m.propagation.is_empty()) {
        Some(way) if in_sysfs(way)? => None,
        _ => Some(aside(root, m, own)?),
    };
    for group in list {
        mkdir(group.name.as_str(), Mode::from_bits_truncate(0o755))
            .because("mkdir", &group.name)?;
    }
    for (name, to) in links {
        match symlinkat(to.as_str(), AT_FDCWD, name.as_str()) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno).because("symlink", name),
        }
    }
    for group in list {
        let (from, to) = (path(&group.dir), path(&group.name));
        let none = None::<&CStr>;
        mount(Some(from.as_c_str()), to.as_c_str(), none, MsFlags::MS_BIND, none)
            .because("bind the group", &group.dir)?;
    }
    // All of them at once.
    kernel::set_attributes_here(&mounts::attributes(own))
        .because("mount_setattr", shown(&m.target))?;
    tmpfs
        .map_or(Ok(()), |tmpfs| mounts::spread(&m.propagation, tmpfs.as_fd()))
        .because("mount_setattr", shown(&m.target))
}

/// A mount that is held, and the way from there.
pub type Way<'a> = (&'a Root, &'a CStr);

/// Mounts the tmpfs for the groups inside of a sysfs that is held and goes there, where nobody but
/// us has been: its names are the kernel's, and are not exchanged. False where that can't be, and
/// nothing is mounted.
fn in_sysfs((sysfs, way): Way<'_>) -> Done<bool> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let made = way == c"fs/cgroup"
        && fchdir(sysfs.as_fd())
            .and_then(|()| mount(Some(c"tmpfs"), way, Some(c"tmpfs"), flags, Some(c"mode=755")))
            .is_ok();
    if made {
        chdir(way).because("chdir to", "/sys/fs/cgroup")?;
    }
    Ok(made)
}

/// The same made aside, attached at the target, wherever that is.
fn aside(root: &Root, m: &Mount, own: Attributes) -> Done<Loose> {
    let target = root.directory(&m.target)?;
    let writable = own.set & !attr::RDONLY;
    let tmpfs = mounts::tmpfs(&[], writable)
        .map(Loose::from)
        .map_err(|(errno, _)| Cause::new("mount", shown(&m.target), errno))?;
    kernel::move_mount(tmpfs.as_fd(), target.as_fd()).because("mount", shown(&m.target))?;
    fchdir(&tmpfs).because("chdir to", shown(&m.target))?;
    Ok(tmpfs)
}

fn path(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}
