//! The id maps of a new user namespace, written from outside.
//!
//! KERNEL: user_namespaces(7): the privileged write any map; others one line
//! of their own id, with setgroups denied, or ask newuidmap and newgidmap.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;

use dhow_kernel::process::{self, Fork, Side};
use nix::fcntl::OFlag;
use nix::unistd::{Pid, getegid, geteuid};

use crate::error::{Error, Result};
use crate::init::namespaces::enter;
use crate::init::procfs::Procfs;
use crate::init::protocol::{Link, Message};
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
    beside(
        ns::USER,
        || Ok(()),
        |pid| {
            write(proc, pid, uids, gids)?;
            proc.namespace(pid, "user").map_err(system)
        },
    )
}

/// The maps of the user namespace at `path`.
pub fn of(proc: &Procfs, path: &CStr) -> Result<(Vec<IdMapping>, Vec<IdMapping>)> {
    beside(
        0,
        || enter(ns::USER, path),
        |pid| Ok((read(proc, pid, "uid_map")?, read(proc, pid, "gid_map")?)),
    )
}

/// What `look` sees of a process that was made with `namespaces`, did `step`, and waits.
fn beside<T>(
    namespaces: u64,
    step: impl FnOnce() -> nix::Result<()>,
    look: impl FnOnce(Pid) -> Result<T>,
) -> Result<T> {
    let system = |e| Error::system("enter", "a user namespace", e);
    let (ours, theirs) = Link::pair().map_err(system)?;
    let fork = Fork { namespaces, ..Fork::default() };
    let (pid, pidfd) = match process::fork(&fork).map_err(system)? {
        Side::Child => {
            drop(ours);
            if step().is_ok() && theirs.send(&Message::Joined).is_ok() {
                // Heard when the other side has seen enough, or is gone.
                let _ = theirs.receive();
            }
            process::exit_now(0)
        }
        Side::Parent(pid, pidfd) => (pid, pidfd),
    };
    drop(theirs);
    let seen = ours.expect(&Message::Joined).map_err(system).and_then(|()| look(pid));
    drop(ours);
    super::wait(pidfd.as_fd()).map_err(system)?;
    seen
}

/// One of the maps of process `pid`.
pub fn read(proc: &Procfs, pid: Pid, file: &str) -> Result<Vec<IdMapping>> {
    let path = CString::new(format!("{pid}/{file}")).unwrap_or_default();
    let fd = proc.file(&path, OFlag::O_RDONLY).map_err(|e| Error::system("read the", file, e))?;
    let text = std::io::read_to_string(std::fs::File::from(fd))
        .map_err(|e| Error::io("read the", file, &e))?;
    Ok(parse(&text))
}

fn parse(text: &str) -> Vec<IdMapping> {
    let line = |line: &str| {
        let mut words = line.split_whitespace().map(str::parse);
        let (container, host, size) = (words.next()?, words.next()?, words.next()?);
        Some(IdMapping { container: container.ok()?, host: host.ok()?, size: size.ok()? })
    };
    text.lines().filter_map(line).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_read_as_they_are_written() {
        let map = vec![
            IdMapping { container: 0, host: 1000, size: 1 },
            IdMapping { container: 1, host: 100_000, size: 65536 },
        ];
        assert_eq!(parse(&lines(&map)), map);
        assert_eq!(parse("         0     100000      65536\n").len(), 1);
    }
}
