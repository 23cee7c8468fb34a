//! An image's layers read from wherever it is: what they come to together, and all of them as one.
//! Nothing is unpacked.

use std::io::Write;

use crate::digest::DiffId;
use crate::error::{Error, Result};
use crate::layer::flatten::Flatten;
use crate::layer::merged::Merged;
use crate::layer::verify::{Plain, explain, pipeline};
use crate::layer::{Entries, Limits};
use crate::manifest::{Compression, Descriptor};
use crate::progress::{Counted, Progress};
use crate::source::Source;

/// A layer: its blob, and the digest of its plain tar.
pub type Layer = (Descriptor, DiffId);

/// Lays an image's layers on a stack, lowest first; each is checked against both its digests.
pub fn lay(
    merged: &mut Merged,
    source: &dyn Source,
    layers: &[Layer],
    progress: &dyn Progress,
) -> Result<()> {
    for layer in layers {
        read(source, layer, progress, |entries| merged.push(entries))?;
    }
    Ok(())
}

/// Writes layers as one; `merged` is what they come to. They are read a second time.
pub fn flatten(
    merged: &Merged,
    source: &dyn Source,
    layers: &[Layer],
    out: &mut (dyn Write + Send),
    progress: &dyn Progress,
) -> Result<()> {
    let mut flatten = Flatten::begin(merged, out)?;
    for (at, layer) in (0u32..).zip(layers) {
        read(source, layer, progress, |entries| flatten.layer(at, entries))?;
    }
    flatten.finish()
}

fn read(
    source: &dyn Source,
    (blob, diff_id): &Layer,
    progress: &dyn Progress,
    work: impl FnOnce(&mut Entries<Plain>) -> Result<()> + Send,
) -> Result<()> {
    if Compression::of_layer(&blob.media_type).is_none() {
        let what = format!("a layer of type {:?}", blob.media_type);
        return Err(Error::unsupported(what, "this is no image of files"));
    }
    let id = blob.digest.short();
    progress.start(id, "reading", Some(blob.size));
    let packed = Counted { from: source.blob(blob)?, id, progress };
    let limits = Limits::default();
    pipeline(packed, diff_id.algorithm(), limits.bytes, |plain| {
        let mut entries = Entries::new(plain, limits);
        work(&mut entries)?;
        entries.into_inner().drain_and_check(diff_id).map(drop)
    })
    .map_err(|e| explain(diff_id, e))?;
    progress.done(id, "read");
    Ok(())
}
