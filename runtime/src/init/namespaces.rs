//! Entering namespaces, on init's side of the fork.

use std::os::fd::OwnedFd;

use dhow_kernel::fd::Loose;
use nix::fcntl::{OFlag, open};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::Mode;

use super::child::Context;
use super::fault::{Because, Done};
use super::pids::Pids;
use super::protocol::Message;
use crate::cgroup::Doors;
use crate::plan::Plan;
use crate::validate::linux::ns;

/// Enters the cgroups, joins what is joined by path and becomes root of the user namespace.
pub fn perform(plan: &Plan, c: &mut Context) -> Done {
    // Closed with all the rest.
    let doors = enter_groups(std::mem::take(&mut c.doors))?;
    doors.into_iter().map(Loose::from).for_each(drop);
    super::schedule::every_cpu();
    nix::sys::stat::umask(Mode::empty());
    if plan.spaces.seen() {
        c.pids = plan.spaces.pid.as_deref().map(Pids::open).transpose()?;
    }
    if !plan.spaces.relay {
        join(&plan.spaces.join)?;
    }
    if plan.spaces.clone & ns::USER != 0 {
        c.link.expect(&Message::Mapped).because("wait for", "the id maps")?;
    }
    if plan.spaces.user {
        become_root()?;
    }
    // CVE: 2016-9962: until the program runs, no process of the container may
    // look into this one or take its descriptors.
    nix::sys::prctl::set_dumpable(false).because("prctl", "PR_SET_DUMPABLE")
}

/// Joins namespaces by path.
pub fn join(list: &[(u64, std::ffi::CString)]) -> Done {
    for (flag, path) in list {
        enter(*flag, path).because("join the namespace", path.to_bytes())?;
    }
    Ok(())
}

/// Joins one.
pub fn enter(flag: u64, path: &std::ffi::CStr) -> nix::Result<()> {
    let fd = open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    setns(fd, CloneFlags::from_bits_retain(flag as i32))
}

/// In a user namespace, the ids of its root, so that what is made belongs to it.
pub fn become_root() -> Done {
    use nix::unistd::{Gid, Uid, setresgid, setresuid};
    let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
    setresgid(gid, gid, gid).because("setresgid", "0")?;
    setresuid(uid, uid, uid).because("setresuid", "0")
}

/// Enters the cgroups, before what may be the container's own is joined.
pub fn enter_groups(doors: Doors) -> Done<Vec<OwnedFd>> {
    match doors.enter() {
        Ok(through) => Ok(through),
        Err((errno, path)) => Err(errno).because("write 0 to", path),
    }
}

/// Hides what is above its cgroups.
pub fn cgroup(plan: &Plan) -> Done {
    if plan.spaces.cgroup {
        unshare(CloneFlags::CLONE_NEWCGROUP).because("unshare", "the cgroup namespace")?;
    }
    Ok(())
}
