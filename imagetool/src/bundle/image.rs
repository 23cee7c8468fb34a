//! The one image of a source that is unpacked: its manifest, its config, its layers.

use std::io::Read;

use crate::config::ImageConfig;
use crate::digest::{DiffId, Verified};
use crate::error::{Error, Result};
use crate::manifest::{self, Compression, Descriptor, MAX_CONFIG, Manifest, Parsed};
use crate::platform::Platform;
use crate::source::Source;

/// Lists within lists end here.
const MAX_DEPTH: usize = 3;

/// What there is to know about an image before its layers are read.
#[derive(Debug)]
pub struct Image {
    /// From what the source leads to down to the manifest.
    pub walk: Vec<Descriptor>,
    /// The manifest.
    pub manifest: Manifest,
    /// The config.
    pub config: ImageConfig,
}

impl Image {
    /// Reads a source's image; of a list the one for `platform`, or the host's.
    pub fn read(source: &dyn Source, platform: Option<&Platform>) -> Result<Self> {
        let mut document = source.root()?;
        let mut walk = Vec::new();
        for _ in 0..MAX_DEPTH {
            let title = format!("manifest {}", document.at.digest);
            let next = match manifest::parse(&document.bytes, &document.at.media_type, &title)? {
                Parsed::Manifest(manifest) => {
                    source.permit(&document)?;
                    let mut at = document.at;
                    at.media_type.clone_from(&manifest.media_type);
                    walk.push(at);
                    let config = read_config(source, &manifest)?;
                    return Ok(Self { walk, manifest, config });
                }
                Parsed::Index(index) => {
                    let host = Platform::host();
                    manifest::choose(&index, platform.unwrap_or(&host), &title)?.clone()
                }
            };
            walk.push(document.at);
            document = source.document(&next)?;
        }
        Err(Error::invalid("image", "its lists are nested too deep"))
    }

    /// The layers with their diff ids. Hostile input: the two lists must agree, and each layer
    /// must be a file system's.
    pub fn layers(&self) -> Result<Vec<(&Descriptor, &DiffId)>> {
        let (blobs, ids) = (&self.manifest.layers, &self.config.rootfs.diff_ids);
        if blobs.len() != ids.len() {
            let why =
                format!("the manifest names {} layers, the config {}", blobs.len(), ids.len());
            return Err(Error::invalid("image", why));
        }
        if let Some(odd) = blobs.iter().find(|b| Compression::of_layer(&b.media_type).is_none()) {
            let what = format!("a layer of type {:?}", odd.media_type);
            return Err(Error::unsupported(what, "this is no image that can be unpacked"));
        }
        Ok(blobs.iter().zip(ids).collect())
    }
}

fn read_config(source: &dyn Source, manifest: &Manifest) -> Result<ImageConfig> {
    let blob = &manifest.config;
    let what = format!("image config {}", blob.digest);
    if !manifest::is_image_config(&blob.media_type) {
        let what = format!("a config of type {:?}", blob.media_type);
        return Err(Error::unsupported(what, "this is an artifact, not a container image"));
    }
    if blob.size > MAX_CONFIG {
        return Err(Error::invalid(what, format!("it is over {MAX_CONFIG} bytes")));
    }
    let mut bytes = Vec::new();
    let mut from = Verified::new(source.blob(blob)?, &blob.digest, blob.size, what.as_str());
    from.read_to_end(&mut bytes).map_err(|e| Error::from_io("read", &what, e))?;
    ImageConfig::parse(&bytes, &what)
}
