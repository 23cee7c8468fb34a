//! A container's files, from outside, whether it runs or not.
//!
//! - [`View`]: its root with its volumes, as `cp` shows it.
//! - [`layers`]: what its root is made of, where that lies, for `export`, `diff` and `commit`.
//!
//! A view is made of mounts that dhow chose, in a mount namespace of its own: the
//! container's overlay (a copy of the one mount of a container that lives, else mounted
//! under its lock) and upon it its volumes, binds and tmpfs. Nothing that the container
//! mounted is there, nor /proc, /sys and device files that open; it is gone with the process.

mod attach;
mod view;

use std::os::fd::AsFd;
use std::path::Path;

use dhow_image::layer::RootDir;
use dhow_kernel::mount::{Tree, open_tree};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::Record;

pub use view::{View, harmless};

/// What docker puts below every container for mounts to stand on; it shows none of it, and no
/// image is made of it.
pub const MOUNT_POINTS: [&[u8]; 14] = [
    b"dev",
    b"dev/console",
    b"dev/mqueue",
    b"dev/pts",
    b"dev/shm",
    b"etc",
    b"etc/hostname",
    b"etc/hosts",
    b"etc/resolv.conf",
    b"proc",
    b"sys",
    b"sys/fs",
    b"sys/fs/cgroup",
    b"run/secrets",
];

/// The directories that a container's root consists of: its own changes, then its image's
/// layers, topmost first. They are copies of mounts: read-only, and no device in them opens.
pub fn layers(host: &Host, record: &Record) -> Result<Vec<RootDir>> {
    crate::monitor::rootfs::suits(host)?;
    let upper = host.paths.container(&record.id).join("upper");
    let lower = record.layers.iter().rev().map(|chain| host.paths.layer_fs(chain));
    std::iter::once(upper).chain(lower).map(|dir| read_only(&dir)).collect()
}

fn read_only(dir: &Path) -> Result<RootDir> {
    let fail = |e: Errno| Error::io("read", dir, e.desc());
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let plain = open(dir, flags, Mode::empty()).map_err(fail)?;
    // A container that lives may put a device where we are about to open a file.
    let mount = open_tree(plain.as_fd(), c"", Tree::Clone).map_err(fail)?;
    harmless(mount.as_fd(), true, false).map_err(fail)?;
    Ok(RootDir::from_fd(mount, dir))
}
