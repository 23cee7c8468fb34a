//! Which process a record speaks of.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::whole;

/// A process beyond mistaking.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Its pid; 0 for none yet.
    pub pid: i32,
    /// Field 22 of /proc/PID/stat, clock ticks since boot.
    pub start_time: u64,
    /// The boot it belongs to: /run may outlive one.
    pub boot_id: String,
}

impl Identity {
    /// The process `pid` as it is now.
    pub fn of(pid: Pid) -> Result<Self> {
        let gone = || Error::rule("the container's first process ended before its start");
        let now = stat_by(pid.as_raw(), |path| whole::record(path))?.ok_or_else(gone)?;
        Ok(Self { pid: pid.as_raw(), start_time: now.start_time, boot_id: boot_id()? })
    }

    /// A handle on it, unless it has ended. Not to be able to look is not to see that it has.
    pub fn open(&self) -> Result<Option<OwnedFd>> {
        if self.pid <= 0 || self.boot_id != boot_id()? {
            return Ok(None);
        }
        // Open first, compare then: once we hold the handle the number can't change hands.
        let handle = match dhow_kernel::process::pidfd_open(Pid::from_raw(self.pid)) {
            Err(Errno::ESRCH) => return Ok(None),
            other => other.map_err(|e| Error::system("open process", self.pid.to_string(), e))?,
        };
        let same = |now: Stat| now.start_time == self.start_time && !now.ended();
        Ok(stat(self.pid)?.is_some_and(same).then_some(handle))
    }

    /// Whether it has ended or is on its way out.
    ///
    /// KERNEL: a process gives up its files and namespaces first, and becomes a zombie only when all
    /// others of its pid namespace are gone and waited for.
    pub fn is_ending(&self) -> bool {
        let lives = |now: Stat| now.start_time == self.start_time && !now.ended() && !now.exiting;
        matches!(stat(self.pid), Ok(now) if !now.is_some_and(lives))
    }
}

/// What /proc/PID/stat says (proc(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    /// Field 3.
    state: char,
    /// Of field 9.
    exiting: bool,
    /// Field 20.
    threads: u64,
    /// Field 22.
    start_time: u64,
}

impl Stat {
    /// KERNEL: a process's state is that of its first thread, which may end before the others.
    const fn ended(self) -> bool {
        matches!(self.state, 'Z' | 'X') && self.threads <= 1
    }
}

/// KERNEL: `PF_EXITING` of include/linux/sched.h.
const EXITING: u64 = 0x4;

/// That of a process, unless it has gone.
fn stat(pid: i32) -> Result<Option<Stat>> {
    // For many, one after the other.
    stat_by(pid, |path| whole::read(path))
}

fn stat_by(pid: i32, read: impl Fn(&str) -> std::io::Result<Vec<u8>>) -> Result<Option<Stat>> {
    let path = format!("/proc/{pid}/stat");
    match read(&path) {
        // KERNEL: proc(5): ESRCH for one that went after its file was opened.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => Ok(None),
        other => Ok(parse_stat(&other.map_err(|e| Error::io("read", path, &e))?)),
    }
}

/// The name, in parentheses, is the process's to choose: it may hold anything, parentheses too,
/// and need not be text.
fn parse_stat(bytes: &[u8]) -> Option<Stat> {
    let text = String::from_utf8_lossy(bytes);
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    let exiting = fields.nth(5)?.parse::<u64>().ok()? & EXITING != 0;
    let threads = fields.nth(10)?.parse().ok()?;
    Some(Stat { state, exiting, threads, start_time: fields.nth(1)?.parse().ok()? })
}

/// This boot's id; empty where the kernel doesn't say.
fn boot_id() -> Result<String> {
    static ID: OnceLock<String> = OnceLock::new();
    if let Some(known) = ID.get() {
        return Ok(known.clone());
    }
    let path = "/proc/sys/kernel/random/boot_id";
    let read = match whole::record(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Vec::new(),
        other => other.map_err(|e| Error::io("read", path, &e))?,
    };
    let read = String::from_utf8_lossy(&read).trim().to_owned();
    Ok(ID.get_or_init(|| read).clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_is_no_trap() {
        let found = |exiting| Some(Stat { state: 'S', exiting, threads: 3, start_time: 12345 });
        let rest = |flags| format!("{} {flags}{} 3 0 12345 0 0", " 0".repeat(5), " 0".repeat(10));
        let line = format!("7 (a) R (b) S{}", rest("4194304"));
        assert_eq!(parse_stat(line.as_bytes()), found(false));
        let line = [b"7 (\xff) S", rest("4194564").as_bytes()].concat();
        assert_eq!(parse_stat(&line), found(true));
    }

    #[test]
    fn another_start_time_is_another_process() {
        let me = Identity::of(nix::unistd::getpid()).unwrap();
        assert!(me.open().unwrap().is_some() && !me.is_ending());
        let other = Identity { start_time: me.start_time + 1, ..me.clone() };
        assert!(other.open().unwrap().is_none() && other.is_ending());
        assert!(Identity { boot_id: "other".into(), ..me }.open().unwrap().is_none());
    }
}
