//! Stopped containers.

use super::{Pruned, Wanted};
use crate::error::Result;
use crate::events::{Kind, emit};
use crate::host::Host;
use crate::monitor;
use crate::store::{discard, size_of};

/// Removes those that don't run; their anonymous volumes stay, as in docker.
pub fn containers(host: &Host, wanted: &Wanted) -> Result<Pruned> {
    let mut pruned = Pruned::default();
    for found in host.containers.list()? {
        let record = found.record;
        if !wanted.fits(&record.config.labels, record.created)
            || monitor::state(host, &record)?.status.is_alive()
        {
            continue;
        }
        let size = size_of(&host.paths.container(&record.id).join("upper"));
        discard(host, &record, false)?;
        pruned.bytes += size;
        pruned.lines.push(record.id);
    }
    let reclaimed = pruned.bytes.to_string();
    emit(&host.paths, Kind::Container, "prune", "", &[("reclaimed", &reclaimed)]);
    Ok(pruned)
}
