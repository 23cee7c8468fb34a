//! What a process inherits by session: terminal, signals, keyring; and its filter.

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

use super::fault::{Because, Cause, Done};
use super::protocol::{Link, Message};
use crate::plan::Plan;
use crate::seccomp::Filter;

/// A session of its own, and what goes with it.
pub fn perform(plan: &Plan) -> Done {
    // The relay's child may lead one already.
    match nix::unistd::setsid() {
        Ok(_) | Err(Errno::EPERM) => {}
        Err(errno) => return Err(errno).because("setsid", ""),
    }
    // A container that waits for its start can be asked to end, as with runc.
    dhow_kernel::signal::reset_all_and_end();
    if let Some(name) = &plan.keyring {
        keyring(name)?;
    }
    Ok(())
}

/// A keyring of the container's own, so that it can't search the caller's.
fn keyring(name: &std::ffi::CStr) -> Done {
    /// KEY_USR_SEARCH: whoever owns it may look keys up.
    const OWNER_SEARCH: u32 = 0x3f3f_0000;
    match dhow_kernel::keys::join_session(name) {
        Ok(serial) => {
            let set = dhow_kernel::keys::set_permissions(serial, OWNER_SEARCH);
            set.because("keyctl", "the session keyring")
        }
        // A kernel without keys has none to protect.
        Err(Errno::ENOSYS) => Ok(()),
        // As runc: going on would mean to share the caller's keyring.
        Err(errno) => Err(errno).because("join a session keyring (see --no-new-keyring)", ""),
    }
}

/// Loads a filter, if there is one, and has the parent take its listener.
pub fn load(filter: Option<&Filter>, preserve: u32, link: &Link) -> Done {
    let Some(filter) = filter else { return Ok(()) };
    // The last thing that the filter needn't allow: from here on it judges us too.
    super::exec::close(preserve)?;
    let loaded = dhow_kernel::seccomp::set_filter(&filter.program, u64::from(filter.flags));
    let Some(listener) = loaded.because("seccomp", "SECCOMP_SET_MODE_FILTER")? else {
        return Ok(());
    };
    // Only write(2) until the agent can answer: it is the one call that may not ask it. As runc,
    // the parent therefore fetches the descriptor, instead of being sent it by sendmsg(2).
    link.send(&Message::Listener(listener.as_raw_fd())).because("report to", "the runtime")?;
    let gone = || Cause::new("wait for", "the seccomp agent", Errno::ECONNABORTED);
    match link.receive().because("wait for", "the seccomp agent")? {
        Some(Message::Taken) => Ok(()),
        Some(Message::Pass) => {
            let message = Message::Listener(listener.as_raw_fd());
            link.send_with(&message, listener.as_fd()).because("pass", "the seccomp listener")?;
            link.expect(&Message::Taken).map_err(|_| gone())
        }
        _ => Err(gone()),
    }
}
