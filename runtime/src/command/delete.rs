//! `delete`: what is left of a container that has ended; with `--force`, its end too.

use super::World;
use crate::error::{Error, Result};
use crate::lifecycle;
use crate::state::{MAKING, MISSING, Record, Status};

/// How long a running container is given to end by itself, in milliseconds.
const GRACE_MS: u16 = 100;

/// Deletes it.
pub fn delete(id: &str, force: bool, world: &World) -> Result<()> {
    let (held, record) = match world.store.hold(id) {
        Ok(found) => found,
        Err(e) if force && e.to_string().starts_with(MAKING) => {
            lifecycle::end_maker(&world.store.find(id)?.0)?;
            world.store.hold_unmade(id)?
        }
        // One that can't be read may be of a container that runs.
        Err(e) if force && !matches!(e, Error::System { .. }) => return forgotten(id, world, e),
        Err(e) => return Err(e),
    };
    match held.status(&record)? {
        Status::Stopped => {}
        // SPEC: runtime.md §Delete: what isn't stopped is left alone, with an error.
        // DIFFERS: from runc and crun, which also delete what is created; engines use --force.
        _ if force => end(&record, world)?,
        // DIFFERS: `start` answers before a short program has ended, much sooner than runc's;
        // scripts that delete right after it count on that end.
        Status::Running if lifecycle::ends_within(&record, GRACE_MS) => {}
        other => {
            let why = format!("cannot delete container {id} that is not stopped: {other}");
            return Err(Error::rule(why));
        }
    }
    lifecycle::destroy(&held, &record, &world.log)
}

fn end(record: &Record, world: &World) -> Result<()> {
    world.log.trace.step("kill", || lifecycle::kill_and_wait(record))
}

/// With `--force` a missing container is no failure, and a directory without a record goes.
fn forgotten(id: &str, world: &World, e: Error) -> Result<()> {
    match world.store.leftover(id)? {
        Some(dir) => dir.hold()?.dir.remove(),
        None if e.to_string().starts_with(MISSING) => Ok(()),
        None => Err(e),
    }
}
