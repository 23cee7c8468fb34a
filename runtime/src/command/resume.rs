//! `resume`: lets a paused container run again.

use super::World;
use crate::error::{Error, Result};
use crate::state::Status;

/// Resumes it.
pub fn resume(id: &str, world: &World) -> Result<()> {
    let (held, record) = world.store.hold(id)?;
    match held.dir.status(&record) {
        Status::Paused => record.cgroup.thaw(),
        // Paused before its start, it is still only "created".
        Status::Created if record.cgroup.is_frozen() => record.cgroup.thaw(),
        _ => Err(Error::rule("container not paused")),
    }
}
