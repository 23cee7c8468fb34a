//! `kill`: a signal to a container's first process, or to all of them.

use std::os::fd::AsFd;

use nix::errno::Errno;

use super::World;
use crate::error::{Error, Result};
use crate::log::Level;
use crate::signal;
use crate::state::{Record, Status};
use crate::validate::annotation::STOP_SIGNAL;

/// Sends it; without a name the one that the container's image says, or TERM.
pub fn kill(id: &str, text: Option<&str>, all: bool, world: &World) -> Result<()> {
    let named = text.map(|text| {
        signal::parse(text).ok_or_else(|| Error::rule(format!("unknown signal {text:?}")))
    });
    let named = named.transpose()?;
    let (dir, record) = world.store.find(id)?;
    let number = named.unwrap_or_else(|| own(&record, world));
    if all && !record.cgroup.is_empty() {
        // Also what outlived the first process.
        return record.cgroup.kill(number);
    }
    let gone = || Error::rule(format!("container not running: {id}"));
    let status = dir.status(&record)?;
    if all && status == Status::Stopped {
        return Ok(());
    }
    // As runc: in a pid namespace of others, the end of the first process is the end of no other.
    if number == libc::SIGKILL && record.shared_pids && !record.cgroup.is_empty() {
        if status == Status::Stopped && record.cgroup.pids()?.is_empty() {
            return Err(gone());
        }
        return record.cgroup.kill(number);
    }
    if matches!(status, Status::Stopped | Status::Creating) {
        return Err(gone());
    }
    let process = record.process.open()?.ok_or_else(gone)?;
    match dhow_kernel::process::pidfd_signal(process.as_fd(), number) {
        Err(Errno::ESRCH) => return Err(gone()),
        other => other.map_err(|e| Error::system("signal", id, e))?,
    }
    // A frozen process dies when it thaws.
    if number == libc::SIGKILL && status == Status::Paused {
        match record.cgroup.thaw() {
            // KERNEL: in a group of v2 it has died at once, and systemd takes the groups of the dead.
            Err(Error::System { errno: Errno::ENOENT | Errno::ENODEV, .. }) => {}
            other => other?,
        }
    }
    Ok(())
}

/// SPEC: config.md §Annotations: `org.opencontainers.image.stopSignal` is what should be sent to
/// kill the container.
///
/// DIFFERS: runc and crun send TERM.
fn own(record: &Record, world: &World) -> i32 {
    let Some(text) = record.annotations.get(STOP_SIGNAL).filter(|text| !text.is_empty()) else {
        return libc::SIGTERM;
    };
    signal::parse(text).unwrap_or_else(|| {
        let why = format!("annotation {STOP_SIGNAL}: unknown signal {text:?}: TERM is sent");
        world.log.line(Level::Warning, &why);
        libc::SIGTERM
    })
}
