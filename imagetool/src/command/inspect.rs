//! `dhow-image inspect REF…`: JSON about an image.

use std::io::Write;

use clap::Args;
use dhow_image::manifest::{MAX_CONFIG, MAX_MANIFEST};
use dhow_image::store::{Store, Stored};
use dhow_image::{Error, Result};
use serde_json::{Value, json};

use crate::context::Context;

/// Flags of `inspect`.
#[derive(Args)]
pub struct Inspect {
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// Print the manifest, byte for byte
    #[arg(long, conflicts_with = "config")]
    raw: bool,
    /// Print the image config, byte for byte
    #[arg(long)]
    config: bool,
}

impl Inspect {
    /// Inspects; one document an image.
    pub fn run(self, cx: &Context) -> Result<()> {
        let store = cx.store()?;
        let images = self.images.iter().map(|needle| store.find(needle));
        let images: Vec<Stored> = images.collect::<Result<_>>()?;
        for image in images {
            if self.raw {
                write(&store.read_blob(&image.manifest.digest, MAX_MANIFEST)?)?;
            } else if self.config {
                write(&store.read_blob(&image.config_digest, MAX_CONFIG)?)?;
            } else {
                cx.print_json(&shape(&store, &image)?)?;
            }
        }
        Ok(())
    }
}

fn write(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(Error::at("write", "stdout"))
}

fn shape(store: &Store, image: &Stored) -> Result<Value> {
    let manifest = image.manifest(store)?;
    let config = image.config(store)?;
    let chain = image.chain_ids(store)?;
    let layers: Vec<Value> = (manifest.layers.iter().zip(&image.diff_ids).zip(&chain))
        .map(|((blob, diff_id), chain_id)| {
            json!({
                "mediaType": blob.media_type,
                "digest": blob.digest,
                "size": blob.size,
                "diffId": diff_id,
                "chainId": chain_id,
            })
        })
        .collect();
    Ok(json!({
        "id": image.id(),
        "names": image.names,
        "repoDigests": image.repo_digests,
        "manifest": { "mediaType": manifest.media_type, "digest": image.manifest.digest,
                      "size": image.manifest.size, "annotations": manifest.annotations },
        "created": image.created,
        "author": config.author,
        "platform": image.platform.to_string(),
        "size": image.size,
        "config": config.config,
        "layers": layers,
        "history": config.history,
    }))
}
