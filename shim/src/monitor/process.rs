//! Which process a pid means: pid, start time and boot together, never a pid alone.

use std::os::fd::{AsFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::{Error, Result};
use crate::model::State;

/// What /proc/PID/stat says (proc(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Ended, and not yet waited for.
    ///
    /// KERNEL: proc(5): the state told is the first thread's; others may go on (field 20).
    pub zombie: bool,
    /// On its way out (field 9): nothing of it can be joined any more, but it has not ended.
    pub exiting: bool,
    /// Field 4.
    pub parent: i32,
    /// Field 6.
    pub session: i32,
    /// Field 22, clock ticks since boot.
    pub start_time: u64,
    /// Field 52, a wait status; of a zombie, its last.
    pub exit_status: i32,
}

/// KERNEL: include/linux/sched.h, in field 9 of /proc/PID/stat.
const PF_EXITING: u64 = 0x4;

/// This boot.
pub fn boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path.as_ref(), e))?;
    Ok(text.trim_end().to_owned())
}

/// What is known of the process `pid`, if there is one.
pub fn stat(pid: i32) -> Option<Stat> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(text: &str) -> Option<Stat> {
    // The name in parentheses may hold anything, so the fields begin after the last one.
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let threads: u64 = fields.get(17)?.parse().ok()?;
    Some(Stat {
        zombie: matches!(*fields.first()?, "Z" | "X") && threads <= 1,
        exiting: fields.get(6)?.parse::<u64>().ok()? & PF_EXITING != 0,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        start_time: fields.get(19)?.parse().ok()?,
        exit_status: fields.get(49).and_then(|f| f.parse().ok()).unwrap_or(0),
    })
}

/// A handle on whatever process `pid` is now.
pub fn open_pid(pid: i32) -> nix::Result<OwnedFd> {
    dhow_kernel::process::pidfd_open(nix::unistd::Pid::from_raw(pid))
}

/// The container's first process, if it is the one `state` tells of and has not ended.
pub fn open(state: &State) -> Result<Option<OwnedFd>> {
    if state.pid <= 0 || state.boot_id != boot_id()? {
        return Ok(None);
    }
    let Ok(fd) = open_pid(state.pid) else { return Ok(None) };
    // Opened first, compared second: from here on the descriptor can't change its meaning.
    let same = stat(state.pid).is_some_and(|s| !s.zombie && s.start_time == state.start_time);
    Ok(same.then_some(fd))
}

/// Whether the container's first process can still be joined.
///
/// KERNEL: one that ends gives up its files and namespaces first, and becomes a zombie, and its
/// pidfd readable, only when all processes of its pid namespace are gone and waited for.
pub fn runs(state: &State) -> Result<bool> {
    let Some(init) = open(state)? else { return Ok(false) };
    // Asked in this order: while the descriptor says nothing, the pid is still its.
    let exiting = stat(state.pid).is_none_or(|s| s.zombie || s.exiting);
    Ok(!exiting && !super::control::has_ended(&init)?)
}

/// A namespace of the container's first process, held open; nothing when that has ended.
pub fn namespace(state: &State, name: &str) -> Result<Option<OwnedFd>> {
    let Some(process) = open(state)? else { return Ok(None) };
    let path = format!("/proc/{}/ns/{name}", state.pid);
    let Ok(file) = std::fs::File::open(&path) else { return Ok(None) };
    // Still alive after the open: then the pid meant it all the time.
    let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    let ended = poll(&mut fds, PollTimeout::ZERO).map_or(true, |n| n > 0);
    Ok((!ended).then(|| file.into()))
}

/// A wait status as the shell says it.
pub fn code_of_status(status: i32) -> i32 {
    match status & 0x7f {
        0 => (status >> 8) & 0xff,
        signal => 128 + signal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let text = |threads: u64| {
            let rest = (4..=52).map(|n| if n == 20 { threads } else { n * 10 }.to_string());
            format!("42 (a) b (c)) Z {}\n", rest.collect::<Vec<_>>().join(" "))
        };
        assert!(!parse(&text(2)).unwrap().zombie);
        let stat = parse(&text(1)).unwrap();
        assert_eq!(
            stat,
            Stat {
                zombie: true,
                exiting: false, // 90
                parent: 40,
                session: 60,
                start_time: 220,
                exit_status: 520
            }
        );
        assert_eq!(parse("42 (x"), None);
    }

    #[test]
    fn a_pid_of_another_time_is_not_our_process() {
        let pid = std::process::id() as i32;
        let start_time = stat(pid).unwrap().start_time;
        let mut state = State { pid, start_time, boot_id: boot_id().unwrap(), ..State::default() };
        assert!(open(&state).unwrap().is_some());
        state.start_time += 1;
        assert!(open(&state).unwrap().is_none());
        state.start_time -= 1;
        state.boot_id = "before".into();
        assert!(open(&state).unwrap().is_none());
    }

    #[test]
    fn statuses_read_as_in_the_shell() {
        assert_eq!(code_of_status(7 << 8), 7);
        assert_eq!(code_of_status(9), 137);
        assert_eq!(code_of_status(0x8b), 139);
    }
}
