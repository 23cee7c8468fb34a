//! The state machine of runtime.md §State, read off the machine rather than remembered.

use std::fmt;

use super::{Dir, Record, file};
use crate::error::{Error, Result};

/// What a container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Being made.
    Creating,
    /// Made, waiting for its start.
    Created,
    /// Its program runs.
    Running,
    /// Frozen.
    Paused,
    /// Its process has ended.
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

pub(super) fn of(dir: &Dir, record: &Record) -> Result<Status> {
    if record.process.pid == 0 {
        // A maker that was killed holds nothing any more.
        return Ok(if dir.is_held()? { Status::Creating } else { Status::Stopped });
    }
    if record.process.open()?.is_none() {
        return Ok(Status::Stopped);
    }
    // Paused before its start, it is parked under another name.
    let start = dir.file(file::START);
    if start.try_exists().map_err(|e| Error::io("look for", start.to_string_lossy(), &e))? {
        return Ok(Status::Created);
    }
    Ok(if record.cgroup.is_frozen()? { Status::Paused } else { Status::Running })
}
