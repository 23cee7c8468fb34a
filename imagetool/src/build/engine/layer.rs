//! A step's layer: found in the cache, or made and put there.

use jiff::Timestamp;

use super::stage::Work;
use super::tell::Told;
use crate::build::cache::{self, Key, Making, Record, Used};
use crate::digest::{ChainId, DiffId, Digest};
use crate::error::Result;
use crate::layer::RootDir;
use crate::layer::settle::take_after;
use crate::layer::tidy::tidy;
use crate::manifest::Descriptor;
use crate::snapshot::{Layers, Ready, Unpacked};

/// A step's layer, and as which blob it was packed.
pub(super) type Made = (Record, Option<Descriptor>);

impl Work<'_> {
    /// A key that begins with what lies below.
    pub fn key(&self, kind: &str) -> Key {
        self.key_alone(kind).with_some("below", self.state.top())
    }

    /// A key of something that doesn't depend on what lies below.
    pub fn key_alone(&self, kind: &str) -> Key {
        Key::new(kind, 1)
            .with("platform", self.state.platform.to_string())
            .with_some("epoch", self.engine.epoch)
    }

    /// The record of any of these keys, if its layer is there, and is upon what lies below.
    pub fn cached(&self, keys: &[&Digest]) -> Result<Option<Made>> {
        if self.no_cache {
            return Ok(None);
        }
        for (at, key) in keys.iter().enumerate() {
            let Some(record) = self.engine.cache.find(key) else { continue };
            let Some((record, blob)) = self.sound(record)? else { continue };
            for other in &keys[..at] {
                self.engine.cache.keep(other, &record)?;
            }
            return Ok(Some((record, blob)));
        }
        self.imported(keys)
    }

    /// The same out of a cache from elsewhere, which is the store's from then on.
    fn imported(&self, keys: &[&Digest]) -> Result<Option<Made>> {
        let imported = &self.engine.imported;
        for (place, record) in keys.iter().flat_map(|key| imported.find(key)) {
            if record.parent.as_ref() != self.state.top() {
                continue;
            }
            let blob = match &record.layer {
                None if record.chain == record.parent => None,
                None => continue,
                Some(layer) => {
                    let chain = self.above(&layer.diff_id)?;
                    if record.chain.as_ref() != Some(&chain) {
                        continue;
                    }
                    if self.engine.layers.has(&chain) {
                        None
                    } else {
                        let (layers, lease) = (&self.engine.layers, self.engine.lease);
                        // What can't be had is made here.
                        let Ok((unpacked, blob)) =
                            imported.fetch(place, &layer.diff_id, layers, lease)
                        else {
                            continue;
                        };
                        layers.commit_loose(unpacked, &chain, self.state.top())?;
                        Some(blob)
                    }
                }
            };
            // It is of the keys that were asked for, whatever else the list has it under.
            let record = record.clone().under(keys);
            for key in keys {
                self.engine.cache.keep(key, &record)?;
            }
            return Ok(Some((record, blob)));
        }
        Ok(None)
    }

    fn sound(&self, record: Record) -> Result<Option<Made>> {
        if record.parent.as_ref() != self.state.top() {
            return Ok(None);
        }
        let Some(chain) = &record.chain else { return Ok(Some((record, None))) };
        // Only what is held is sure to stay.
        self.engine.lease.hold([chain])?;
        if !self.engine.layers.has(chain) {
            return Ok(None);
        }
        let Some(layer) = record.layer.as_ref().filter(|_| self.is_packed()) else {
            return Ok(Some((record, None)));
        };
        let blob = self.blob(chain, &layer.diff_id)?;
        Ok(blob.map(|blob| (record, Some(blob))))
    }

    /// As which blob a cached layer is packed: by an earlier build, or now. One that can't be packed
    /// as it was is of no use.
    fn blob(&self, chain: &ChainId, diff_id: &DiffId) -> Result<Option<Descriptor>> {
        let lease = self.engine.lease;
        if let Some(blob) = self.engine.cache.blob(diff_id) {
            lease.hold([&blob.digest])?;
            if lease.store().has_blob(&blob.digest) {
                return Ok(Some(blob));
            }
        }
        let own = RootDir::open(self.engine.layers.files(chain))?;
        let one = std::slice::from_ref(&own);
        let fill = |out: &mut dyn std::io::Write| crate::layer::diff(one, &[], out);
        let (packed, blob, _) = Layers::pack(lease, true, fill)?;
        Ok(blob.filter(|_| packed == *diff_id))
    }

    /// Finds the result of a step by one of its keys, or makes it. Of builds that want the same one
    /// makes it.
    pub fn find_or_make(
        &mut self,
        told: Told<'_>,
        keys: &[&Digest],
        text: String,
        make: impl FnOnce(&mut Self, &Told<'_>) -> Result<Made>,
    ) -> Result<()> {
        if let Some(made) = self.cached(keys)? {
            self.took(told, keys, made, text);
            return Ok(());
        }
        let Some(key) = keys.first() else { return Ok(()) };
        let Some(_making) = Making::begin(&self.engine.cache, key, self.engine.what.cancel)? else {
            return self.engine.go_on();
        };
        if let Some(made) = self.cached(keys)? {
            self.took(told, keys, made, text);
            return Ok(());
        }
        let made = make(self, &told);
        let unsteady = std::mem::take(&mut self.unsteady);
        let keys = if unsteady { &[] } else { keys };
        let kept = made.and_then(|(record, blob)| {
            let record = record.under(keys);
            for key in keys {
                self.engine.cache.keep(key, &record)?;
            }
            Ok((record, blob))
        });
        told.ended(&kept, self.engine.what.cancel.is_stopped());
        let (record, blob) = kept?;
        if !unsteady {
            self.note(keys, &record, blob.as_ref());
        }
        self.state.made(&record, blob, text);
        Ok(())
    }

    /// An earlier result holds.
    pub fn took(&mut self, told: Told<'_>, keys: &[&Digest], made: Made, text: String) {
        told.cached();
        let (record, blob) = made;
        self.note(keys, &record, blob.as_ref());
        self.state.made(&record, blob, text);
    }

    /// Keeps in mind what was used of the cache, if it goes elsewhere.
    fn note(&self, keys: &[&Digest], record: &Record, blob: Option<&Descriptor>) {
        if self.engine.what.export.is_empty() {
            return;
        }
        let packed = self.engine.plan.stages[self.index].packed;
        let mut keys: Vec<Digest> = keys.iter().map(|key| (*key).clone()).collect();
        keys.extend(
            record.keys.iter().filter(|key| !keys.contains(key)).cloned().collect::<Vec<_>>(),
        );
        let (record, blob) = (record.clone(), blob.cloned());
        let mut used = self.engine.used.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        used.push(Used { keys, record, blob, packed });
    }

    /// Whether its layers are packed at once.
    pub fn is_packed(&self) -> bool {
        let wanted = self.engine.what.order.wants == crate::build::Wants::Image;
        wanted && !self.engine.what.order.squash && self.engine.plan.stages[self.index].packed
    }

    /// When a step was made, as the record has it.
    pub fn created(&self) -> Timestamp {
        let now = Timestamp::now();
        self.engine.epoch.map_or(now, |epoch| epoch.min(now))
    }

    /// A step that changed nothing.
    pub fn nothing(&self, text: &str) -> Made {
        let top = self.state.top().cloned();
        (Record::new(top.clone(), top, None, self.created(), text), None)
    }

    /// Makes an unpacked layer visible.
    pub fn unpacked(
        &self,
        unpacked: Unpacked,
        blob: Option<Descriptor>,
        text: &str,
    ) -> Result<Made> {
        if unpacked.applied.entries == 0 {
            return Ok(self.nothing(text));
        }
        let (diff_id, size) = (unpacked.diff_id().clone(), unpacked.applied.size);
        let chain = self.above(&diff_id)?;
        if !self.engine.layers.has(&chain) {
            self.engine.layers.commit_loose(unpacked, &chain, self.state.top())?;
        }
        Ok(self.recorded(chain, diff_id, size, blob, text))
    }

    /// Makes what an overlay's upper directory has become a layer.
    pub fn written(&self, layer: &std::path::Path, mounts: &[Vec<u8>], text: &str) -> Result<Made> {
        let upper = RootDir::open(layer.join("fs"))?;
        let mut lowers = Vec::new();
        for chain in self.state.layers.iter().rev() {
            lowers.push(RootDir::open(self.engine.layers.files(&chain.chain))?);
        }
        let mounts: Vec<&[u8]> = mounts.iter().map(Vec::as_slice).collect();
        let newest = self.engine.epoch.map(Timestamp::as_second);
        let tidied = tidy(&upper, &lowers, &mounts, newest)?;
        if tidied.entries == 0 {
            return Ok(self.nothing(text));
        }
        // A layer's tar says nothing of its root.
        take_after(&upper, lowers.first())?;
        let (packed, layers) = (self.is_packed(), &self.engine.layers);
        let one = std::slice::from_ref(&upper);
        let fill = |out: &mut dyn std::io::Write| crate::layer::diff(one, &[], out);
        let (diff_id, blob, _) = Layers::pack(self.engine.lease, packed, fill)?;
        let chain = self.above(&diff_id)?;
        let ready = Ready { dir: layer.to_owned(), diff_id: diff_id.clone(), size: tidied.size };
        if !layers.has(&chain) {
            layers.place(&ready, &chain, self.state.top())?;
        }
        Ok(self.recorded(chain, diff_id, tidied.size, blob, text))
    }

    /// The chain id of a layer on top, held.
    fn above(&self, diff_id: &DiffId) -> Result<ChainId> {
        let chain = match self.state.top() {
            Some(below) => Digest::of(format!("{below} {diff_id}").as_bytes()),
            None => diff_id.clone(),
        };
        self.engine.lease.hold([&chain])?;
        Ok(chain)
    }

    fn recorded(
        &self,
        chain: ChainId,
        diff_id: DiffId,
        size: u64,
        blob: Option<Descriptor>,
        text: &str,
    ) -> Made {
        let layer = cache::Layer { diff_id, size };
        let parent = self.state.top().cloned();
        (Record::new(parent, Some(chain), Some(layer), self.created(), text), blob)
    }
}
