//! Into the store, unpacking on the way.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Layer, New, Part, Signatures, Sink};
use crate::digest::{Algorithm, ChainId, Hashing};
use crate::error::{Error, Result};
use crate::manifest::Descriptor;
use crate::pieces::Tee;
use crate::reference::Reference;
use crate::snapshot::{Layers, Step};
use crate::source::Document;
use crate::store::{Lease, Store};

/// Keeps images in a store. Nothing is visible before [`Keep::publish`].
pub struct Keep {
    lease: Lease,
    layers: Layers,
    unpack: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    steps: Vec<Step>,
    root: Option<Descriptor>,
}

impl Keep {
    /// Takes a lease of the store.
    pub fn new(store: &Store, unpack: bool) -> Result<Self> {
        let layers = Layers::open(store.root());
        Ok(Self { lease: store.lease()?, layers, unpack, state: Mutex::new(State::default()) })
    }

    /// A directory for spooling; what lies there can be taken by a rename.
    pub fn spool(&self) -> &Path {
        self.lease.dir()
    }

    /// Makes the image visible under these names, dangling if there is none.
    pub fn publish(&self, names: &[Reference]) -> Result<()> {
        let (steps, root) = {
            let mut state = self.state();
            (std::mem::take(&mut state.steps), state.root.take())
        };
        let root = root.ok_or_else(|| Error::invalid("copy", "no image came"))?;
        let synced = !steps.is_empty();
        self.layers.commit_all(ordered(steps))?;
        if names.is_empty() {
            self.lease.publish(&root, None, None, synced)?;
        }
        names.iter().try_for_each(|n| self.lease.publish(&root, Some(n), None, synced))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unpack(&self, part: &Part<'_>, layer: Layer<'_>, packed: impl Read) -> Result<()> {
        let begun = self.layers.start(&self.lease, layer.diff_id, &part.blob.media_type)?;
        let unpacked = begun.early(&self.lease).run(packed)?;
        let (chain, parent) = (layer.chain.clone(), layer.parent.cloned());
        self.state().steps.push(Step { unpacked, chain, parent });
        Ok(())
    }
}

/// What is made on the way in.
impl Keep {
    fn learned(&self, new: New<'_>) -> Result<Descriptor> {
        let (file, path) = self.lease.file()?;
        let mut file = Hashing::new(file, Algorithm::Sha256);
        (new.fill)(&mut file)?;
        let (_, digest, size) = file.finish();
        self.lease.hold([&digest].into_iter().chain(new.layer.map(|l| l.chain)))?;
        let blob = Descriptor::new(new.media_type, digest, size);
        if let Some(layer) = new.layer.filter(|l| self.unpack && !self.layers.has(l.chain)) {
            let open = || -> Result<Box<dyn Read + Send>> {
                Ok(Box::new(File::open(&path).map_err(Error::at("open", &path))?))
            };
            let part = Part { blob: &blob, open: &open, spooled: None, layer: Some(layer) };
            self.unpack(&part, layer, open()?)?;
        }
        self.lease.adopt(path, blob.digest.clone());
        Ok(blob)
    }
}

/// Parents before their children.
fn ordered(mut steps: Vec<Step>) -> Vec<Step> {
    let mut done = Vec::with_capacity(steps.len());
    while !steps.is_empty() {
        let waiting: HashSet<ChainId> = steps.iter().map(|s| s.chain.clone()).collect();
        let ready = |s: &Step| s.parent.as_ref().is_none_or(|p| !waiting.contains(p));
        let (now, later): (Vec<Step>, Vec<Step>) = steps.into_iter().partition(ready);
        if now.is_empty() {
            done.extend(later);
            break;
        }
        done.extend(now);
        steps = later;
    }
    done
}

impl Sink for Keep {
    fn signatures(&self) -> Signatures {
        Signatures::Dropped
    }

    fn images_only(&self) -> bool {
        true
    }

    fn put(&self, part: Part<'_>) -> Result<&'static str> {
        let digest = &part.blob.digest;
        self.lease.hold([digest].into_iter().chain(part.layer.map(|l| l.chain)))?;
        let layer = part.layer.filter(|l| self.unpack && !self.layers.has(l.chain));
        let store = self.lease.store();
        if store.has_blob(digest) {
            return match layer {
                None => Ok("already there"),
                Some(layer) => {
                    self.unpack(&part, layer, store.open_verified(part.blob)?)?;
                    Ok("unpacked")
                }
            };
        }
        if let Some(path) = &part.spooled {
            if let Some(layer) = layer {
                self.unpack(&part, layer, File::open(path).map_err(Error::at("open", path))?)?;
            }
            self.lease.adopt(path.clone(), digest.clone());
            return Ok("stored");
        }
        // The source checks the bytes, so that they are hashed once.
        let (to, path) = self.lease.file()?;
        let mut tee = Tee { from: (part.open)()?, to };
        match layer {
            Some(layer) => self.unpack(&part, layer, &mut tee)?,
            None => super::pour(&mut tee, &mut io::sink(), self.spool())?,
        }
        self.lease.adopt(path, digest.clone());
        Ok("stored")
    }

    fn learn(&self, new: New<'_>) -> Option<Result<Descriptor>> {
        Some(self.learned(new))
    }

    fn document(&self, document: &Document, top: bool) -> Result<()> {
        let digest = &document.at.digest;
        self.lease.hold([digest])?;
        if !self.lease.store().has_blob(digest) {
            self.lease.put_as(digest, &document.bytes)?;
        }
        if top {
            self.state().root = Some(document.at.clone());
        }
        Ok(())
    }
}
