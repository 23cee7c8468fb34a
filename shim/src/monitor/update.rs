//! New limits for a container: the runtime takes them first, then the record has them.

use super::runtime::Runtime;
use super::{process, state};
use crate::error::{Error, Result};
use crate::events;
use crate::host::Host;
use crate::model::Record;
use crate::options::Change;

/// Changes the container, running or not. A change that the runtime refuses leaves no trace.
pub fn update(host: &Host, record: &Record, change: &Change) -> Result<()> {
    let cannot = |e: Error| {
        Error::new(e.kind, format!("Cannot update container {}: {}", record.id, e.message))
    };
    let runs = process::open(&state(host, record)?)?.is_some();
    let changed = host.containers.change(&record.id, |fresh| {
        change.apply(&mut fresh.host_config)?;
        match change.resources() {
            Some(resources) if runs => take(host, fresh, &resources).or_else(|error| {
                // One that ended under our hands has its limits from its next start.
                if process::runs(&state(host, fresh)?)? { Err(error) } else { Ok(()) }
            }),
            _ => Ok(()),
        }
    });
    let fresh = changed.map_err(cannot)?;
    events::of_container(&host.paths, &fresh, "update", &[]);
    Ok(())
}

fn take(host: &Host, record: &Record, resources: &serde_json::Value) -> Result<()> {
    let name = format!("update-{}", std::process::id());
    let log = host.paths.monitor(&record.id).join(name);
    let done = Runtime::of(host, record, log.clone()).update(resources);
    let _ = std::fs::remove_file(log);
    done
}
