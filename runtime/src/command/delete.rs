//! `delete`: what is left of a container that has ended; with `--force`, its end too.

use std::time::Duration;

use super::World;
use crate::criu::restore;
use crate::error::{Error, Result};
use crate::lifecycle;
use crate::state::{Held, MAKING, MISSING, Record, Status};

/// How long a running container is given to end by itself, in milliseconds.
const GRACE_MS: u16 = 100;

/// Deletes it.
pub fn delete(id: &str, force: bool, world: &World) -> Result<()> {
    let (held, record) = match world.store.hold(id) {
        Ok(found) => found,
        Err(e) if force && e.to_string().starts_with(MISSING) => match missing(id, world)? {
            Some(found) => found,
            None => return Ok(()),
        },
        Err(e) if force && e.to_string().starts_with(MAKING) => unmade(id, world)?,
        // One that can't be read may be of a container that runs.
        Err(e) if force && !matches!(e, Error::System { .. }) => return unread(id, world, e),
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
    if force && restore::was_broken_off(&held.dir) {
        let _ = record.cgroup.kill(libc::SIGKILL);
    }
    lifecycle::destroy(&held, &record, &world.log)
}

fn end(record: &Record, world: &World) -> Result<()> {
    world.log.trace.step("kill", || lifecycle::kill_and_wait(record))
}

/// With `--force` a missing container is no failure, and a directory without a record goes: unless
/// somebody is about to write it, or to remove all of it.
fn missing(id: &str, world: &World) -> Result<Option<(Held, Record)>> {
    while let Some(dir) = world.store.leftover(id)? {
        if dir.is_held()? {
            std::thread::sleep(Duration::from_millis(1));
        } else {
            let held = match dir.hold() {
                Err(_) if world.store.leftover(id)?.is_none() => break,
                other => other?,
            };
            if world.store.find(id).is_err_and(|e| e.to_string().starts_with(MISSING)) {
                held.dir.remove()?;
                break;
            }
        }
        match world.store.hold(id) {
            Err(e) if e.to_string().starts_with(MISSING) => {}
            Err(e) if e.to_string().starts_with(MAKING) => return unmade(id, world).map(Some),
            found => return found.map(Some),
        }
    }
    Ok(None)
}

/// Ends who makes it, and takes what there is of it.
fn unmade(id: &str, world: &World) -> Result<(Held, Record)> {
    lifecycle::end_maker(&world.store.find(id)?.0)?;
    world.store.hold_unmade(id)
}

/// With `--force` a directory whose record is none goes.
fn unread(id: &str, world: &World, e: Error) -> Result<()> {
    match world.store.leftover(id)? {
        Some(dir) => dir.hold()?.dir.remove(),
        None => Err(e),
    }
}
