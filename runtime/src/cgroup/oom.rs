//! Hearing of it when a container has run out of memory.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::files;
use super::record::Record;
use crate::error::{Error, Result};

/// Something to poll.
#[derive(Debug)]
pub enum OomWatch {
    /// cgroup v1 counts up an eventfd.
    V1 {
        /// The counter.
        event: EventFd,
        /// What it is of; closing it would end the notification.
        _file: File,
        /// There while the group is: its removal counts up, too.
        control: String,
    },
    /// cgroup v2 says that memory.events has changed.
    V2 {
        /// memory.events.
        events: File,
        /// How often the killer has struck so far.
        seen: u64,
    },
}

impl Record {
    /// Begins to watch.
    pub fn watch_oom(&self) -> Result<OomWatch> {
        let missing = || Error::rule("memory controller missing");
        if let Some(dir) = self.pure_v2() {
            let path = format!("{dir}/memory.events");
            let events = match File::open(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(missing()),
                other => other.map_err(|e| Error::io("open", &path, &e))?,
            };
            let mut watch = OomWatch::V2 { events, seen: 0 };
            watch.struck();
            return Ok(watch);
        }
        let dir = self.of("memory").ok_or_else(missing)?;
        let path = format!("{dir}/memory.oom_control");
        let file = File::open(&path).map_err(|e| Error::io("open", &path, &e))?;
        let event =
            EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
                .map_err(|e| Error::system("eventfd", "for memory.oom_control", e))?;
        // KERNEL: cgroup-v1/memory.rst §9: "<event_fd> <fd of the file>".
        let line = format!("{} {}", event.as_fd().as_raw_fd(), file.as_raw_fd());
        let control = format!("{dir}/cgroup.event_control");
        files::write(dir, "cgroup.event_control", &line)
            .map_err(|e| Error::system("write", &control, e))?;
        Ok(OomWatch::V1 { event, _file: file, control })
    }
}

impl OomWatch {
    /// What to poll, and for what.
    pub fn poll(&self) -> (BorrowedFd<'_>, PollFlags) {
        match self {
            Self::V1 { event, .. } => (event.as_fd(), PollFlags::POLLIN),
            // KERNEL: cgroup-v2.rst: a change of the file raises POLLPRI.
            Self::V2 { events, .. } => (events.as_fd(), PollFlags::POLLPRI),
        }
    }

    /// Whether it has struck since this was asked last.
    pub fn struck(&mut self) -> bool {
        match self {
            Self::V1 { event, control, .. } => {
                !matches!(event.read(), Err(Errno::EAGAIN)) && fs::exists(control).unwrap_or(false)
            }
            Self::V2 { events, seen } => {
                let mut text = String::new();
                // A group that is gone has no more to tell.
                if events.rewind().and_then(|()| events.read_to_string(&mut text)).is_err() {
                    return false;
                }
                let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
                let count = count.and_then(|count| count.parse().ok()).unwrap_or(0);
                std::mem::replace(seen, count) < count
            }
        }
    }
}
