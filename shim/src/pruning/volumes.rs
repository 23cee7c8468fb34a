//! Volumes that no container holds.

use super::{Pruned, Wanted};
use crate::error::Result;
use crate::events::{Kind, emit};
use crate::host::Host;
use crate::store::{size_of, volumes_in_use};

/// Removes the anonymous ones, or with `all` the named too.
pub fn volumes(host: &Host, all: bool, wanted: &Wanted) -> Result<Pruned> {
    host.volumes.sweep();
    let used = volumes_in_use(host)?;
    let mut pruned = Pruned::default();
    for volume in host.volumes.list() {
        if used.contains(&volume.name)
            || !all && !volume.is_anonymous()
            || !wanted.fits(&volume.spec.labels, volume.created())
        {
            continue;
        }
        let size = size_of(&volume.data);
        host.volumes.remove(&volume.name)?;
        pruned.bytes += size;
        pruned.lines.push(volume.name);
    }
    let reclaimed = pruned.bytes.to_string();
    emit(&host.paths, Kind::Volume, "prune", "", &[("reclaimed", &reclaimed)]);
    Ok(pruned)
}
