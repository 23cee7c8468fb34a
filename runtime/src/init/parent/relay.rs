//! The in-between process: joins what must be joined before init exists.

use std::os::fd::OwnedFd;

use dhow_kernel::process::{self, Fork, Side};

use super::Init;
use crate::error::{Error, Result};
use crate::init::child::{self, Context};
use crate::init::fault::{Because, Done};
use crate::init::namespaces;
use crate::init::protocol::{Link, Message};
use crate::plan::{Phase, Plan};

/// Its whole life: join, make init as its own sibling, say its pid, end.
pub fn run(plan: &Plan, context: Context) -> ! {
    match between(plan) {
        Ok(Side::Child) => child::run(plan, context),
        Ok(Side::Parent(pid, _)) => {
            let _ = context.link.send(&Message::Pid(pid.as_raw()));
        }
        Err(cause) => {
            let _ = context.link.send(&Message::Fault(cause.at(Phase::Namespaces)));
        }
    }
    process::exit_now(0)
}

fn between(plan: &Plan) -> Done<Side> {
    namespaces::relay(&plan.spaces)?;
    // It is in the v2 group already: root of a user namespace couldn't put init there.
    let fork = Fork { namespaces: plan.spaces.clone, sibling: true, cgroup: None };
    process::fork(&fork).because("clone", "the container's first process")
}

/// The parent's side: learns init's pid and takes a handle on it.
pub fn meet(link: Link, relay: OwnedFd) -> Result<Init> {
    use std::os::fd::AsFd;
    let system = |errno| Error::system("clone", "the container's first process", errno);
    let heard = link.receive().map_err(system)?;
    super::wait(relay.as_fd()).map_err(system)?;
    match heard {
        Some(Message::Pid(raw)) => {
            let pid = nix::unistd::Pid::from_raw(raw);
            // It is our child, so its number can't be another's before we reap it.
            let pidfd = process::pidfd_open(pid).map_err(system)?;
            Ok(Init { pid, pidfd, link })
        }
        Some(Message::Fault(fault)) => Err(fault.into()),
        _ => Err(Error::rule("the joining process ended before it made the container's first")),
    }
}
