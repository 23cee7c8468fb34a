//! The in-between process: joins and makes what must be there before init exists.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use dhow_kernel::process::{self, Fork, Side};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::Pid;

use super::{Init, clocks, idmap, told_by_the_living, unexpected};
use crate::error::{Error, Result};
use crate::init::child::{self, Context};
use crate::init::fault::{Because, Done};
use crate::init::namespaces::{become_root, enter, join};
use crate::init::procfs::Procfs;
use crate::init::protocol::{Link, Message};
use crate::plan::{Phase, Plan, Spaces};
use crate::validate::linux::ns;

/// Its whole life: join, make init as its own sibling, say its pid, end.
pub fn run(plan: &Plan, context: Context) -> ! {
    let made = match between(plan, &context.link) {
        // What it says must not come before its number.
        Ok(Side::Child) => match context.link.expect(&Message::Taken) {
            Ok(()) => child::run(plan, context),
            other => other.because("wait for", "the runtime"),
        },
        Ok(Side::Parent(pid, _)) => {
            let _ = context.link.send(&Message::Pid(pid.as_raw()));
            Ok(())
        }
        Err(cause) => Err(cause),
    };
    if let Err(cause) = made {
        let _ = context.link.send(&Message::Fault(cause.at(Phase::Namespaces)));
    }
    process::exit_now(0)
}

fn between(plan: &Plan, link: &Link) -> Done<Side> {
    enter_all(&plan.spaces, link)?;
    if plan.spaces.time {
        unshare(CloneFlags::from_bits_retain(libc::CLONE_NEWTIME))
            .because("make", "the time namespace")?;
        if !plan.time_offsets.is_empty() {
            ask(link, &Message::Clocks)?;
        }
    }
    if plan.spaces.pid.is_some() {
        // CVE: as 2016-9962: who is there already must not look into init for an instant.
        nix::sys::prctl::set_dumpable(false).because("prctl", "PR_SET_DUMPABLE")?;
    }
    // It is in the v2 group already: root of a user namespace couldn't put init there.
    let fork = Fork { namespaces: plan.spaces.clone, sibling: true, cgroup: None };
    process::fork(&fork).because("clone", "the container's first process")
}

/// What the host owns first, then the user namespace, then what only that may join.
fn enter_all(spaces: &Spaces, link: &Link) -> Done {
    let mut left = Vec::new();
    let pid = spaces.pid.iter().map(|path| (ns::PID, path.clone()));
    for (flag, path) in pid.chain(spaces.join.iter().cloned()).filter(|(f, _)| *f != ns::USER) {
        match enter(flag, &path) {
            Err(Errno::EPERM) => left.push((flag, path)),
            other => other.because("join the namespace", path.to_bytes())?,
        }
    }
    if spaces.made_user {
        unshare(CloneFlags::CLONE_NEWUSER).because("make", "the user namespace")?;
        ask(link, &Message::Users)?;
    } else if let Some(user) = spaces.join.iter().find(|(flag, _)| *flag == ns::USER) {
        join(std::slice::from_ref(user))?;
    }
    become_root()?;
    join(&left)
}

fn ask(link: &Link, what: &Message) -> Done {
    link.send(what)
        .and_then(|()| link.expect(&Message::Mapped))
        .because("wait for", "what only the outside may write")
}

/// The parent's side: writes what is asked for, learns init's pid and takes a handle on it.
pub fn meet(link: Link, relay: (Pid, OwnedFd), plan: &Plan, proc: &Procfs) -> Result<Init> {
    let (relay, handle) = relay;
    let met = heed(&link, (relay, handle.as_fd()), plan, proc);
    if met.is_err() {
        let _ = process::pidfd_signal(handle.as_fd(), libc::SIGKILL);
    }
    let system = |errno| Error::system("clone", "the container's first process", errno);
    super::wait(handle.as_fd()).map_err(system)?;
    let pid = met?;
    // It is our child, so its number can't be another's before we reap it.
    let pidfd = process::pidfd_open(pid).map_err(system)?;
    let init = Init { pid, pidfd, link };
    init.say(&Message::Taken).inspect_err(|_| init.discard())?;
    Ok(init)
}

fn heed(
    link: &Link,
    (relay, handle): (Pid, BorrowedFd<'_>),
    plan: &Plan,
    proc: &Procfs,
) -> Result<Pid> {
    let system = |errno| Error::system("clone", "the container's first process", errno);
    loop {
        told_by_the_living(link, handle).map_err(system)?;
        match link.receive().map_err(system)? {
            Some(Message::Pid(raw)) => return Ok(Pid::from_raw(raw)),
            Some(Message::Users) => idmap::write(proc, relay, &plan.uid_map, &plan.gid_map)?,
            Some(Message::Clocks) => clocks(proc, &relay.to_string(), &plan.time_offsets)?,
            Some(Message::Fault(fault)) => return Err(fault.into()),
            Some(other) => return Err(unexpected(&other)),
            None => {
                let why = "the joining process ended before it made the container's first";
                return Err(Error::rule(why));
            }
        }
        link.send(&Message::Mapped).map_err(system)?;
    }
}
