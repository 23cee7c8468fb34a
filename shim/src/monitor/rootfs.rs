//! The container's root: an overlay in the monitor's own mount namespace.
//!
//! The namespace is private and a slave of the host's: nothing mounted here is
//! seen outside, and when the monitor goes, however it goes, the kernel unmounts.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use dhow_image::overlay::{Overlay, advice};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::{MountPoint, Record};

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
    unshare(CloneFlags::CLONE_NEWNS).map_err(|e| {
        let hint = match e {
            // Without the right to mount there is no user namespace either, or we would be in it.
            Errno::EPERM => {
                "; in a container: start that one with --security-opt seccomp=unconfined --security-opt systempaths=unconfined"
            }
            _ => "",
        };
        Error::engine(format!("make a mount namespace: {}{hint}", e.desc()))
    })?;
    let slave = MsFlags::MS_REC | MsFlags::MS_SLAVE;
    mount(None::<&str>, "/", None::<&str>, slave, None::<&str>)
        .map_err(|e| Error::engine(format!("make mounts private: {}", e.desc())))
}

/// Mounts the container's root at ROOT/containers/ID/rootfs; `first` is true before its first life.
pub fn mount_overlay(host: &Host, record: &Record, first: bool) -> Result<()> {
    suits(host)?;
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
    let volatile = record.host_config.auto_remove;
    if volatile {
        // A killed life may have left the mark that forbids a second volatile mount.
        let _ = std::fs::remove_dir_all(work.join("work/incompat"));
    }
    let upper = Some((upper.as_path(), work.as_path()));
    let overlay = Overlay { source: c"dhow", lower: &lower, upper, volatile };
    overlay
        .mount(&target)
        .map_err(|e| Error::io("mount overlay on", &target, format!("{}{}", e.desc(), advice(e))))
}

/// Refuses to use a store whose files another kind of user made.
pub fn suits(host: &Host) -> Result<()> {
    dhow_image::store::suits(&host.paths.root).map_err(|e| Error::conflict(e.to_string()))
}

/// Mounts `lower`, two layers or more and the topmost first, for reading alone.
pub fn mount_lower(lower: &[&Path], target: &Path) -> nix::Result<()> {
    Overlay { source: c"dhow", lower, upper: None, volatile: false }.mount(target)
}

/// Unmounts the root and what was mounted beside it; not being mounted is fine.
pub fn unmount(host: &Host, record: &Record) -> Result<()> {
    let mut targets = vec![host.paths.rootfs(&record.id)];
    if is_of_host(record) || crate::bundle::mounts_more(record) {
        targets.extend(crate::mounted::below(&host.paths.container(&record.id))?);
    }
    for target in targets.iter().rev() {
        match umount2(target, MntFlags::MNT_DETACH) {
            // Who may not unmount has mounted nothing.
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT | Errno::EPERM) => {}
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
