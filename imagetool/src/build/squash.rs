//! `--squash`: all layers of a build as one, upon those of its base.

use std::io::{self, BufReader, BufWriter, Read};
use std::thread;

use jiff::Timestamp;

use super::cache::{self, Cache, Key, Record};
use super::engine::{Layer, State};
use crate::config::History;
use crate::digest::{ChainId, Digest};
use crate::error::{Error, Result};
use crate::layer::flatten::Flatten;
use crate::layer::merged::Merged;
use crate::layer::{Entries, Limits, RootDir};
use crate::snapshot::Layers;
use crate::store::Lease;

const BUFFER: usize = 256 << 10;

/// Where layers are and go.
pub(super) struct Place<'a> {
    pub lease: &'a Lease,
    pub layers: &'a Layers,
    pub cache: &'a Cache,
    /// Whether the layer gets a blob at once.
    pub packed: bool,
    /// Earlier results are of no use.
    pub no_cache: bool,
    /// When all is made, if that was said.
    pub epoch: Option<Timestamp>,
}

/// Makes one layer of those that are not the base's.
pub(super) fn squash(place: &Place<'_>, state: &mut State) -> Result<()> {
    let kept = state.layers.iter().take_while(|layer| layer.base).count();
    let count = state.layers.len() - kept;
    let (Some(top), true) = (state.top().cloned(), count > 1) else { return Ok(()) };
    let below = state.layers[..kept].last().map(|layer| layer.chain.clone());
    let key = Key::new("squash", 1).with_some("below", below.as_ref()).with("top", top.to_string());
    let key = key.finish();
    let (record, blob) = match found(place, &key)? {
        Some(record) => (record, None),
        None => made(place, &key, below.as_ref(), &state.layers[kept..])?,
    };
    state.layers.truncate(kept);
    if let (Some(layer), Some(chain)) = (&record.layer, &record.chain) {
        let (chain, diff_id) = (chain.clone(), layer.diff_id.clone());
        state.layers.push(Layer { chain, diff_id, blob, base: false });
    }
    for entry in state.image.history.iter_mut().skip(state.old_history) {
        entry.empty_layer = true;
    }
    state.image.history.push(History {
        created: Some(record.created.to_string()),
        comment: format!("merge {count} layers"),
        empty_layer: record.layer.is_none(),
        ..History::default()
    });
    Ok(())
}

fn found(place: &Place<'_>, key: &Digest) -> Result<Option<Record>> {
    let Some(record) = place.cache.find(key).filter(|_| !place.no_cache) else { return Ok(None) };
    let Some(chain) = &record.chain else { return Ok(Some(record)) };
    place.lease.hold([chain])?;
    Ok(place.layers.has(chain).then_some(record))
}

fn made(
    place: &Place<'_>,
    key: &Digest,
    below: Option<&ChainId>,
    layers: &[Layer],
) -> Result<(Record, Option<crate::manifest::Descriptor>)> {
    let roots: Vec<RootDir> = layers
        .iter()
        .map(|layer| RootDir::open(place.layers.files(&layer.chain)))
        .collect::<Result<_>>()?;
    let mut merged = Merged::new(false, below.is_some());
    for root in &roots {
        read(root, |entries| merged.push(entries))?;
    }
    let fill = |out: &mut (dyn io::Write + Send)| {
        let mut flatten = Flatten::begin(&merged, out)?;
        for (n, root) in (0u32..).zip(&roots) {
            read(root, |entries| flatten.layer(n, entries))?;
        }
        flatten.finish()
    };
    let (unpacked, blob, ()) = place.layers.make_some(place.lease, place.packed, fill)?;
    let now = Timestamp::now();
    let created = place.epoch.map_or(now, |epoch| epoch.min(now));
    let text = "squash";
    let record = if unpacked.applied.entries == 0 {
        Record::new(below.cloned(), below.cloned(), None, created, text)
    } else {
        let (diff_id, size) = (unpacked.diff_id().clone(), unpacked.applied.size);
        let chain = match below {
            Some(below) => Digest::of(format!("{below} {diff_id}").as_bytes()),
            None => diff_id.clone(),
        };
        place.lease.hold([&chain])?;
        if !place.layers.has(&chain) {
            place.layers.commit_loose(unpacked, &chain, below)?;
        }
        let layer = cache::Layer { diff_id, size };
        Record::new(below.cloned(), Some(chain), Some(layer), created, text)
    };
    place.cache.keep(key, &record)?;
    let blob = blob.filter(|_| record.layer.is_some());
    Ok((record, blob))
}

/// Reads a layer's tar, which another thread writes meanwhile.
fn read<T>(
    root: &RootDir,
    work: impl FnOnce(&mut Entries<BufReader<io::PipeReader>>) -> Result<T>,
) -> Result<T> {
    let (reader, writer) = io::pipe().map_err(|e| Error::io("make a pipe for", "layer", e))?;
    thread::scope(|scope| {
        let one = std::slice::from_ref(root);
        let writing = scope.spawn(move || {
            crate::layer::diff(one, &[], BufWriter::with_capacity(BUFFER, writer)).map(drop)
        });
        let mut entries = Entries::new(BufReader::with_capacity(BUFFER, reader), Limits::default());
        let done = work(&mut entries);
        if done.is_ok() {
            let mut rest = entries.into_inner();
            let drained = io::copy(&mut rest.by_ref(), &mut io::sink());
            drained.map_err(|e| Error::from_io("read", "layer", e))?;
        } else {
            drop(entries);
        }
        let wrote = writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let done = done?;
        wrote?;
        Ok(done)
    })
}
