//! The root file system: opened before the mounts, made `/` after them.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use dhow_kernel::fd::Loose;
use dhow_kernel::mount::{self as kernel, Tree};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, chroot, fchdir, pivot_root};

use super::bare;
use super::child::{Context, HELD};
use super::fault::{Because, Done};
use super::root::Root;
use crate::plan::{Pivot, Plan};

/// Cuts the mount namespace off from the host's and makes the root a mount of its own.
pub fn open(plan: &Plan, c: &mut Context) -> Done {
    let rootfs = plan.rootfs.as_c_str();
    if plan.pivot == Pivot::Chroot {
        return beside_the_host(rootfs, c);
    }
    let (propagation, recursive) = plan.propagation;
    // DIFFERS: runc makes the host's tree unbindable too, and then can bind nothing of it; here
    // that is private until the root is `/`.
    let unbindable = propagation == libc::MS_UNBINDABLE;
    let propagation = if unbindable { libc::MS_PRIVATE } else { propagation };
    let depth = if recursive { MsFlags::MS_REC } else { MsFlags::empty() };
    let change = MsFlags::from_bits_truncate(propagation) | depth;
    mount(None::<&CStr>, c"/", None::<&CStr>, change, None::<&CStr>)
        .because("set the propagation of", "/")?;
    if !plan.masked_paths.is_empty() {
        c.null = Some(super::mask::host_null()?);
    }
    if !is_apart(plan) {
        part(rootfs, propagation)?;
    }
    c.root = Some(Root::new(over_itself(rootfs)?));
    Ok(())
}

/// Whether no mount that is made or unmade here shows up where it came from.
fn is_apart(plan: &Plan) -> bool {
    let apart = |flags| matches!(flags, libc::MS_SLAVE | libc::MS_PRIVATE | libc::MS_UNBINDABLE);
    plan.propagation.1 && apart(plan.propagation.0)
}

/// The root, as a mount of its own over the place where it lies.
fn over_itself(rootfs: &CStr) -> Done<OwnedFd> {
    let tree = kernel::open_tree(AT_FDCWD, rootfs, Tree::CloneRecursive)
        .because("open the root", rootfs.to_bytes())?;
    kernel::move_mount_to_path(tree.as_fd(), rootfs).because("mount", rootfs.to_bytes())?;
    Ok(tree)
}

/// Without a mount namespace the mounts go below the root in the caller's, and stay there, as
/// with runc: they are the caller's to unmount.
fn beside_the_host(rootfs: &CStr, c: &mut Context) -> Done {
    let tree = over_itself(rootfs)?;
    // Where it lies may be shared, and then so is it: what comes below is to be seen here only.
    set(tree.as_fd(), libc::MS_PRIVATE, true).because("make private", rootfs.to_bytes())?;
    c.root = Some(Root::new(tree));
    Ok(())
}

/// The root once something is mounted over it.
pub fn reopened(rootfs: &CStr) -> Done<Root> {
    let fd = nix::fcntl::open(rootfs, HELD, Mode::empty());
    fd.because("open the root", rootfs.to_bytes()).map(Root::new)
}

fn set(mount: std::os::fd::BorrowedFd<'_>, propagation: u64, recursive: bool) -> nix::Result<()> {
    let attributes = kernel::Attributes { propagation, ..Default::default() };
    kernel::set_attributes(mount, &attributes, recursive)
}

/// Cuts off the one mount that the root lies on.
///
/// KERNEL: pivot_root(2): it must not be shared; and what is mounted on a shared one would show
/// up on the host.
fn part(rootfs: &CStr, propagation: u64) -> Done {
    let own = if propagation == libc::MS_SLAVE { propagation } else { libc::MS_PRIVATE };
    let mut path = rootfs.to_bytes();
    loop {
        let at = CString::new(if path.is_empty() { b"/" } else { path }).unwrap_or_default();
        let fd = nix::fcntl::open(at.as_c_str(), HELD, Mode::empty());
        // KERNEL: mount_setattr(2): EINVAL says that this isn't where a mount begins.
        match set(fd.because("open", at.to_bytes())?.as_fd(), own, false) {
            Err(Errno::EINVAL) if !path.is_empty() => {}
            other => return other.because("make private", at.to_bytes()),
        }
        path = &path[..path.iter().rposition(|b| *b == b'/').unwrap_or(0)];
    }
}

/// Makes it `/`.
pub fn perform(plan: &Plan, c: &mut Context) -> Done {
    let root = c.root()?;
    fchdir(root.as_fd()).because("chdir", "the root")?;
    match plan.pivot {
        // Where we are, and what is held, is `/` by that.
        Pivot::Pivot if is_apart(plan) => {
            root.forget();
            pivot_root(".", ".").because("pivot_root", "")?;
            return umount2(".", MntFlags::MNT_DETACH).because("unmount", "the old root");
        }
        Pivot::Pivot => pivot()?,
        Pivot::Move => {
            bare::hide(&c.proc, plan.rootfs.to_bytes())?;
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

fn open_slash() -> Done<Loose> {
    open_flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
}

fn open_flags(flags: OFlag) -> Done<Loose> {
    nix::fcntl::open(c"/", flags, Mode::empty()).map(Loose::from).because("open", "/")
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
