//! What earlier builds have made, by what it was made of.
//!
//! `ROOT/build/steps/<key>` is a [`Record`], a file each: the key is a hash over everything that a
//! step's result follows from, the record says which layer it is. The layers themselves lie in
//! `ROOT/layers` as all others do, and `collect` leaves alone what records lead to.
//! `ROOT/build/blobs/<diff id>` says as which blob a layer was packed. Records are written whole
//! or not at all; one that can't be read is a miss. `ROOT/build/locks/<key>` is locked by whoever
//! makes a step: another build that wants the same waits and takes its result.

mod key;
mod lock;
mod prune;
mod record;
mod travel;
mod usage;

pub(crate) use key::Key;
pub(crate) use lock::Making;
pub use prune::{Filter, Pruned, prune};
pub(crate) use record::{Cache, Layer, Record};
pub(crate) use travel::{INLINE, Imported, List, Used};
pub use usage::{Entry, Kind, usage};

use std::collections::HashSet;

use crate::digest::Digest;
use crate::store::Store;

/// What the records of builds lead to: layers by their chain ids, and blobs.
pub(crate) fn roots(store: &Store) -> HashSet<Digest> {
    let cache = Cache::of(store);
    let mut roots = HashSet::new();
    for (_, record) in cache.all() {
        if let Some(layer) = &record.layer {
            roots.extend(cache.blob(&layer.diff_id).map(|blob| blob.digest));
        }
        roots.extend(record.chain);
    }
    roots
}
