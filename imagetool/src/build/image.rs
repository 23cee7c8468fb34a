//! What a build has come to becomes an image.

use std::io::Write;
use std::time::Instant;

use jiff::Timestamp;

use super::Wants;
use super::cache::{Cache, INLINE, List, Used};
use super::engine::{Build, Layer, State, Told};
use super::progress::{Event, StepId};
use super::spec::CacheTo;
use crate::config::{History, ImageConfig};
use crate::digest::{ChainId, Digest};
use crate::error::{Error, Result};
use crate::layer::{Packed, RootDir};
use crate::manifest::{
    Descriptor, Index, MAX_LAYERS, Manifest, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST,
};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::sink::{LayoutDir, Push};
use crate::snapshot::{Layers, side_by_side};
use crate::store::{Lease, Store};

/// A build's result. Nothing of it is visible before it is published, and all of it is held.
#[derive(Debug)]
pub struct Built {
    store: Store,
    lease: Lease,
    layers: Layers,
    /// The image's manifest, which lies in the store; `None` unless an image was wanted.
    pub manifest: Option<Descriptor>,
    /// Docker's IMAGE ID; as above.
    pub id: Option<Digest>,
    /// The image's config.
    pub config: ImageConfig,
    /// Its layers, lowest first.
    pub chain: Vec<ChainId>,
    /// When all was made, if that was said.
    pub epoch: Option<Timestamp>,
    /// The step that puts it into the store, which whoever publishes ends, and when it began.
    pub exporting: Option<(StepId, Instant)>,
    /// Those for other platforms, of which it holds a list then.
    pub beside: Vec<Built>,
}

impl Built {
    /// The store it is in.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What holds it.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Of builds for several platforms, in this order, one that leads to all: the one for this machine, with
    /// a list for its manifest.
    pub fn gathered(mut all: Vec<Self>) -> Result<Self> {
        let entry = |one: &Self| {
            let platform = Some(one.config.platform());
            one.manifest.clone().map(|manifest| Descriptor { platform, ..manifest })
        };
        let manifests: Vec<Descriptor> = all.iter().filter_map(entry).collect();
        let here = all.iter().position(|one| one.config.platform().runs_here()).unwrap_or(0);
        if all.is_empty() {
            return Err(Error::invalid("build", "it is for no platform"));
        }
        let mut main = all.remove(here);
        if main.manifest.is_some() {
            let index = Index { manifests, ..Index::default() };
            let json = |e: serde_json::Error| Error::invalid("image index", e);
            let bytes = serde_json::to_vec(&index).map_err(json)?;
            let root = Descriptor::of(OCI_INDEX, &bytes);
            main.lease.hold([&root.digest])?;
            if !main.store.has_blob(&root.digest) {
                main.lease.put_as(&root.digest, &bytes)?;
                main.lease.bear(false)?;
            }
            main.id = Some(root.digest.clone());
            main.manifest = Some(root);
        }
        main.beside = all;
        Ok(main)
    }

    /// What it is for: the image, and those beside it.
    pub fn platforms(&self) -> impl Iterator<Item = (Platform, &Self)> {
        std::iter::once(self).chain(&self.beside).map(|one| (one.config.platform(), one))
    }

    /// Makes it visible under these names; dangling if there are none.
    pub fn publish(&self, names: &[Reference]) -> Result<()> {
        let Some(root) = &self.manifest else {
            return Err(Error::Conflict("no image was asked for".into()));
        };
        if names.is_empty() {
            return self.lease.publish(root, None, None, true);
        }
        names.iter().try_for_each(|name| self.lease.publish(root, Some(name), None, true))
    }

    /// Writes its files as a tar.
    pub fn export(&self, out: impl Write) -> Result<Packed> {
        self.layers.export(&self.chain, out)
    }
}

/// Finishes a build: its config with all times, and if it is wanted its blobs and manifest.
pub(super) fn finish(
    what: &Build<'_>,
    lease: Lease,
    (layers, cache, used): (Layers, Cache, Vec<Used>),
    mut state: State,
    platform: Option<Platform>,
    epoch: Option<Timestamp>,
) -> Result<Built> {
    let order = what.order;
    if order.squash {
        let place = super::squash::Place {
            lease: &lease,
            layers: &layers,
            cache: &cache,
            packed: order.wants == Wants::Image,
            no_cache: order.no_cache,
            epoch,
        };
        super::squash::squash(&place, &mut state)?;
    }
    let mut config = state.image;
    config.config.labels.extend(order.labels.clone());
    if let Some(platform) = platform {
        if (&platform.os, &platform.architecture) != (&config.os, &config.architecture)
            || !platform.variant.is_empty()
        {
            config.variant = platform.variant;
        }
        (config.os, config.architecture) = (platform.os, platform.architecture);
    }
    "layers".clone_into(&mut config.rootfs.kind);
    config.rootfs.diff_ids = state.layers.iter().map(|layer| layer.diff_id.clone()).collect();
    dated(&mut config, state.old_history, epoch);
    let chain: Vec<ChainId> = state.layers.iter().map(|layer| layer.chain.clone()).collect();
    if chain.len() > MAX_LAYERS {
        let why = format!("it has {} layers, more than {MAX_LAYERS}", chain.len());
        return Err(Error::invalid("image", why));
    }
    let mut built = Built {
        store: what.store.clone(),
        lease,
        layers,
        manifest: None,
        id: None,
        config,
        chain,
        epoch,
        exporting: None,
        beside: Vec::new(),
    };
    if order.wants == Wants::Image {
        let told = Told::begin(what.watcher, what.steps, "exporting to image");
        let inline = what.export.contains(&CacheTo::Inline).then_some(used.as_slice());
        let done = built.pack(&cache, &state.layers, (&order.annotations, inline), &told);
        if done.is_err() {
            told.ended(&done, what.cancel.is_stopped());
            done?;
        } else {
            built.exporting = Some((told.id, told.since));
        }
    }
    for to in what.export {
        built.send(what, &cache, &used, to)?;
    }
    Ok(built)
}

impl Built {
    fn pack(
        &mut self,
        cache: &Cache,
        layers: &[Layer],
        (annotations, inline): (&std::collections::BTreeMap<String, String>, Option<&[Used]>),
        told: &Told<'_>,
    ) -> Result<()> {
        told.tell(Event::Moved(told.id, "exporting layers", 0, None));
        let at: Vec<usize> = (0..layers.len()).collect();
        let blobs = side_by_side(&at, |&i| self.blob(cache, layers, i))?;
        told.tell(Event::Moved(told.id, "exporting layers", 0, Some(0)));
        let json = |e: serde_json::Error| Error::invalid("image config", e);
        let config = serde_json::to_vec(&self.config).map_err(json)?;
        let mut annotations = annotations.clone();
        if let Some(used) = inline {
            let used: Vec<Used> = used.iter().filter(|one| one.packed).cloned().collect();
            let list = List::new(&used, |one| self.used_blob(cache, one))?;
            annotations.insert(INLINE.to_owned(), String::from_utf8_lossy(&list.bytes()?).into());
        }
        let manifest = Manifest {
            schema_version: 2,
            media_type: OCI_MANIFEST.to_owned(),
            config: Descriptor::of(OCI_CONFIG, &config),
            layers: blobs.clone(),
            annotations,
        };
        let bytes = serde_json::to_vec(&manifest).map_err(json)?;
        let root = Descriptor::of(OCI_MANIFEST, &bytes);
        let id = manifest.config.digest.clone();
        self.lease.hold(blobs.iter().map(|b| &b.digest).chain([&id, &root.digest]))?;
        for (digest, bytes, what) in [(&id, &config, "config"), (&root.digest, &bytes, "manifest")]
        {
            let text = format!("exporting {what} {digest}");
            told.tell(Event::Moved(told.id, &text, 0, None));
            if !self.store.has_blob(digest) {
                self.lease.put_as(digest, bytes)?;
            }
            told.tell(Event::Moved(told.id, &text, 0, Some(0)));
        }
        // The layers are on disk before anything leads to them.
        let synced = self.layers.fasten(&self.chain)?;
        self.lease.bear(synced)?;
        for (layer, blob) in layers.iter().zip(&blobs).filter(|(layer, _)| !layer.base) {
            if cache.blob(&layer.diff_id).as_ref() != Some(blob) {
                cache.keep_blob(&layer.diff_id, blob)?;
            }
        }
        (self.manifest, self.id) = (Some(root), Some(id));
        Ok(())
    }

    /// As which blob a step's layer is packed.
    fn used_blob(&self, cache: &Cache, used: &Used) -> Result<Descriptor> {
        let (Some(layer), Some(chain)) = (&used.record.layer, &used.record.chain) else {
            return Err(Error::invalid("step record", "it has no layer"));
        };
        let (chain, diff_id) = (chain.clone(), layer.diff_id.clone());
        let blob = used.blob.clone();
        self.blob(cache, &[Layer { chain, diff_id, blob, base: false }], 0)
    }

    /// Brings what was used of the cache elsewhere.
    fn send(&self, what: &Build<'_>, cache: &Cache, used: &[Used], to: &CacheTo) -> Result<()> {
        let (name, all) = match to {
            CacheTo::Inline => return Ok(()),
            CacheTo::Registry { reference, all } => (format!("registry {reference}"), *all),
            CacheTo::Local { dir, all, .. } => (format!("local directory {}", dir.display()), *all),
        };
        let told = Told::begin(what.watcher, what.steps, &format!("exporting cache to {name}"));
        let send = || {
            let used: Vec<Used> = used.iter().filter(|one| all || one.packed).cloned().collect();
            let list = List::new(&used, |one| {
                let blob = self.used_blob(cache, one)?;
                if let Some(layer) = &one.record.layer {
                    cache.keep_blob(&layer.diff_id, &blob)?;
                }
                Ok(blob)
            })?;
            self.lease.bear(false)?;
            match to {
                CacheTo::Inline => Ok(()),
                CacheTo::Registry { reference, .. } => {
                    list.send(&self.store, &Push::new(what.fetch.settings, reference, None, None)?)
                }
                CacheTo::Local { dir, tag, .. } => {
                    let layout = LayoutDir::open(dir)?;
                    list.send(&self.store, &layout)?;
                    layout.finish(Some(tag.as_deref().unwrap_or("latest")))
                }
            }
        };
        let done = send();
        told.ended(&done, what.cancel.is_stopped());
        done
    }

    /// As which blob a layer is packed: made with it, by an earlier build, or now.
    fn blob(&self, cache: &Cache, layers: &[Layer], at: usize) -> Result<Descriptor> {
        let layer = &layers[at];
        if let Some(blob) = &layer.blob
            && (!layer.base || self.store.has_blob(&blob.digest))
        {
            return Ok(blob.clone());
        }
        if let Some(blob) = cache.blob(&layer.diff_id) {
            self.lease.hold([&blob.digest])?;
            if self.store.has_blob(&blob.digest) {
                return Ok(blob);
            }
        }
        let own = RootDir::open(self.layers.files(&layer.chain))?;
        let one = std::slice::from_ref(&own);
        let fill = |out: &mut dyn Write| crate::layer::diff(one, &[], out);
        let (diff_id, blob, _) = Layers::pack(&self.lease, true, fill)?;
        if diff_id != layer.diff_id {
            let digest = layer.blob.as_ref().map_or(&layer.diff_id, |blob| &blob.digest);
            return Err(Error::NotFound {
                what: "blob",
                name: digest.to_string(),
                hint: if layer.base {
                    "the base image lacks it: build with --pull".into()
                } else {
                    "the cache's layer can't be packed as it was: build with --no-cache".into()
                },
            });
        }
        blob.ok_or_else(|| Error::invalid("layer", "it has no blob"))
    }
}

/// Gives the config its times. What has none of its own takes after the layer before it in this
/// build, else the first one after it, else the base's last: BuildKit's way, and always the same
/// as long as no step is made anew.
fn dated(config: &mut ImageConfig, old: usize, epoch: Option<Timestamp>) {
    let history = &mut config.history;
    let new = history.get(old..).unwrap_or_default();
    let first = new.iter().find_map(|entry| entry.created.clone());
    let below = history[..old.min(history.len())].iter().rev().find_map(|e| e.created.clone());
    let told = epoch.map(|time| time.to_string());
    let mut last = first.or(below).or_else(|| told.clone());
    for entry in history.iter_mut().skip(old) {
        match &entry.created {
            Some(time) => last = Some(time.clone()),
            None => entry.created.clone_from(&last),
        }
        if told.is_some() && later(entry, epoch) {
            entry.created.clone_from(&told);
        }
    }
    let last = history.iter().rev().find_map(|entry| entry.created.clone());
    config.created = last.or(told).or_else(|| Some(Timestamp::UNIX_EPOCH.to_string()));
    if let (Some(epoch), Some(created)) = (epoch, &config.created)
        && created.parse::<Timestamp>().is_ok_and(|created| created > epoch)
    {
        config.created = Some(epoch.to_string());
    }
}

fn later(entry: &History, epoch: Option<Timestamp>) -> bool {
    let created = entry.created.as_ref().and_then(|text| text.parse::<Timestamp>().ok());
    created.is_none_or(|created| epoch.is_some_and(|epoch| created > epoch))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(created: Option<&str>) -> History {
        History { created: created.map(str::to_owned), ..History::default() }
    }

    #[test]
    fn what_has_no_time_takes_after_its_neighbours() {
        let history = vec![
            entry(Some("2001-01-01T00:00:00Z")),
            entry(None),
            entry(Some("2020-01-01T00:00:00Z")),
            entry(None),
        ];
        let dates = |old, epoch: Option<&str>| {
            let mut config = ImageConfig { history: history.clone(), ..ImageConfig::default() };
            dated(&mut config, old, epoch.map(|e| e.parse().unwrap()));
            let mut all: Vec<String> =
                config.history.iter().filter_map(|e| e.created.clone()).collect();
            all.extend(config.created);
            all.iter().map(|t| t[..4].to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(dates(1, None), ["2001", "2020", "2020", "2020", "2020"]);
        assert_eq!(
            dates(1, Some("2010-01-01T00:00:00Z")),
            ["2001", "2010", "2010", "2010", "2010"]
        );
        // The base's own times stay.
        assert_eq!(
            dates(1, Some("1999-01-01T00:00:00Z")),
            ["2001", "1999", "1999", "1999", "1999"]
        );
    }

    #[test]
    fn an_image_without_layers_of_its_own_is_as_old_as_its_base() {
        let history = vec![entry(Some("2001-01-01T00:00:00Z")), entry(None)];
        let mut config = ImageConfig { history, ..ImageConfig::default() };
        dated(&mut config, 1, None);
        assert_eq!(config.created.as_deref(), Some("2001-01-01T00:00:00Z"));
        assert_eq!(config.history[1].created.as_deref(), Some("2001-01-01T00:00:00Z"));
    }
}
