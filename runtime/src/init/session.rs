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

/// A session of its own, and what goes with it; `waits` says that its start may be far off.
pub fn perform(plan: &Plan, proc: &Procfs, waits: bool) -> Done<Inherited> {
    // The relay's child may lead one already.
    match nix::unistd::setsid() {
        Ok(_) | Err(Errno::EPERM) => {}
        Err(errno) => return Err(errno).because("setsid", ""),
    }
    let inherited = inherited(proc);
    if waits {
        // As with runc, it can be asked to end.
        dhow_kernel::signal::reset_all_and_end(inherited.ignored);
    } else {
        dhow_kernel::signal::reset_all(inherited.ignored);
    }
    if let Some(name) = &plan.keyring {
        keyring(name)?;
    }
    Ok(inherited)
}

/// What a process has from its maker, as far as is known: a bit each, for asking is a call each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Inherited {
    /// Signals that it ignores, from the lowest on.
    pub ignored: Option<u64>,
    /// Its bounding set.
    pub bounding: Option<u64>,
    /// Whether it is known to be in no supplementary group.
    pub groupless: bool,
}

/// Of this process.
pub fn inherited(proc: &Procfs) -> Inherited {
    let mut text = [0; 4096];
    let read = proc.file(c"self/status", OFlag::O_RDONLY).map(Loose::from);
    let length = read.and_then(|status| nix::unistd::read(&status, &mut text)).unwrap_or(0);
    let status = &text[..length];
    Inherited {
        ignored: mask(status, b"SigIgn:\t"),
        bounding: mask(status, b"CapBnd:\t"),
        groupless: groupless(status),
    }
}

/// Whether the line is there, whole and with no group in it.
fn groupless(status: &[u8]) -> bool {
    let mut lines = status.split(|b| *b == b'\n');
    let groups = lines.find_map(|line| line.strip_prefix(b"Groups:"));
    groups.is_some_and(|ids| ids.trim_ascii().is_empty()) && lines.next().is_some()
}

/// KERNEL: proc_pid_status(5): the mask in hexadecimal digits.
fn mask(status: &[u8], name: &[u8]) -> Option<u64> {
    // What was read may end within a line: who is in many groups has a long one. A mask that is cut
    // is no smaller mask.
    let lines = status.split_inclusive(|b| *b == b'\n');
    let line =
        lines.filter_map(|line| line.strip_suffix(b"\n")).find_map(|l| l.strip_prefix(name))?;
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
    fn bug_a_mask_that_was_cut_counted_as_one() {
        let status = b"SigIgn:\t0000000000001000\nCapBnd:\t000001ffffffffff\n";
        for end in 0..status.len() {
            let known = mask(&status[..end], b"CapBnd:\t");
            assert_eq!(known, None, "{end}");
        }
        assert_eq!(mask(status, b"CapBnd:\t"), Some(0x1ff_ffff_ffff));
    }

    #[test]
    fn what_is_inherited_is_known() {
        let status = b"Name:\tSigIgn:\nSigBlk:\t02\nSigIgn:\t0000000000001000\nSeccomp:\t0";
        assert_eq!(mask(status, b"SigIgn:\t"), Some(0x1000));
        assert_eq!(mask(b"Name:\tx\nSigIgn:\tnone\n", b"SigIgn:\t"), None);
        assert!(groupless(b"Name:\tx\nGroups:\t \nSigBlk:\t0"));
        assert!(
            ![&b"Groups:\t0 \nx"[..], b"Groups:\t", b"Groupe:\t\nx"].into_iter().any(groupless)
        );
        // A test harness of Rust's ignores SIGPIPE alone, or what its caller does besides.
        let own = inherited(&Procfs::open().unwrap());
        assert_ne!(own.ignored.unwrap() & 1 << (libc::SIGPIPE - 1), 0);
        let bounded = (0..63u8).filter(|cap| dhow_kernel::caps::bounded(*cap) == Ok(true));
        assert_eq!(own.bounding.unwrap(), bounded.map(|cap| 1 << cap).sum::<u64>());
        assert_eq!(own.groupless, nix::unistd::getgroups().unwrap().is_empty());
    }
}
