//! The root file system: opened before the mounts, made `/` after them.

use std::os::fd::AsFd;

use dhow_kernel::mount::{self as kernel, Tree};
use nix::fcntl::{AT_FDCWD, OFlag};
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, chroot, fchdir, pivot_root};

use super::child::{Context, HELD};
use super::fault::{Because, Done};
use super::root::Root;
use crate::plan::{Pivot, Plan};

/// Cuts the mount namespace off from the host's and makes the root a mount of its own.
pub fn open(plan: &Plan, c: &mut Context) -> Done {
    let rootfs = plan.rootfs.as_c_str();
    if plan.pivot == Pivot::Chroot {
        let fd = nix::fcntl::open(rootfs, HELD, Mode::empty());
        c.root = Some(Root::new(fd.because("open the root", rootfs.to_bytes())?));
        return Ok(());
    }
    let slash = nix::fcntl::open(c"/", HELD, Mode::empty()).because("open", "/")?;
    let (propagation, recursive) = plan.propagation;
    set(slash.as_fd(), propagation, recursive).because("set the propagation of", "/")?;
    if !plan.masked_paths.is_empty() {
        c.null = Some(super::mask::host_null()?);
    }
    let tree = kernel::open_tree(AT_FDCWD, rootfs, Tree::CloneRecursive)
        .because("open the root", rootfs.to_bytes())?;
    // KERNEL: pivot_root(2): neither root may be shared; and mounts made in a
    // shared one would show up on the host.
    if matches!(propagation, libc::MS_SHARED | libc::MS_UNBINDABLE) {
        set(tree.as_fd(), libc::MS_PRIVATE, true).because("make private", rootfs.to_bytes())?;
    }
    let target = nix::fcntl::open(rootfs, HELD, Mode::empty())
        .because("open the root", rootfs.to_bytes())?;
    kernel::move_mount(tree.as_fd(), target.as_fd()).because("mount", rootfs.to_bytes())?;
    c.root = Some(Root::new(tree));
    Ok(())
}

fn set(mount: std::os::fd::BorrowedFd<'_>, propagation: u64, recursive: bool) -> nix::Result<()> {
    let attributes = kernel::Attributes { propagation, ..Default::default() };
    kernel::set_attributes(mount, &attributes, recursive)
}

/// Makes it `/`.
pub fn perform(plan: &Plan, c: &mut Context) -> Done {
    let root = c.root()?;
    fchdir(root.as_fd()).because("chdir", "the root")?;
    match plan.pivot {
        Pivot::Pivot => pivot()?,
        Pivot::Move => {
            let slash = open_slash()?;
            kernel::move_mount(root.as_fd(), slash.as_fd()).because("move the root to", "/")?;
            chroot(".").because("chroot", "the root")?;
        }
        Pivot::Chroot => chroot(".").because("chroot", "the root")?,
    }
    chdir("/").because("chdir", "/")?;
    c.root = Some(Root::new(open_slash()?));
    Ok(())
}

fn open_slash() -> Done<std::os::fd::OwnedFd> {
    open_flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
}

fn open_flags(flags: OFlag) -> Done<std::os::fd::OwnedFd> {
    nix::fcntl::open(c"/", flags, Mode::empty()).because("open", "/")
}

/// KERNEL: pivot_root(2) §pivot_root(".", "."): the old root ends up over the
/// new one, and is unmounted from there; no directory is needed for it.
fn pivot() -> Done {
    let old = open_slash()?;
    pivot_root(".", ".").because("pivot_root", "")?;
    fchdir(old.as_fd()).because("chdir", "the old root")?;
    // Unmounting must not reach the host, whatever propagation was asked for.
    set(old.as_fd(), libc::MS_SLAVE, true).because("make slave", "the old root")?;
    umount2(".", MntFlags::MNT_DETACH).because("unmount", "the old root")
}
