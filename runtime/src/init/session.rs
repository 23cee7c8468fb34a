//! What a process inherits by session: terminal, signals, keyring; and its filter.

use std::os::fd::{AsFd, AsRawFd};

use dhow_kernel::fd::Loose;
use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::fault::{Because, Cause, Done};
use super::procfs::Procfs;
use super::protocol::{Link, Message};
use crate::plan::Plan;
use crate::seccomp::Filter;

/// A session of its own, and what goes with it.
pub fn perform(plan: &Plan, proc: &Procfs) -> Done {
    // The relay's child may lead one already.
    match nix::unistd::setsid() {
        Ok(_) | Err(Errno::EPERM) => {}
        Err(errno) => return Err(errno).because("setsid", ""),
    }
    // A container that waits for its start can be asked to end, as with runc.
    dhow_kernel::signal::reset_all_and_end(ignored(proc));
    if let Some(name) = &plan.keyring {
        keyring(name)?;
    }
    Ok(())
}

/// The signals that this process ignores, a bit each: asking for each of them is a call.
pub fn ignored(proc: &Procfs) -> Option<u64> {
    let status = Loose::from(proc.file(c"self/status", OFlag::O_RDONLY).ok()?);
    let mut text = [0; 4096];
    let length = nix::unistd::read(&status, &mut text).ok()?;
    mask(&text[..length])
}

/// KERNEL: proc_pid_status(5): the mask in hexadecimal digits.
fn mask(status: &[u8]) -> Option<u64> {
    let line = status.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(b"SigIgn:\t"))?;
    u64::from_str_radix(std::str::from_utf8(line).ok()?, 16).ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_known() {
        assert_eq!(
            mask(b"Name:\tSigIgn:\nSigBlk:\t02\nSigIgn:\t0000000000001000\nSeccomp:\t0"),
            Some(0x1000)
        );
        assert_eq!(mask(b"Name:\tx\nSigIgn:\tnone\n"), None);
        // A test harness of Rust's ignores SIGPIPE alone, or what its caller does besides.
        let own = ignored(&Procfs::open().unwrap()).unwrap();
        assert_ne!(own & 1 << (libc::SIGPIPE - 1), 0);
    }
}
