//! The container's root: an overlay in the monitor's own mount namespace.
//!
//! The namespace is private and a slave of the host's: nothing mounted here is
//! seen outside, and when the monitor goes, however it goes, the kernel unmounts.

use std::ffi::CString;
use std::fmt::Write;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use dhow_kernel::mount as fs;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::{MountPoint, Record};

/// What an overlay is made of.
struct Overlay<'a> {
    /// Read-only, the topmost first.
    lower: &'a [&'a Path],
    /// The upper and the work directory; without them nothing can be written.
    upper: Option<(&'a Path, &'a Path)>,
    /// Nothing is ever synced: for what is thrown away after use.
    volatile: bool,
}

/// Whether this container's mounts have to be seen by others, and so lie in the host's
/// mount namespace: then nobody but us unmounts them.
pub fn is_of_host(record: &Record) -> bool {
    let shared = |m: &MountPoint| crate::bundle::is_shared(&m.propagation);
    record.host_config.ipc_mode == "shareable"
        || record.mounts.iter().any(shared)
        || crate::bundle::local::any(record)
}

/// Enters a mount namespace of our own.
pub fn enter_namespace() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)
        .map_err(|e| Error::engine(format!("make a mount namespace: {}", e.desc())))?;
    let slave = MsFlags::MS_REC | MsFlags::MS_SLAVE;
    mount(None::<&str>, "/", None::<&str>, slave, None::<&str>)
        .map_err(|e| Error::engine(format!("make mounts private: {}", e.desc())))
}

/// Mounts the container's root at ROOT/containers/ID/rootfs; `first` is true before its first life.
pub fn mount_overlay(host: &Host, record: &Record, first: bool) -> Result<()> {
    let dir = host.paths.container(&record.id);
    let (upper, work, target) = (dir.join("upper"), dir.join("work"), dir.join("rootfs"));
    let mut lower: Vec<PathBuf> =
        record.layers.iter().rev().map(|id| host.paths.layer_fs(id)).collect();
    for layer in &lower {
        if !layer.is_dir() {
            let why = format!("it lacks; pull {} again", record.image.reference);
            return Err(Error::io("image layer", layer, why));
        }
    }
    if first && let Some(top) = lower.first() {
        like(&upper, top)?;
    }
    if lower.is_empty() {
        let empty = host.paths.monitor(&record.id).join("empty");
        crate::store::make_dir(&empty)?;
        lower.push(empty);
    }
    let lower: Vec<&Path> = lower.iter().map(PathBuf::as_path).collect();
    let volatile = record.host_config.auto_remove;
    if volatile {
        // A killed life may have left the mark that forbids a second volatile mount.
        let _ = std::fs::remove_dir_all(work.join("work/incompat"));
    }
    let overlay = Overlay { lower: &lower, upper: Some((&upper, &work)), volatile };
    overlay.mount(&target).map_err(|e| Error::io("mount overlay on", &target, e.desc()))
}

impl Overlay<'_> {
    fn mount(&self, target: &Path) -> nix::Result<()> {
        match mount_new(self, target) {
            Err(Errno::EINVAL | Errno::ENOSYS) => mount_classic(self, target),
            other => other,
        }
    }
}

/// Mounts `lower`, two layers or more and the topmost first, for reading alone.
pub fn mount_lower(lower: &[&Path], target: &Path) -> nix::Result<()> {
    Overlay { lower, upper: None, volatile: false }.mount(target)
}

/// KERNEL: `lowerdir+` came with Linux 6.8; before that the answer is EINVAL and nothing is mounted.
fn mount_new(overlay: &Overlay<'_>, target: &Path) -> nix::Result<()> {
    let text = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL);
    let context = fs::fsopen(c"overlay")?;
    let set = |key, value: &_| fs::fsconfig_string(context.as_fd(), key, value);
    set(c"source", c"dhow")?;
    for lower in overlay.lower {
        set(c"lowerdir+", &text(lower)?)?;
    }
    if let Some((upper, work)) = overlay.upper {
        set(c"upperdir", &text(upper)?)?;
        set(c"workdir", &text(work)?)?;
    }
    // The upper directory is read as a layer later (diff, commit): plain entries only.
    for key in [c"index", c"metacopy", c"redirect_dir"] {
        set(key, c"off")?;
    }
    if overlay.volatile {
        fs::fsconfig_flag(context.as_fd(), c"volatile")?;
    }
    fs::fsconfig_create(context.as_fd())?;
    let mounted = fs::fsmount(context.as_fd(), 0)?;
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let target = File::options().read(true).custom_flags(flags).open(target).map_err(as_errno)?;
    fs::move_mount(mounted.as_fd(), target.as_fd())
}

fn as_errno(e: std::io::Error) -> Errno {
    Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO))
}

/// Kernels before 6.8: one string of a page, so the layers go in by descriptor.
fn mount_classic(overlay: &Overlay<'_>, target: &Path) -> nix::Result<()> {
    let open = |path: &&Path| {
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        File::options().read(true).custom_flags(flags).open(path)
    };
    let own = overlay.upper.map(|(upper, work)| [upper, work]);
    let all: Vec<&Path> = overlay.lower.iter().copied().chain(own.into_iter().flatten()).collect();
    let opened: Vec<File> =
        all.iter().map(open).collect::<std::io::Result<_>>().map_err(as_errno)?;
    let names: Vec<_> = opened.iter().map(|f| format!("/proc/self/fd/{}", f.as_raw_fd())).collect();
    let (lower, own) = names.split_at(overlay.lower.len());
    let mut options = format!("lowerdir={},index=off", lower.join(":"));
    if let [upper, work] = own {
        let _ = write!(options, ",upperdir={upper},workdir={work}");
    }
    if overlay.volatile {
        options.push_str(",volatile");
    }
    mount(Some("dhow"), target, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
}

/// Unmounts the root and what was mounted beside it; not being mounted is fine.
pub fn unmount(host: &Host, record: &Record) -> Result<()> {
    let mut targets = vec![host.paths.rootfs(&record.id)];
    if is_of_host(record) || crate::bundle::mounts_more(record) {
        targets.extend(crate::mounted::below(&host.paths.container(&record.id))?);
    }
    for target in targets.iter().rev() {
        match umount2(target, MntFlags::MNT_DETACH) {
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
            Err(e) => return Err(Error::io("unmount", target, e.desc())),
        }
    }
    crate::bundle::local::release(host, record)
}

/// Unmounts what a killed monitor left in the host's mount namespace.
pub fn sweep(host: &Host, record: &Record) -> Result<()> {
    if is_of_host(record) { unmount(host, record) } else { Ok(()) }
}

/// An overlay's `/` is its upper directory: it looks as the image's does.
fn like(upper: &Path, top: &Path) -> Result<()> {
    let meta = std::fs::metadata(top).map_err(|e| Error::io("read", top, e))?;
    std::os::unix::fs::chown(upper, Some(meta.uid()), Some(meta.gid()))
        .and_then(|()| std::fs::set_permissions(upper, meta.permissions()))
        .map_err(|e| Error::io("set the mode of", upper, e))
}
