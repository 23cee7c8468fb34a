//! Device nodes and links under /dev.

use std::os::fd::{AsFd, OwnedFd};

use dhow_kernel::mount::{self as kernel, Tree};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat, makedev, mknodat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, symlinkat, unlinkat};

use super::child::Context;
use super::fault::{Because, Cause, Done};
use super::mounts;
use super::root::{Root, shown, split};
use crate::plan::Plan;
use crate::validate::linux::Device;
use crate::validate::mount::{Attributes, attr};

/// Makes them.
pub fn perform(plan: &Plan, c: &mut Context) -> Done {
    let mut made = std::mem::take(&mut c.nodes);
    let root = c.root()?;
    for (n, device) in plan.devices.iter().enumerate() {
        if let Some(tree) = made.get_mut(n).and_then(Option::take) {
            attach(root, device, &tree)?;
        } else if plan.bind_devices && device.kind != libc::S_IFIFO {
            bind(root, device)?;
        } else {
            node(root, device)?;
        }
    }
    for (at, to) in &plan.links {
        link(root, at, to)?;
    }
    Ok(())
}

fn node(root: &Root, device: &Device) -> Done {
    let (parent, name) = split(&device.path);
    let parent = root.kept(&parent)?;
    let number = makedev(u64::from(device.major), u64::from(device.minor));
    let kind = SFlag::from_bits_truncate(device.kind);
    let mode = Mode::from_bits_truncate(device.mode);
    match mknodat(&*parent, name.as_c_str(), kind, mode, number) {
        Ok(()) => {}
        Err(Errno::EEXIST) => return same(&*parent, &name, device, number),
        // In a user namespace of someone else's making.
        Err(Errno::EPERM) if device.kind != libc::S_IFIFO => return bind(root, device),
        Err(errno) => return Err(errno).because("mknod", shown(&device.path)),
    }
    if device.uid != 0 || device.gid != 0 {
        let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
        fchownat(&*parent, name.as_c_str(), Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
            .because("chown", shown(&device.path))?;
    }
    Ok(())
}

/// What the image or a mount already has there must be that very device.
fn same(parent: impl AsFd, name: &std::ffi::CStr, device: &Device, number: u64) -> Done {
    let stat =
        fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW).because("stat", shown(&device.path))?;
    let kind = stat.st_mode & libc::S_IFMT;
    if kind == device.kind && (kind == libc::S_IFIFO || stat.st_rdev == number) {
        return Ok(());
    }
    let path = String::from_utf8_lossy(&shown(&device.path)).into_owned();
    Err(Cause::rule(format!("{path} exists in the root and is not the device asked for")))
}

/// KERNEL: user_namespaces(7): nodes can't be made there, so the host's are bound.
fn bind(root: &Root, device: &Device) -> Done {
    let host = std::ffi::CString::new(shown(&device.path)).unwrap_or_default();
    let tree = kernel::open_tree(AT_FDCWD, &host, Tree::Clone)
        .because("open the host's device", host.to_bytes())?;
    let stat = fstat(&tree).because("stat", host.to_bytes())?;
    let number = makedev(u64::from(device.major), u64::from(device.minor));
    if stat.st_mode & libc::S_IFMT != device.kind || stat.st_rdev != number {
        let path = host.to_string_lossy();
        return Err(Cause::rule(format!("{path} of the host is not the device asked for")));
    }
    attach(root, device, &tree)
}

fn attach(root: &Root, device: &Device, tree: &OwnedFd) -> Done {
    let target = root.file(&device.path)?;
    // As crun: a device is neither a program nor anyone's.
    let plain = Attributes { set: attr::NOSUID | attr::NOEXEC, clear: 0 };
    mounts::dress(tree.as_fd(), plain, false).because("mount_setattr", shown(&device.path))?;
    kernel::move_mount(tree.as_fd(), target.as_fd()).because("mount", shown(&device.path))
}

fn link(root: &Root, at: &std::ffi::CStr, to: &std::ffi::CStr) -> Done {
    let (parent, name) = split(at);
    let parent = root.kept(&parent)?;
    match symlinkat(to, &*parent, name.as_c_str()) {
        Err(Errno::EEXIST) if name.as_c_str() == c"ptmx" => {
            // A ptmx of the image's is not of this container's devpts.
            unlinkat(&*parent, name.as_c_str(), UnlinkatFlags::NoRemoveDir)
                .because("unlink", shown(at))?;
            symlinkat(to, &*parent, name.as_c_str()).because("symlink", shown(at))
        }
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno).because("symlink", shown(at)),
    }
}
