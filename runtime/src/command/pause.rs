//! `pause`: stops every process of a container.

use super::World;
use crate::error::{Error, Result};
use crate::state::Status;

/// Pauses it.
pub fn pause(id: &str, world: &World) -> Result<()> {
    let (held, record) = world.store.hold(id)?;
    match held.dir.status(&record) {
        Status::Running | Status::Created => record.cgroup.freeze(),
        _ => Err(Error::rule("container not running")),
    }
}
