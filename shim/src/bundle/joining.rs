//! Namespaces of other containers, held open until the runtime has joined them.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::{Record, Status};
use crate::monitor::await_monitor;

/// Namespaces that a container shares with others. A pid in a path could be another
/// process's by the time the runtime opens it; a descriptor of ours can't.
#[derive(Debug, Default)]
pub struct Shares {
    pub(super) pid: Option<OwnedFd>,
    pub(super) network: Option<OwnedFd>,
    pub(super) ipc: Option<OwnedFd>,
    /// Whose /dev/shm is shared.
    pub(super) shm: Option<PathBuf>,
}

impl Shares {
    /// Opens what `record` asks for.
    pub fn of(host: &Host, record: &Record) -> Result<Self> {
        let config = &record.host_config;
        let ipc = donor(host, &config.ipc_mode)?;
        if let Some(other) = &ipc
            && !matches!(other.host_config.ipc_mode.as_str(), "shareable" | "host")
        {
            return Err(Error::conflict(format!(
                "failed to join IPC namespace: container {}: non-shareable IPC \
                 (hint: use IpcMode:shareable for the donor container)",
                other.name
            )));
        }
        let open = |other: Option<&Record>, space, refuse: fn(&str) -> String| {
            other.map(|other| namespace(host, other, space, refuse)).transpose()
        };
        let shm = ipc.as_ref().filter(|other| other.host_config.ipc_mode == "shareable");
        // Mounts of an ordinary user are seen by their own monitor alone.
        if let Some(other) = shm.filter(|_| dhow_image::rootless::inside().is_some()) {
            return Err(Error::conflict(format!(
                "failed to join IPC namespace: container {}: without root its /dev/shm can't be shared; bind a directory of both with --volume",
                other.name
            )));
        }
        Ok(Self {
            pid: open(donor(host, &config.pid_mode)?.as_ref(), "pid", |name| {
                format!("failed to join PID namespace: container {name} is not running")
            })?,
            network: open(donor(host, &config.network_mode)?.as_ref(), "net", |name| {
                format!("cannot join network of a non running container: {name}")
            })?,
            ipc: open(ipc.as_ref(), "ipc", |name| {
                format!("failed to join IPC namespace: container {name} is not running")
            })?,
            shm: shm.map(|other| super::shm::path(host, other)),
        })
    }
}

/// A path to one of our descriptors that leads the runtime to the same namespace.
pub(super) fn path(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd()))
}

fn donor(host: &Host, mode: &str) -> Result<Option<Record>> {
    let Some(name) = mode.strip_prefix("container:") else { return Ok(None) };
    Ok(Some(host.containers.find(name)?.record))
}

/// Nobody waits for whoever waits for him: a container joins those that were made before it.
fn namespace(
    host: &Host,
    other: &Record,
    space: &str,
    refuse: fn(&str) -> String,
) -> Result<OwnedFd> {
    let mut line = None;
    loop {
        let state = crate::monitor::state(host, other)?;
        let alive = matches!(state.status, Status::Running | Status::Paused);
        if alive && let Some(found) = crate::monitor::namespace(&state, space)? {
            return Ok(found);
        }
        // A monitor without a process is at its start (after a boot, all start side by side), or
        // at its end: either way it is about to say so.
        if state.status == Status::Restarting || !host.paths.monitor(&other.id).exists() {
            let why = refuse(&other.name);
            return Err(Error::conflict(format!("{why}; start it first")));
        }
        line = await_monitor(host, &other.id, if alive { line } else { None })?;
    }
}
