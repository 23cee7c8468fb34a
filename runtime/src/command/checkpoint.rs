//! `checkpoint`: a running container's processes into a directory.

use std::ffi::CString;

use super::World;
use crate::criu::dump::{Source, dump};
use crate::criu::options::Dump;
use crate::criu::swrk::Program;
use crate::error::{Error, Result};
use crate::log::Level;
use crate::state::Status;
use crate::{lifecycle, plan, validate};

/// Saves it; unless it is left running, it is deleted then. criu inherits `environment`.
pub fn checkpoint(id: &str, asked: &Dump, environment: Vec<CString>, world: &World) -> Result<()> {
    warn("checkpoint", world);
    let (held, record) = world.store.hold(id)?;
    match held.dir.status(&record)? {
        Status::Running | Status::Paused => {}
        other => {
            let why = format!("Container cannot be checkpointed in {other} state");
            return Err(Error::rule(why));
        }
    }
    if !record.added.is_empty() {
        let why = "mounts were added that config.json doesn't have: take them away first, by";
        return Err(Error::rule(format!("{why} dhow-runtime mounts remove")));
    }
    asked.check_parent()?;
    let program = Program::find(environment)?;
    let text = held.dir.config()?;
    let container = validate::container(validate::parse(&text)?, &record.bundle)?;
    let (plan, rest) = plan::plan(id, container, plan::Options::default())?;
    let source = Source { record: &record, plan: &plan, annotations: &rest.annotations };
    let first = record.process.open()?;
    world.log.trace.step("criu", || dump(&program, &source, asked))?;
    if asked.leave_running || asked.pre_dump {
        return Ok(());
    }
    // criu has ended it; whoever looks after us is not to find it, nor its pid in use.
    first.iter().for_each(lifecycle::wait_until_collected);
    lifecycle::destroy(&held, &record, &world.log)
}

/// As runc says it.
pub(super) fn warn(verb: &str, world: &World) {
    if world.rootless {
        let line = format!("dhow-runtime {verb} is untested with rootless containers");
        world.log.line(Level::Warning, &line);
    }
}
