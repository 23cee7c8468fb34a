//! `state`: one container as JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use super::World;
use crate::error::{Error, Result};
use crate::log::html_safe;
use crate::state::{Dir, Record, Status};

/// A container as `state` and `list` show it, key for key as runc.
#[derive(Debug, Serialize)]
pub struct Document<'a> {
    /// Version of its config.
    #[serde(rename = "ociVersion")]
    pub version: &'a str,
    /// Id.
    pub id: &'a str,
    /// Pid of the first process; 0 when it has ended.
    pub pid: i32,
    /// What it is doing.
    pub status: String,
    /// Bundle.
    pub bundle: &'a str,
    /// Root file system.
    pub rootfs: &'a str,
    /// When it was made.
    pub created: &'a str,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: &'a BTreeMap<String, String>,
    /// Who made it; as runc, `list` alone says it.
    pub owner: &'a str,
}

impl<'a> Document<'a> {
    /// A container as it is now.
    pub fn of(dir: &Dir, record: &'a Record) -> Result<Self> {
        let status = dir.status(record)?;
        Ok(Self {
            version: &record.oci_version,
            id: &record.id,
            pid: if status == Status::Stopped { 0 } else { record.process.pid },
            status: status.to_string(),
            bundle: &record.bundle,
            rootfs: &record.rootfs,
            created: &record.created,
            annotations: &record.annotations,
            owner: &record.owner,
        })
    }
}

/// The JSON text of one container; as runc's, it ends without a line end.
pub fn state(id: &str, world: &World) -> Result<String> {
    let (dir, record) = world.store.find_made(id)?;
    let document = Document { owner: "", ..Document::of(&dir, &record)? };
    serde_json::to_string_pretty(&document).map(html_safe).map_err(|e| Error::rule(e.to_string()))
}
