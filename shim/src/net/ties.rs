//! Who stands in whose network namespace while both run: RUN/ties/ID/OTHER.
//!
//! A container's devices go with its namespace; while another stands in that, they are taken away.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::host::{Host, Paths};
use crate::model::Record;
use crate::store::make_dir;

fn dir(paths: &Paths, id: &str) -> PathBuf {
    paths.run.join("ties").join(id)
}

/// Whose namespace `record`'s container stands in.
fn joined(record: &Record) -> Option<&str> {
    record.host_config.network_mode.strip_prefix("container:")
}

/// Notes whose namespace it stands in; it is about to start.
pub fn tie(host: &Host, record: &Record) -> Result<()> {
    let Some(other) = joined(record) else { return Ok(()) };
    let dir = dir(&host.paths, other);
    make_dir(&dir)?;
    let path = dir.join(&record.id);
    std::fs::write(&path, "").map_err(|e| Error::io("write", &path, e))
}

/// It has ended.
pub fn untie(host: &Host, record: &Record) {
    if let Some(other) = joined(record) {
        let dir = dir(&host.paths, other);
        let _ = std::fs::remove_file(dir.join(&record.id));
        let _ = std::fs::remove_dir(dir);
    }
}

/// Whether others may stand in `id`'s network namespace.
pub fn is_shared(paths: &Paths, id: &str) -> bool {
    dir(paths, id).exists()
}
