//! The /dev/shm of a container whose IPC others may share: a tmpfs beside its root,
//! in the host's mount namespace, so that other monitors see it.

use std::path::PathBuf;

use nix::mount::{MsFlags, mount};

use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::Record;
use crate::store::make_dir;

/// Where it is mounted.
pub fn path(host: &Host, record: &Record) -> PathBuf {
    host.paths.container(&record.id).join("shm")
}

/// Mounts it for a container that shares it.
pub fn provide(host: &Host, record: &Record) -> Result<()> {
    if record.host_config.ipc_mode != "shareable" {
        return Ok(());
    }
    let target = path(host, record);
    make_dir(&target)?;
    let options = format!("mode=1777,size={}", record.host_config.shm_size);
    let flags = MsFlags::MS_NOEXEC | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("shm"), &target, Some("tmpfs"), flags, Some(options.as_str()))
        .map_err(|e| Error::io("mount", &target, e.desc()))
}
