//! Read-only root, read-only paths, masked paths: what the container must not see or change.

use std::ffi::CStr;
use std::os::fd::AsFd;

use dhow_kernel::fd::Loose;
use dhow_kernel::mount::{self as kernel, Tree};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag};
use nix::sys::stat::{FileStat, fstat, makedev};

use super::child::Context;
use super::credentials;
use super::fault::{Because, Cause, Done};
use super::mounts;
use super::root::shown;
use crate::plan::Plan;
use crate::validate::mount::{Attributes, attr};

const READONLY: Attributes = Attributes { set: attr::RDONLY, clear: 0 };

/// Performs all three.
pub fn perform(plan: &Plan, c: &mut Context) -> Done {
    if plan.readonly {
        // It can't be made later, and may have been made already: whoever enters it will say so.
        credentials::make_cwd(&plan.process.cwd);
    }
    let root = c.root()?;
    if plan.readonly {
        mounts::dress(root.as_fd(), READONLY, false).because("make read-only", "/")?;
    }
    for target in &plan.late_readonly {
        let mount = open(c, target).because("open", shown(target))?;
        mounts::dress(mount.as_fd(), READONLY, false).because("mount_setattr", shown(target))?;
    }
    for path in &plan.readonly_paths {
        readonly(c, path)?;
    }
    mask(plan, c)?;
    // Last, since of what is unbindable nothing can be made read-only by a bind.
    if matches!(plan.propagation.0, libc::MS_SHARED | libc::MS_UNBINDABLE) {
        let root = c.root()?.as_fd();
        mounts::spread(&[plan.propagation], root).because("set the propagation of", "/")?;
    }
    Ok(())
}

/// Where it was mounted, whatever its name leads to by now.
fn open(c: &Context, path: &CStr) -> nix::Result<Loose> {
    let (root, way) = match c.mounted.find(path) {
        Some(found) => found,
        None => (c.root.as_ref().ok_or(Errno::EBADF)?, path),
    };
    root.open(way, OFlag::O_PATH)
}

/// What isn't there needs no protection.
fn find(c: &Context, path: &CStr) -> Done<Option<Loose>> {
    match open(c, path) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno).because("open", shown(path)),
    }
}

fn readonly(c: &Context, path: &CStr) -> Done {
    let Some(target) = find(c, path)? else { return Ok(()) };
    let tree = kernel::open_tree(target.as_fd(), c"", Tree::CloneRecursive)
        .map(Loose::from)
        .because("open_tree", shown(path))?;
    mounts::dress(tree.as_fd(), READONLY, false).because("mount_setattr", shown(path))?;
    kernel::move_mount(tree.as_fd(), target.as_fd()).because("mount", shown(path))
}

/// One /dev/null and one empty tmpfs serve all: the second and later uses are clones.
fn mask(plan: &Plan, c: &mut Context) -> Done {
    let mut null = Cover { mount: c.null.take(), used: false };
    let mut empty = Cover { mount: None, used: false };
    for path in &plan.masked_paths {
        let Some(target) = find(c, path)? else { continue };
        let stat = fstat(&target).because("stat", shown(path))?;
        if stat.st_mode & libc::S_IFMT == libc::S_IFDIR {
            if empty.mount.is_none() {
                empty.mount = Some(empty_tmpfs()?);
            }
            empty.over(&target, path)?;
        } else {
            null.over(&target, path)?;
        }
    }
    Ok(())
}

/// A mount that covers many places.
struct Cover {
    mount: Option<Loose>,
    used: bool,
}

impl Cover {
    fn over(&mut self, target: &Loose, path: &CStr) -> Done {
        let Some(mount) = &self.mount else {
            return Err(Cause::rule("there is nothing to mask files with"));
        };
        if !self.used {
            self.used = true;
            return kernel::move_mount(mount.as_fd(), target.as_fd()).because("mask", shown(path));
        }
        // KERNEL: open_tree(2) copies attached mounts; detached ones only since 6.15.
        let copy = kernel::open_tree(mount.as_fd(), c"", Tree::Clone)
            .map(Loose::from)
            .because("open_tree", "the mask")?;
        kernel::move_mount(copy.as_fd(), target.as_fd()).because("mask", shown(path))
    }
}

fn empty_tmpfs() -> Done<Loose> {
    let options = [
        (c"nr_blocks".to_owned(), Some(c"1".to_owned())),
        (c"nr_inodes".to_owned(), Some(c"1".to_owned())),
    ];
    mounts::make(c"tmpfs", c"tmpfs", &options, Some(0o755), attr::RDONLY)
        .map(Loose::from)
        .map_err(|(errno, _)| Cause::new("mount", "the empty tmpfs", errno))
}

/// CVE: 2025-31133: a /dev/null from the image could be anything; this is the
/// host's, taken before the pivot, and proved to be it. It is the host's own inode,
/// so it is read-only: else root inside could change its mode and owner outside.
pub fn host_null() -> Done<Loose> {
    let tree = kernel::open_tree(AT_FDCWD, c"/dev/null", Tree::Clone)
        .map(Loose::from)
        .because("open", "/dev/null")?;
    let stat = fstat(&tree).because("stat", "/dev/null")?;
    if !is_null(&stat) {
        return Err(Cause::rule("/dev/null of the host is not the null device"));
    }
    // KERNEL: a device on a read-only mount can still be written to.
    mounts::dress(tree.as_fd(), READONLY, false).because("mount_setattr", "/dev/null")?;
    Ok(tree)
}

/// Whether this is the null device.
pub fn is_null(stat: &FileStat) -> bool {
    stat.st_mode & libc::S_IFMT == libc::S_IFCHR && stat.st_rdev == makedev(1, 3)
}
