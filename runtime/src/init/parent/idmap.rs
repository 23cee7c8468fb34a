//! The id maps of a new user namespace, written from outside.
//!
//! KERNEL: user_namespaces(7): the privileged write any map; others one line
//! of their own id, with setgroups denied, or ask newuidmap and newgidmap.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;

use dhow_kernel::process::{self, Fork, Side};
use nix::unistd::{Pid, getegid, geteuid};

use crate::error::{Error, Result};
use crate::init::procfs::Procfs;
use crate::init::protocol::Link;
use crate::validate::linux::ns;
use crate::validate::spec::IdMapping;

/// Writes both maps of process `pid`.
pub fn write(proc: &Procfs, pid: Pid, uids: &[IdMapping], gids: &[IdMapping]) -> Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    if uid.is_root() {
        put(proc, pid, "uid_map", &lines(uids))?;
        return put(proc, pid, "gid_map", &lines(gids));
    }
    if own(uids, uid.as_raw()) {
        put(proc, pid, "uid_map", &lines(uids))?;
    } else {
        ask("newuidmap", pid, uids)?;
    }
    if own(gids, gid.as_raw()) {
        put(proc, pid, "setgroups", "deny")?;
        put(proc, pid, "gid_map", &lines(gids))
    } else {
        ask("newgidmap", pid, gids)
    }
}

/// A user namespace of these maps, held by its descriptor alone.
pub fn space(proc: &Procfs, uids: &[IdMapping], gids: &[IdMapping]) -> Result<OwnedFd> {
    let system = |e| Error::system("make", "a user namespace for an id map", e);
    let (ours, theirs) = Link::pair().map_err(system)?;
    let fork = Fork { namespaces: ns::USER, ..Fork::default() };
    let (pid, pidfd) = match process::fork(&fork).map_err(system)? {
        Side::Child => {
            drop(ours);
            // Heard when the maps are read, or their writer is gone.
            let _ = theirs.receive();
            process::exit_now(0)
        }
        Side::Parent(pid, pidfd) => (pid, pidfd),
    };
    drop(theirs);
    let made =
        write(proc, pid, uids, gids).and_then(|()| proc.namespace(pid, "user").map_err(system));
    drop(ours);
    super::wait(pidfd.as_fd()).map_err(system)?;
    made
}

fn own(map: &[IdMapping], id: u32) -> bool {
    matches!(map, [one] if one.host == id && one.size == 1)
}

fn lines(map: &[IdMapping]) -> String {
    let lines = map.iter().map(|m| format!("{} {} {}", m.container, m.host, m.size));
    lines.collect::<Vec<_>>().join("\n")
}

fn put(proc: &Procfs, pid: Pid, file: &str, text: &str) -> Result<()> {
    let path = CString::new(format!("{pid}/{file}")).unwrap_or_default();
    proc.write(&path, text.as_bytes())
        .map_err(|e| Error::system(format!("write the {file}"), format!("{:?}", text.trim()), e))
}

fn ask(program: &str, pid: Pid, map: &[IdMapping]) -> Result<()> {
    let mut command = Command::new(program);
    command.arg(pid.to_string());
    for m in map {
        command.args([m.container, m.host, m.size].map(|n| n.to_string()));
    }
    let output = command.output().map_err(|e| Error::io("run", program, &e))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    Err(Error::rule(format!("{program}: {said} (see /etc/subuid and /etc/subgid)")))
}
