//! A layer's record, `layer.json`.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::digest::{ChainId, DiffId};
use crate::error::{Error, Result};

/// The record's name beside `fs`.
pub(super) const FILE: &str = "layer.json";
const VERSION: u32 = 1;

/// What is known about an unpacked layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The record's version: 1.
    pub version: u32,
    /// The layer with all below it.
    pub chain_id: ChainId,
    /// Its plain tar.
    pub diff_id: DiffId,
    /// The layer below.
    pub parent: Option<ChainId>,
    /// Whose ids the files have: `native` (the image's own), later also `mapped`, `xattr`.
    pub owner: String,
    /// Which overlay attributes it has: `trusted`, later also `user`.
    pub overlay: String,
    /// The lengths of its regular files together.
    pub size: u64,
}

impl Record {
    pub(super) fn new(
        chain_id: ChainId,
        diff_id: DiffId,
        parent: Option<ChainId>,
        size: u64,
    ) -> Self {
        let (owner, overlay) = ("native".into(), "trusted".into());
        Self { version: VERSION, chain_id, diff_id, parent, owner, overlay, size }
    }

    /// Reads the record in a layer's directory; `chain` is who it must be.
    pub(super) fn read(dir: &Path, chain: &ChainId) -> Result<Self> {
        let path = dir.join(FILE);
        let bytes = fs::read(&path).map_err(Error::at("read", &path))?;
        let what = || path.display().to_string();
        let record: Self = serde_json::from_slice(&bytes).map_err(|e| Error::invalid(what(), e))?;
        if record.version != VERSION || record.owner != "native" || record.overlay != "trusted" {
            return Err(Error::unsupported(what(), "this layer was made by another kind of dhow"));
        }
        if record.chain_id != *chain {
            return Err(Error::invalid(what(), format!("it is the record of {}", record.chain_id)));
        }
        Ok(record)
    }

    /// Writes the record into a layer's directory.
    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(FILE);
        let bytes = serde_json::to_vec(self).map_err(|e| Error::invalid("layer record", e))?;
        fs::write(&path, bytes).map_err(Error::at("write", &path))
    }
}
