//! The view of a container's root, and how it is made.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use dhow_kernel::mount::{Attributes, Tree, move_mount, open_tree, set_attributes};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::Mode;
use nix::sys::statfs::{FUSE_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, fstatfs};

use super::attach;
use crate::bundle::{RootDir, copy_up};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::Record;
use crate::monitor::{Hold, hold, rootfs};

/// A container's root with its volumes. It lives as long as this does, and a container that
/// doesn't run is not started meanwhile.
pub struct View<'a> {
    // In this order they go: the mounts before the lock.
    root: RootDir,
    namespace: OwnedFd,
    _hold: Hold<'a>,
}

/// What a thread in the view's namespace has made.
struct Made {
    root: RootDir,
    namespace: OwnedFd,
}

impl<'a> View<'a> {
    /// The view of `record`'s container.
    pub fn open(host: &'a Host, record: &'a Record) -> Result<Self> {
        loop {
            let hold = hold(host, record)?;
            // A thread of its own: only its mount namespace changes.
            let made = std::thread::scope(|scope| {
                scope.spawn(|| make(host, record, &hold)).join().map_err(|_| {
                    Error::engine(format!("reach into container {}: a thread died", record.name))
                })
            })?;
            match made {
                // Its namespaces go before it does: the next look finds it ended.
                Err(Stop::Ended) => hold.wait()?,
                Err(Stop::Failed(error)) => return Err(error),
                Ok(Made { root, namespace }) => {
                    return Ok(Self { root, namespace, _hold: hold });
                }
            }
        }
    }

    /// The mount namespace it is in. KERNEL: a mount point can be unlinked from any namespace but
    /// its own, and goes then in all of them: who writes to the view enters it.
    pub fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// Its root; paths in it are confined to it.
    pub fn root(&self) -> &RootDir {
        &self.root
    }
}

/// Why no view was made.
pub(super) enum Stop {
    /// The container's process ended just then.
    Ended,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

fn make(host: &Host, record: &Record, hold: &Hold<'_>) -> Result<Made, Stop> {
    rootfs::enter_namespace()?;
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let namespace = open("/proc/thread-self/ns/mnt", flags, Mode::empty())
        .map_err(|e| Error::engine(format!("open the mount namespace: {}", e.desc())))?;
    let target = host.paths.rootfs(&record.id);
    let mut live = Vec::new();
    match hold {
        Hold::Living(init) => {
            let taken = take(init, &namespace, record)?;
            live = taken.tmpfs;
            let onto = open(&target, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
                .map_err(|e| Error::io("open", &target, e.desc()))?;
            move_mount(taken.root.as_fd(), onto.as_fd())
                .map_err(|e| Error::io("mount on", &target, e.desc()))?;
        }
        Hold::Still(still) => {
            rootfs::mount_overlay(host, record, still.fresh)?;
            if still.fresh {
                let sources = crate::bundle::of_view(host, record)?;
                copy_up::volumes(&RootDir::open(&target)?, record, &sources)?;
            }
        }
    }
    let root = RootDir::open(&target)?;
    attach::all(host, record, &root, live, matches!(hold, Hold::Still(_)))?;
    let read_only = record.host_config.readonly_rootfs;
    harmless(root.fd(), read_only, false).map_err(|e| failed(record, &target, e))?;
    Ok(Made { root, namespace })
}

/// Nothing in the view is executed or opened as a device, whatever lies there.
pub fn harmless(mount: BorrowedFd<'_>, read_only: bool, recursive: bool) -> nix::Result<()> {
    let mut set = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    if read_only {
        set |= libc::MOUNT_ATTR_RDONLY;
    }
    set_attributes(mount, &Attributes { set, ..Attributes::default() }, recursive)
}

/// Mounts copied from a container that lives.
struct Taken {
    root: OwnedFd,
    /// With the destinations that the record names.
    tmpfs: Vec<(String, OwnedFd)>,
}

/// Copies the root's mount, without what is mounted on it, and the tmpfs of the record.
/// The calling thread visits the container's mount namespace and comes back.
fn take(init: &OwnedFd, back: &OwnedFd, record: &Record) -> Result<Taken, Stop> {
    let fail = |e| failed(record, "/".as_ref(), e);
    setns(init, CloneFlags::CLONE_NEWNS).map_err(|e| match e {
        Errno::ESRCH => Stop::Ended,
        e => fail(e).into(),
    })?;
    let taken = take_here(record);
    setns(back, CloneFlags::CLONE_NEWNS).map_err(fail)?;
    Ok(taken.map_err(fail)?)
}

fn take_here(record: &Record) -> nix::Result<Taken> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let here = open("/", flags, Mode::empty())?;
    // A container that may mount could have put anything there; fuse-overlayfs makes those of an
    // ordinary user alone, who is no more than that inside.
    match fstatfs(&here)?.filesystem_type() {
        OVERLAYFS_SUPER_MAGIC => {}
        FUSE_SUPER_MAGIC if dhow_image::rootless::is_confined() => {}
        _ => return Err(Errno::EXDEV),
    }
    let root = open_tree(here.as_fd(), c"", Tree::Clone)?;
    let inside = RootDir::from_fd(here, "/");
    let mut tmpfs = Vec::new();
    // DIFFERS: docker shows what lies beneath a tmpfs, and copies to where nobody sees it.
    for mount in record.mounts.iter().filter(|m| m.kind == "tmpfs") {
        // Its parents may have been moved: then it isn't where it was asked for.
        let Ok(at) = inside.at(&mount.destination, flags) else { continue };
        if fstatfs(&at)?.filesystem_type() == TMPFS_MAGIC {
            let copy = open_tree(at.as_fd(), c"", Tree::Clone)?;
            tmpfs.push((mount.destination.clone(), copy));
        }
    }
    Ok(Taken { root, tmpfs })
}

fn failed(record: &Record, path: &Path, errno: Errno) -> Error {
    let path = path.display();
    Error::engine(format!("reach into container {}: {path}: {}", record.name, errno.desc()))
}
