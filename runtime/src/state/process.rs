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
        let (_, start_time) =
            stat_by(pid.as_raw(), |path| whole::record(path))?.ok_or_else(gone)?;
        Ok(Self { pid: pid.as_raw(), start_time, boot_id: boot_id()? })
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
        let same =
            |(state, start_time)| start_time == self.start_time && !matches!(state, 'Z' | 'X');
        Ok(stat(self.pid)?.is_some_and(same).then_some(handle))
    }
}

/// State letter and start time of a process, unless it has gone.
fn stat(pid: i32) -> Result<Option<(char, u64)>> {
    // For many, one after the other.
    stat_by(pid, |path| whole::read(path))
}

fn stat_by(
    pid: i32,
    read: impl Fn(&str) -> std::io::Result<Vec<u8>>,
) -> Result<Option<(char, u64)>> {
    let path = format!("/proc/{pid}/stat");
    match read(&path) {
        // KERNEL: proc(5): ESRCH for one that went after its file was opened.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => Ok(None),
        other => Ok(parse_stat(&other.map_err(|e| Error::io("read", path, &e))?)),
    }
}

/// The name, in parentheses, is the process's to choose: it may hold anything, parentheses too,
/// and need not be text.
fn parse_stat(bytes: &[u8]) -> Option<(char, u64)> {
    let text = String::from_utf8_lossy(bytes);
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
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
        let mut line = String::from("7 (a) R (b) S");
        line.push_str(&" 0".repeat(18));
        line.push_str(" 12345 0 0");
        assert_eq!(parse_stat(line.as_bytes()), Some(('S', 12345)));
        let line = [b"7 (\xff) S", " 0".repeat(18).as_bytes(), b" 12345 0 0"].concat();
        assert_eq!(parse_stat(&line), Some(('S', 12345)));
    }

    #[test]
    fn another_start_time_is_another_process() {
        let me = Identity::of(nix::unistd::getpid()).unwrap();
        assert!(me.open().unwrap().is_some());
        assert!(Identity { start_time: me.start_time + 1, ..me.clone() }.open().unwrap().is_none());
        assert!(Identity { boot_id: "other".into(), ..me }.open().unwrap().is_none());
    }
}
