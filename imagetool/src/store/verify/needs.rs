//! What images need: their documents read, and what those lead to gathered.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fault, Findings, worded};
use crate::config::ImageConfig;
use crate::digest::{ChainId, DiffId, Digest, Verified};
use crate::error::{Error, Result};
use crate::manifest::{self, Compression, Descriptor, Index, MAX_CONFIG, Manifest, Parsed};
use crate::source::Source;

/// Lists within lists end here, as in a copy.
const MAX_DEPTH: u8 = 4;

/// What images need.
#[derive(Default)]
pub(super) struct Needs {
    /// Blobs to be read to their end.
    pub blobs: BTreeMap<Digest, Need>,
    /// Every digest that something leads to, documents too.
    pub known: BTreeMap<Digest, BTreeSet<String>>,
}

/// One blob.
pub(super) struct Need {
    pub at: Descriptor,
    /// What it is for images: a layer, or something else.
    pub what: &'static str,
    /// What it must unpack to, and as which layer of which chain.
    pub layers: BTreeMap<ChainId, Layer>,
    pub images: BTreeSet<String>,
}

/// A layer's place.
#[derive(Clone)]
pub(super) struct Layer {
    pub diff_id: DiffId,
    pub parent: Option<ChainId>,
}

impl Needs {
    /// Reads a document and all it leads to.
    pub fn document(
        &mut self,
        source: &dyn Source,
        at: &Descriptor,
        title: &str,
        findings: &Findings,
        depth: u8,
    ) {
        self.known.entry(at.digest.clone()).or_default().insert(title.to_owned());
        let images = BTreeSet::from([title.to_owned()]);
        let bad = |e: &Error| {
            let fault = Some(Fault::Document(at.clone()));
            findings.damage("manifest", &at.digest, worded(e), &images, fault);
        };
        if depth > MAX_DEPTH {
            return bad(&Error::invalid("list", "lists within lists"));
        }
        let document = match source.document(at) {
            Ok(document) => document,
            Err(e) => return bad(&e),
        };
        let what = format!("manifest {}", at.digest);
        match manifest::parse(&document.bytes, &at.media_type, &what) {
            Ok(Parsed::Index(index)) => self.index(source, &index, title, findings, depth),
            Ok(Parsed::Manifest(m)) => self.image(source, &at.digest, &m, title, findings),
            // Its bytes are what they should be: getting them again would not help.
            Err(e) => findings.damage("manifest", &at.digest, e, &images, None),
        }
    }

    fn index(
        &mut self,
        source: &dyn Source,
        index: &Index,
        title: &str,
        findings: &Findings,
        depth: u8,
    ) {
        for child in &index.manifests {
            let known = self.known.get(&child.digest);
            if known.is_none_or(|images| !images.contains(title)) {
                self.document(source, child, title, findings, depth + 1);
            }
        }
    }

    fn image(
        &mut self,
        source: &dyn Source,
        digest: &Digest,
        manifest: &Manifest,
        title: &str,
        findings: &Findings,
    ) {
        let image = manifest::is_image_config(&manifest.config.media_type);
        let images = BTreeSet::from([title.to_owned()]);
        let mut diff_ids = Vec::new();
        if image {
            match config(source, &manifest.config) {
                Ok(config) => diff_ids = config.rootfs.diff_ids,
                // Unreadable: the blob's own check says it.
                Err(None) => {}
                Err(Some(e)) => {
                    findings.damage("config", &manifest.config.digest, e, &images, None);
                }
            }
        }
        let what = if image { "config" } else { "blob" };
        self.blob(&manifest.config, what, title, None);
        if !diff_ids.is_empty() && diff_ids.len() != manifest.layers.len() {
            let why = format!(
                "its manifest has {} layers, its config {}",
                manifest.layers.len(),
                diff_ids.len()
            );
            findings.damage("image", digest, why, &images, None);
            diff_ids.clear();
        }
        let chain = Digest::chain(&diff_ids);
        for (i, blob) in manifest.layers.iter().enumerate() {
            let layer = diff_ids.get(i).map(|diff_id| {
                let parent = i.checked_sub(1).map(|below| chain[below].clone());
                (chain[i].clone(), Layer { diff_id: diff_id.clone(), parent })
            });
            let what = if image { "layer" } else { "blob" };
            if image && Compression::of_layer(&blob.media_type).is_none() {
                let why = format!("its media type {:?} is no layer's", blob.media_type);
                findings.damage("layer", &blob.digest, why, &images, None);
            }
            self.blob(blob, what, title, layer);
        }
    }

    fn blob(
        &mut self,
        at: &Descriptor,
        what: &'static str,
        title: &str,
        layer: Option<(ChainId, Layer)>,
    ) {
        self.known.entry(at.digest.clone()).or_default().insert(title.to_owned());
        let need = self.blobs.entry(at.digest.clone()).or_insert_with(|| Need {
            at: at.clone(),
            what,
            layers: BTreeMap::new(),
            images: BTreeSet::new(),
        });
        need.layers.extend(layer);
        need.images.insert(title.to_owned());
    }
}

/// An image's config; `Err(None)` if its bytes aren't what they should be.
fn config(source: &dyn Source, blob: &Descriptor) -> Result<ImageConfig, Option<Error>> {
    let what = format!("image config {}", blob.digest);
    if blob.size > MAX_CONFIG {
        return Err(Some(Error::invalid(what, format!("it is over {MAX_CONFIG} bytes"))));
    }
    let reader = source.blob(blob).map_err(|_| None)?;
    let mut bytes = Vec::new();
    let mut reader = Verified::new(reader, &blob.digest, blob.size, what.as_str());
    std::io::Read::read_to_end(&mut reader, &mut bytes).map_err(|_| None)?;
    ImageConfig::parse(&bytes, &what).map_err(Some)
}
