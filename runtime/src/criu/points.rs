//! Mount namespaces for a restore: where mount points are made, and the one that criu works in.
//!
//! Both are thrown away with their process: nothing of a restore that was killed stays mounted on
//! the host, least of all a root file system below a directory that `delete` removes.

use std::ffi::CStr;
use std::os::fd::AsFd;

use dhow_kernel::mount::{self as kernel, Tree};
use dhow_kernel::process::{self, Fork, Side};
use nix::fcntl::{AT_FDCWD, OFlag, open};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{chroot, fchdir};

use super::external::is_made;
use crate::error::{Error, Result};
use crate::init::fault::{Because, Done};
use crate::init::mounts::{spread, tree};
use crate::init::parent;
use crate::init::protocol::{Link, Message};
use crate::init::root::Root;
use crate::plan::{Phase, Plan};
use crate::validate::mount::Kind;

const DIRECTORY: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// Makes the mount points that the root file system lacks, as `create` would.
///
/// CVE: 2021-30465: the root may hold links of a foreign checkpoint's: each point is reached by
/// the confined handle, and a mount is attached to what was opened.
pub fn make(plan: &Plan) -> Result<()> {
    let system = |e| Error::system("make", "the mount points", e);
    let (ours, theirs) = Link::pair().map_err(system)?;
    let fork = Fork { namespaces: libc::CLONE_NEWNS as u64, ..Fork::default() };
    let pidfd = match process::fork(&fork).map_err(system)? {
        Side::Child => {
            if let Err(cause) = in_order(plan) {
                let _ = theirs.send(&Message::Fault(cause.at(Phase::Mounts)));
            }
            process::exit_now(0)
        }
        Side::Parent(_, pidfd) => pidfd,
    };
    drop(theirs);
    let heard = ours.receive().map_err(system)?;
    parent::wait(pidfd.as_fd()).map_err(system)?;
    match heard {
        Some(Message::Fault(fault)) => Err(Error::rule(format!("restore: {fault}"))),
        _ => Ok(()),
    }
}

fn in_order(plan: &Plan) -> Done {
    apart()?;
    let fd = open(plan.rootfs.as_c_str(), DIRECTORY, Mode::empty())
        .because("open", plan.rootfs.to_bytes())?;
    let root = Root::new(fd);
    for m in plan.mounts.iter().filter(|m| !is_made(plan, &m.target)) {
        match &m.kind {
            Kind::Cgroup | Kind::Remount { .. } => {}
            Kind::New { .. } => drop(root.directory(&m.target)?),
            // Bound, since a later one's point may have to be made inside of it.
            Kind::Bind { source, .. } => {
                let source = tree(source, true)?;
                let stat = fstat(&source).because("stat", "the bind source")?;
                let directory = stat.st_mode & libc::S_IFMT == libc::S_IFDIR;
                let at = if directory { root.directory(&m.target)? } else { root.file(&m.target)? };
                kernel::move_mount(source.as_fd(), at.as_fd())
                    .because("mount", crate::init::root::shown(&m.target))?;
            }
        }
    }
    Ok(())
}

/// Nothing that is mounted from here on reaches the host.
fn apart() -> Done {
    let root = open(c"/", DIRECTORY, Mode::empty()).because("open", "/")?;
    // Slave and not private: the container's root keeps the master it was dumped with.
    spread(&[(libc::MS_SLAVE, true)], root.as_fd()).because("make slave", "/")
}

/// In criu's process: binds the root file system where criu is told to find it.
///
/// criu wants a root that is a mount point, and a parent that nothing is mounted over.
pub fn root_for_criu(rootfs: &CStr, at: &CStr, no_pivot: bool) -> Done {
    apart()?;
    if no_pivot {
        // KERNEL: pivot_root(2) refuses a root that has no parent mount, as an initramfs;
        // a copy of all of it on top has one.
        let copy = kernel::open_tree(AT_FDCWD, c"/", Tree::CloneRecursive).because("copy", "/")?;
        let slash = open(c"/", DIRECTORY, Mode::empty()).because("open", "/")?;
        kernel::move_mount(copy.as_fd(), slash.as_fd()).because("mount over", "/")?;
        fchdir(&copy).because("chdir", "/")?;
        chroot(c".").because("chroot", "/")?;
    }
    let copy = tree(rootfs, true)?;
    let target = open(at, DIRECTORY, Mode::empty()).because("open", at.to_bytes())?;
    kernel::move_mount(copy.as_fd(), target.as_fd()).because("mount", at.to_bytes())
}
