//! What a start, or a change while it runs, has of the networks before the state can tell:
//! RUN/monitors/ID/net.json.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::{Endpoint, Published, Record};
use crate::store::{Sync, write_atomic};

type Taken = (Vec<Endpoint>, Vec<Published>);

fn file(host: &Host, record: &Record) -> PathBuf {
    host.paths.monitor(&record.id).join("net.json")
}

/// Keeps it until the monitor's directory goes.
pub fn keep(
    host: &Host,
    record: &Record,
    endpoints: &[Endpoint],
    published: &[Published],
) -> Result<()> {
    let path = file(host, record);
    let bytes = serde_json::to_vec(&(endpoints, published));
    write_atomic(&path, &bytes.map_err(|e| Error::io("encode", &path, e))?, Sync::No)
}

/// What was kept; nothing when the start did not come so far.
pub fn read(host: &Host, record: &Record) -> Option<Taken> {
    serde_json::from_slice(&std::fs::read(file(host, record)).ok()?).ok()
}
