//! A layer's record, `layer.json`.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::digest::{ChainId, DiffId};
use crate::error::{Error, Result};
use crate::store::kind;

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
    /// Whose ids the files have: `native` (the image's own), `mapped` (the same, in a user
    /// namespace) or `xattr` (all are one user's, and an attribute says whose they should be).
    pub owner: String,
    /// Which overlay attributes it has: `trusted` or `user`.
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
        let (owner, overlay) = kind();
        let (owner, overlay) = (owner.into(), overlay.into());
        Self { version: VERSION, chain_id, diff_id, parent, owner, overlay, size }
    }

    /// Reads the record in a layer's directory; `chain` is who it must be.
    pub(super) fn read(dir: &Path, chain: &ChainId) -> Result<Self> {
        let path = dir.join(FILE);
        let bytes = fs::read(&path).map_err(Error::at("read", &path))?;
        let what = || path.display().to_string();
        let record: Self = serde_json::from_slice(&bytes).map_err(|e| Error::invalid(what(), e))?;
        if record.version != VERSION || (record.owner.as_str(), record.overlay.as_str()) != kind() {
            return Err(Error::unsupported(
                what(),
                "this layer was made by another kind of dhow (root's, a user's with ranges of ids, or one's without): choose another --root",
            ));
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
