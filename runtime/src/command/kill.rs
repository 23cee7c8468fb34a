//! `kill`: a signal to a container's first process, or to all of them.

use std::os::fd::AsFd;

use super::World;
use crate::error::{Error, Result};
use crate::{signal, state::Status};

/// Sends it.
pub fn kill(id: &str, text: &str, all: bool, world: &World) -> Result<()> {
    let number =
        signal::parse(text).ok_or_else(|| Error::rule(format!("unknown signal {text:?}")))?;
    let (dir, record) = world.store.find(id)?;
    if all && !record.cgroup.is_empty() {
        // Also what outlived the first process.
        return record.cgroup.kill(number);
    }
    let gone = || Error::rule(format!("container not running: {id}"));
    let status = dir.status(&record);
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
    let process = record.process.open().ok_or_else(gone)?;
    match dhow_kernel::process::pidfd_signal(process.as_fd(), number) {
        Err(nix::errno::Errno::ESRCH) => return Err(gone()),
        other => other.map_err(|e| Error::system("signal", id, e))?,
    }
    // A frozen process dies when it thaws.
    if number == libc::SIGKILL && status == Status::Paused {
        record.cgroup.thaw()?;
    }
    Ok(())
}
