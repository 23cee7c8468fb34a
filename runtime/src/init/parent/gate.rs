//! A first process that can't be born in its group, and waits until it has been moved there.
//!
//! KERNEL: clone3(2), CLONE_INTO_CGROUP: EACCES where the caller may not move a process from its own
//! group to that one. So it is with a user's scope and a session that isn't their manager's:
//! systemd may, and does it when asked.

use dhow_kernel::process::{self, Fork, Side};
use nix::errno::Errno;
use nix::unistd::{Pid, pipe2};
use std::fs::File;
use std::io::{Read, Write};

use crate::cgroup::Cgroup;
use crate::error::{Error, Result};

/// What a child waits for; nothing where it is in its group already.
#[derive(Debug, Default)]
pub(super) struct Gate(Option<File>);

/// Makes the child, in its group or before a gate: it comes back from here when it is let through.
pub(super) fn fork(how: &Fork<'_>, cgroup: &Cgroup) -> Result<(Side, Gate)> {
    let system = |errno| Error::system("clone", "the container's first process", errno);
    match process::fork(how) {
        Err(Errno::EACCES | Errno::EPERM) if how.cgroup.is_some() && cgroup.is_scope() => {}
        other => return other.map(|side| (side, Gate::default())).map_err(system),
    }
    let (reads, writes) = pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(system)?;
    let how = Fork { cgroup: None, ..*how };
    let side = process::fork(&how).map_err(system)?;
    if let Side::Parent(..) = side {
        return Ok((side, Gate(Some(writes.into()))));
    }
    drop(writes);
    if File::from(reads).read_exact(&mut [0]).is_err() {
        // Whoever made us is gone.
        process::exit_now(1);
    }
    Ok((side, Gate::default()))
}

impl Gate {
    /// Has the child moved, and lets it through.
    pub(super) fn open(self, pid: Pid, cgroup: &Cgroup) -> Result<()> {
        let Some(mut gate) = self.0 else { return Ok(()) };
        cgroup.attach(pid.as_raw())?;
        gate.write_all(&[0]).map_err(|e| Error::io("let go", "the container's first process", &e))
    }
}
