//! The last child: a process that others see is born where nothing is left that they may not have.
//!
//! CVE: 2016-9962: what isn't dumpable is open to CAP_SYS_PTRACE all the same, and who has that in the
//! pid namespace that a process comes to, takes what is the process's: by its root, its directory
//! and its descriptors the host, and by its registers its capabilities. So what isn't born into
//! a pid namespace of its own stays outside until it has no more of all that than the program
//! will have. Then its sibling goes on, inside.

use std::os::fd::AsFd;

use dhow_kernel::{caps, process, tty};

use super::credentials;
use super::fault::{Because, Done};
use super::protocol::{Link, Message};
use crate::plan::phase::fits;
use crate::seccomp::Filter;
use crate::validate::process::Process;

/// Ends here, and goes on as its own sibling. The maker takes care of whoever is waiting for it.
///
/// `terminal` says that its standard input is the terminal of its session to be.
pub fn perform(p: &Process, filter: Option<&Filter>, terminal: bool, link: &Link) -> Done {
    if !p.no_new_privileges && !fits(filter, p) {
        shed(p)?;
    }
    process::forget_environment();
    link.send(&Message::Birth).because("report to", "the runtime")?;
    if let Some(pid) = process::sibling().because("clone", "a process of the container")? {
        let _ = link.send(&Message::Pid(pid.as_raw()));
        process::exit_now(0)
    }
    // What it says must not come before its number.
    link.expect(&Message::Taken).because("wait for", "the runtime")?;
    credentials::last_limit(p)?;
    nix::unistd::setsid().because("setsid", "")?;
    if terminal {
        tty::control(std::io::stdin().as_fd()).because("control", "the terminal")?;
    }
    Ok(())
}

/// Keeps the capabilities that it is given, and what it takes to load a filter.
fn shed(p: &Process) -> Done {
    let own = caps::get().because("capget", "")?;
    let kept = own.permitted & (p.capabilities.permitted | 1 << caps::SYS_ADMIN);
    let sets = caps::Sets { effective: kept, permitted: kept, ..own };
    caps::set(sets).because("capset", "")
}
