//! `commit`: a container's changes become a layer upon its image, and that an image.

use jiff::Timestamp;

use crate::changes;
use crate::config::{History, RunConfig};
use crate::digest::{ChainId, Digest};
use crate::error::{Error, Result};
use crate::layer::{RootDir, diff};
use crate::manifest::{Manifest, OCI_CONFIG, OCI_MANIFEST};
use crate::recode;
use crate::reference::Reference;
use crate::snapshot::Layers;
use crate::store::{Store, Stored};

/// What the image will be made of, and say of itself.
#[derive(Debug)]
pub struct Commit<'a> {
    /// The container's image.
    pub base: &'a Stored,
    /// The container's own changes, then its image's layers, topmost first.
    pub layers: &'a [RootDir],
    /// Paths where only mounts stand, if they are empty: no part of the image.
    pub mounts: &'a [&'a [u8]],
    /// The container's config.
    pub config: RunConfig,
    /// Dockerfile instructions upon it.
    pub changes: &'a [String],
    /// The image's name; without one it dangles.
    pub name: Option<&'a Reference>,
    /// Who made it.
    pub author: String,
    /// The comment in its history.
    pub message: String,
    /// What ran in the container, for the history.
    pub command: String,
}

/// Makes the image and answers with its id.
pub fn commit(store: &Store, what: &Commit<'_>) -> Result<Digest> {
    let config = changed(&what.config, what.changes)?;
    let lease = store.lease()?;
    let below: Vec<ChainId> = what.base.chain_ids(store)?;
    let parent = what.base.manifest(store)?;
    let held = parent.layers.iter().map(|l| &l.digest).chain(&below);
    lease.hold(held.chain([&parent.config.digest]))?;
    for blob in &parent.layers {
        if !store.has_blob(&blob.digest) {
            store.open_blob(&blob.digest)?; // says what to do
        }
    }
    let layers = Layers::open(store.root());
    let (made, _) = layers.make(&lease, |out| diff(what.layers, what.mounts, out))?;
    // docker calls a layer without entries none.
    let empty = made.unpacked.applied.entries == 0;

    let mut image = what.base.config(store)?;
    image.extra.retain(|key, _| key.starts_with("os."));
    (image.config, image.author) = (config, what.author.clone());
    image.created = Some(Timestamp::now().to_string());
    image.history.push(History {
        created: image.created.clone(),
        created_by: what.command.clone(),
        author: what.author.clone(),
        comment: what.message.clone(),
        empty_layer: empty,
    });
    let mut manifest = oci(parent)?;
    if !empty {
        image.rootfs.diff_ids.push(made.unpacked.diff_id().clone());
        manifest.layers.push(made.blob.clone());
    }
    let json = |e: serde_json::Error| Error::invalid("image config", e);
    manifest.config = lease.put(OCI_CONFIG, &serde_json::to_vec(&image).map_err(json)?)?;
    let root = lease.put(OCI_MANIFEST, &serde_json::to_vec(&manifest).map_err(json)?)?;
    let chain = Digest::chain(&image.rootfs.diff_ids);
    lease.hold(chain.iter().chain([&root.digest]))?;
    let synced = match chain.last() {
        Some(top) if !empty && !layers.has(top) => {
            layers.commit(made.unpacked, top, below.last())?;
            true
        }
        _ => false,
    };
    lease.publish(&root, what.name, None, synced)?;
    Ok(manifest.config.digest)
}

/// The container's config with changes upon it; what they leave open is the container's.
pub fn changed(own: &RunConfig, instructions: &[String]) -> Result<RunConfig> {
    let mut config = own.clone();
    changes::apply(&mut config, instructions)?;
    if config.entrypoint.as_ref().is_none_or(Vec::is_empty)
        && config.cmd.as_ref().is_none_or(Vec::is_empty)
    {
        config.cmd.clone_from(&own.cmd);
    }
    if let (Some(new), Some(old)) = (&mut config.healthcheck, &own.healthcheck) {
        for (new, old) in [
            (&mut new.interval, old.interval),
            (&mut new.timeout, old.timeout),
            (&mut new.start_period, old.start_period),
            (&mut new.start_interval, old.start_interval),
            (&mut new.retries, old.retries),
        ] {
            if *new == 0 {
                *new = old;
            }
        }
    }
    Ok(config)
}

/// The manifest in OCI's types: the blobs are the same.
fn oci(mut manifest: Manifest) -> Result<Manifest> {
    OCI_MANIFEST.clone_into(&mut manifest.media_type);
    manifest.annotations.clear();
    for layer in &mut manifest.layers {
        layer.media_type = recode::as_oci(&layer.media_type)?;
    }
    Ok(manifest)
}
