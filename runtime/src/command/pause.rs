//! `pause`: stops every process of a container.

use std::fs;

use super::World;
use crate::error::{Error, Result};
use crate::state::{Status, file};

/// Pauses it.
pub fn pause(id: &str, world: &World) -> Result<()> {
    let (held, record) = world.store.hold(id)?;
    match held.dir.status(&record)? {
        Status::Running => record.cgroup.freeze(),
        Status::Created => {
            record.cgroup.freeze()?;
            // It is paused rather than created from now on, and can't be started.
            let (fifo, parked) = (held.dir.file(file::START), held.dir.file(file::PARKED));
            let parked = fs::rename(fifo, parked);
            parked.map_err(|e| Error::io("park the start of", id, &e)).inspect_err(|_| {
                let _ = record.cgroup.thaw();
            })
        }
        _ => Err(Error::rule("container not running")),
    }
}
