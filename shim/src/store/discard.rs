//! Removing a container with what belongs to it.

use std::collections::HashSet;
use std::path::Path;

use crate::error::Result;
use crate::host::Host;
use crate::model::Record;
use crate::store::Container;

/// Removes a container that doesn't run, and with `volumes` the ones made for it alone.
pub fn discard(host: &Host, record: &Record, volumes: bool) -> Result<()> {
    crate::monitor::remove(host, record)?;
    if volumes { discard_volumes(host, record) } else { Ok(()) }
}

/// Removes the anonymous volumes of a container that is gone, those that no other holds.
pub fn discard_volumes(host: &Host, record: &Record) -> Result<()> {
    for mount in record.mounts.iter().filter(|m| m.anonymous) {
        if !in_use(host, &mount.name) {
            host.volumes.remove(&mount.name)?;
        }
    }
    Ok(())
}

/// The names of all volumes that containers hold.
pub fn volumes_in_use(host: &Host) -> Result<HashSet<String>> {
    let all = host.containers.list()?;
    let mounts = all.into_iter().flat_map(|c| c.record.mounts);
    Ok(mounts.filter(|m| m.kind == "volume").map(|m| m.name).collect())
}

/// The ids of the containers that hold the volume called `name`.
pub fn holders(host: &Host, name: &str) -> Result<Vec<String>> {
    let holds =
        |c: &Container| c.record.mounts.iter().any(|m| m.kind == "volume" && m.name == name);
    Ok(host.containers.list()?.into_iter().filter(holds).map(|c| c.record.id).collect())
}

/// Whether a container holds the volume called `name` (`--volumes-from` shares them), or may.
pub fn in_use(host: &Host, name: &str) -> bool {
    let Ok(all) = host.containers.list() else { return true };
    all.iter().any(|c| c.record.mounts.iter().any(|m| m.kind == "volume" && m.name == name))
}

/// Bytes of the regular files below `dir`; what can't be read counts nothing.
pub fn size_of(dir: &Path) -> u64 {
    let mut total = 0;
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => open.push(entry.path()),
                Ok(meta) if meta.is_file() => total += meta.len(),
                _ => {}
            }
        }
    }
    total
}
