//! `resume`: lets a paused container run again.

use std::fs;
use std::io::ErrorKind;

use super::World;
use crate::error::{Error, Result};
use crate::state::{Status, file};

/// Resumes it; what was paused before its start is created again.
pub fn resume(id: &str, world: &World) -> Result<()> {
    let (held, record) = world.store.hold(id)?;
    match held.dir.status(&record)? {
        Status::Paused => {
            let (fifo, parked) = (held.dir.file(file::START), held.dir.file(file::PARKED));
            match fs::rename(parked, fifo) {
                Err(e) if e.kind() != ErrorKind::NotFound => {
                    Err(Error::io("unpark the start of", id, &e))
                }
                _ => record.cgroup.thaw(),
            }
        }
        // A pause that was killed half-way.
        Status::Created if record.cgroup.is_frozen()? => record.cgroup.thaw(),
        _ => Err(Error::rule("container not paused")),
    }
}
