//! An image while it is changed.

use super::{Doc, NewLayer};
use crate::config::{History, ImageConfig, RootFs};
use crate::digest::{DiffId, Digest};
use crate::error::{Error, Result};
use crate::manifest::{
    self, Compression, DOCKER_CONFIG, DOCKER_LAYER_GZIP, DOCKER_MANIFEST, Descriptor, Index,
    MAX_CONFIG, MAX_LAYERS, Manifest, OCI_CONFIG, OCI_LAYER, OCI_LAYER_ZSTD, OCI_MANIFEST, Parsed,
};
use crate::platform::Platform;
use crate::recode;
use crate::source::{Derived, Document, Source};

/// Lists within lists end here.
const MAX_DEPTH: usize = 3;
/// Docker's plain layer.
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// Docker's zstd layer.
const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";

/// An image while it is changed: its documents may be written to, its layers go by methods, as
/// manifest and config both tell of them.
pub struct Draft<'a> {
    sources: Vec<&'a dyn Source>,
    elsewhere: Vec<(Digest, usize)>,
    lists: Vec<List>,
    at: Descriptor,
    /// The manifest; `layers` and `config` are written by [`Draft::finish`].
    pub manifest: Doc<Manifest>,
    /// The image config; `rootfs` is written by [`Draft::push`] and its like.
    pub config: Doc<ImageConfig>,
    layers: Vec<NewLayer>,
}

impl<'a> Draft<'a> {
    /// The image that a source leads to; of several in a list the one for `platform`, or the
    /// host's.
    pub fn of(source: &'a dyn Source, platform: Option<&Platform>) -> Result<Self> {
        let (lists, document) = leaf(source, platform)?;
        let title = format!("manifest {}", document.at.digest);
        let parsed = manifest::parse(&document.bytes, &document.at.media_type, &title)?;
        let Parsed::Manifest(m) = parsed else {
            return Err(Error::invalid(title, "it is no image"));
        };
        Self::read(source, lists, document, &m)
    }

    fn read(
        source: &'a dyn Source,
        lists: Vec<List>,
        document: Document,
        m: &Manifest,
    ) -> Result<Self> {
        let title = format!("manifest {}", document.at.digest);
        if !manifest::is_image_config(&m.config.media_type) {
            let what = format!("{title}: config type {:?}", m.config.media_type);
            return Err(Error::unsupported(what, "this is an artifact, not a container image"));
        }
        let what = format!("image config {}", m.config.digest);
        if m.config.size > MAX_CONFIG {
            return Err(Error::invalid(what, format!("it is over {MAX_CONFIG} bytes")));
        }
        let mut bytes = Vec::new();
        let mut reader = source.blob(&m.config)?;
        std::io::Read::read_to_end(&mut reader, &mut bytes)
            .map_err(|e| Error::from_io("read", &what, e))?;
        let config = ImageConfig::parse(&bytes, &what)?;
        let (have, want) = (config.rootfs.diff_ids.len(), m.layers.len());
        if have != want {
            let why = format!("it names {have} layers, the manifest {want}");
            return Err(Error::invalid(what, why));
        }
        let mut at = document.at;
        m.media_type.clone_into(&mut at.media_type);
        Ok(Self {
            sources: vec![source],
            elsewhere: Vec::new(),
            lists,
            at,
            manifest: Doc::parse(&document.bytes, &title)?,
            config: Doc::parse(&bytes, &what)?,
            layers: Vec::new(),
        })
    }

    /// An image of nothing.
    pub fn scratch(platform: &Platform, created: Option<String>) -> Result<Self> {
        let config = ImageConfig {
            created,
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            variant: platform.variant.clone(),
            rootfs: RootFs { kind: "layers".to_owned(), diff_ids: Vec::new() },
            ..ImageConfig::default()
        };
        let manifest = Manifest {
            schema_version: 2,
            media_type: OCI_MANIFEST.to_owned(),
            config: Descriptor::of(OCI_CONFIG, b""),
            layers: Vec::new(),
            annotations: std::collections::BTreeMap::new(),
        };
        Ok(Self {
            sources: Vec::new(),
            elsewhere: Vec::new(),
            lists: Vec::new(),
            at: Descriptor::of(OCI_MANIFEST, b""),
            manifest: Doc::new(manifest)?,
            config: Doc::new(config)?,
            layers: Vec::new(),
        })
    }

    /// The digest of the manifest it was made of.
    pub fn base(&self) -> &Digest {
        &self.at.digest
    }

    /// Its layers, lowest first.
    pub fn layers(&self) -> impl Iterator<Item = (&Descriptor, &DiffId)> {
        self.manifest.layers.iter().zip(&self.config.rootfs.diff_ids)
    }

    /// How its topmost packed layer is packed, for one that should be packed alike; gzip if none
    /// is.
    pub fn compression(&self) -> Compression {
        let mut packed =
            self.manifest.layers.iter().rev().filter_map(|l| Compression::of_layer(&l.media_type));
        packed.find(|c| *c != Compression::None).unwrap_or(Compression::Gzip)
    }

    /// Puts a new layer on top.
    pub fn push(&mut self, mut layer: NewLayer, history: Option<History>) -> Result<()> {
        if self.at.media_type == DOCKER_MANIFEST {
            let kind = match layer.blob.media_type.as_str() {
                OCI_LAYER => DOCKER_LAYER,
                OCI_LAYER_ZSTD => DOCKER_LAYER_ZSTD,
                _ => DOCKER_LAYER_GZIP,
            };
            kind.clone_into(&mut layer.blob.media_type);
        }
        self.enter(layer.blob.clone(), layer.diff_id.clone(), history)?;
        self.layers.push(layer);
        Ok(())
    }

    /// Puts another source's layer on top; its media type should be of the draft's kind.
    pub fn push_from(
        &mut self,
        source: &'a dyn Source,
        blob: &Descriptor,
        diff_id: &DiffId,
        history: Option<History>,
    ) -> Result<()> {
        let same = |s: &&dyn Source| std::ptr::addr_eq(&raw const **s, &raw const *source);
        let at = self.sources.iter().position(same).unwrap_or_else(|| {
            // The first is the base, even if there is none.
            self.sources.push(source);
            self.sources.len() - 1
        });
        let known = self.manifest.layers.iter().any(|l| l.digest == blob.digest);
        if !known {
            self.elsewhere.push((blob.digest.clone(), at));
        }
        self.enter(blob.clone(), diff_id.clone(), history)
    }

    fn enter(&mut self, blob: Descriptor, diff_id: DiffId, history: Option<History>) -> Result<()> {
        if self.manifest.layers.len() >= MAX_LAYERS {
            return Err(Error::invalid("image", format!("it has {MAX_LAYERS} layers already")));
        }
        self.manifest.layers.push(blob);
        self.config.rootfs.diff_ids.push(diff_id);
        self.config.history.extend(history);
        Ok(())
    }

    /// Drops all layers but the lowest `count`. The history is the caller's.
    pub fn keep_layers(&mut self, count: usize) {
        self.manifest.layers.truncate(count);
        self.config.rootfs.diff_ids.truncate(count);
        let left = &self.manifest.layers;
        self.layers.retain(|l| left.iter().any(|d| d.digest == l.blob.digest));
    }

    /// Gives manifest and layers OCI's types: docker's manifests have no annotations.
    pub fn into_oci(&mut self) -> Result<()> {
        if self.at.media_type == OCI_MANIFEST && self.manifest.media_type == OCI_MANIFEST {
            return Ok(());
        }
        for layer in &mut self.manifest.layers {
            layer.media_type = recode::as_oci(&layer.media_type)?;
        }
        OCI_MANIFEST.clone_into(&mut self.manifest.media_type);
        OCI_MANIFEST.clone_into(&mut self.at.media_type);
        OCI_CONFIG.clone_into(&mut self.manifest.config.media_type);
        Ok(())
    }

    /// The changed image. One that hasn't changed is the same, byte for byte.
    pub fn finish(mut self) -> Result<Derived<'a>> {
        let bytes = self.config.bytes()?;
        let kind = match (self.manifest.config.media_type.as_str(), self.at.media_type.as_str()) {
            (OCI_CONFIG | DOCKER_CONFIG, _) => self.manifest.config.media_type.clone(),
            (_, DOCKER_MANIFEST) => DOCKER_CONFIG.to_owned(),
            _ => OCI_CONFIG.to_owned(),
        };
        let config = Descriptor::of(&kind, &bytes);
        if self.manifest.config.digest != config.digest {
            // What was said of the old bytes may not hold of these.
            self.manifest.config = config.clone();
            if self.manifest.media_type.is_empty() {
                self.manifest.media_type.clone_from(&self.at.media_type);
            }
        }
        let mut documents = vec![document(&self.at.media_type, self.manifest.bytes()?)];
        for (mut list, was, child) in self.lists.into_iter().rev() {
            let old = list.manifests[child].digest.clone();
            let new = &documents[documents.len() - 1].at;
            for entry in list.manifests.iter_mut().filter(|d| d.digest == old) {
                if entry.digest != new.digest {
                    entry.digest.clone_from(&new.digest);
                    entry.size = new.size;
                    entry.media_type.clone_from(&new.media_type);
                    entry.extra.remove("data");
                }
            }
            documents.push(document(&was.at.media_type, list.bytes()?));
        }
        documents.reverse();
        Ok(Derived {
            sources: self.sources,
            elsewhere: self.elsewhere,
            documents,
            config: (config, bytes),
            layers: self.layers,
        })
    }
}

/// The manifest that a source leads to; of several in a list the one for `platform`, or the
/// host's.
pub fn manifest_of(source: &dyn Source, platform: Option<&Platform>) -> Result<Document> {
    leaf(source, platform).map(|(_, document)| document)
}

/// A list on the way to a manifest, and which entry leads there.
type List = (Doc<Index>, Document, usize);

fn leaf(source: &dyn Source, platform: Option<&Platform>) -> Result<(Vec<List>, Document)> {
    let mut lists = Vec::new();
    let mut document = source.root()?;
    loop {
        let title = format!("manifest {}", document.at.digest);
        match manifest::parse(&document.bytes, &document.at.media_type, &title)? {
            Parsed::Index(index) => {
                if lists.len() >= MAX_DEPTH {
                    return Err(Error::invalid(title, "lists within lists"));
                }
                let child = child(&index, platform, &title)?;
                let next = source.document(&index.manifests[child])?;
                lists.push((Doc::parse(&document.bytes, &title)?, document, child));
                document = next;
            }
            Parsed::Manifest(_) => {
                source.permit(&document)?;
                return Ok((lists, document));
            }
        }
    }
}

fn document(media_type: &str, bytes: Vec<u8>) -> Document {
    Document { at: Descriptor::of(media_type, &bytes), bytes }
}

/// Which entry of a list is meant: the only one, or the one for a platform.
fn child(index: &Index, platform: Option<&Platform>, title: &str) -> Result<usize> {
    if platform.is_none() && index.manifests.len() == 1 {
        return Ok(0);
    }
    let host = Platform::host();
    let chosen = manifest::choose(index, platform.unwrap_or(&host), title)?;
    let at = index.manifests.iter().position(|d| std::ptr::eq(d, chosen));
    at.ok_or_else(|| Error::invalid(title, "no entry fits"))
}
