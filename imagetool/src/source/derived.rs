//! An image made of another one: what is new lies here, the rest comes from where it was.

use std::io::Read;
use std::path::PathBuf;

use super::{Document, Source};
use crate::digest::{Digest, Verified};
use crate::edit::NewLayer;
use crate::error::{Error, Result};
use crate::manifest::{Descriptor, MAX_MANIFEST};
use crate::sink::{Part, Sink};

/// A changed image, made by [`Draft::finish`](crate::edit::Draft::finish).
pub struct Derived<'a> {
    /// What its blobs may come from, the base first.
    pub(crate) sources: Vec<&'a dyn Source>,
    /// Which blobs are of another source than the base.
    pub(crate) elsewhere: Vec<(Digest, usize)>,
    /// The lists that lead to the manifest, outermost first, and the manifest.
    pub(crate) documents: Vec<Document>,
    /// The image config.
    pub(crate) config: (Descriptor, Vec<u8>),
    /// The layers that no source has.
    pub(crate) layers: Vec<NewLayer>,
}

impl Derived<'_> {
    /// What it leads to: its manifest, or the list that its base was in.
    pub fn top(&self) -> &Document {
        &self.documents[0]
    }

    /// Its own manifest.
    pub fn manifest(&self) -> &Document {
        &self.documents[self.documents.len() - 1]
    }

    /// The digest of its config: docker's IMAGE ID.
    pub fn config_digest(&self) -> &Digest {
        &self.config.0.digest
    }

    /// Without the lists that its base was in.
    #[must_use]
    pub fn alone(mut self) -> Self {
        self.documents.drain(..self.documents.len() - 1);
        self
    }

    /// Puts what is new into a sink that has the base already.
    pub fn put_new(&self, sink: &dyn Sink) -> Result<Descriptor> {
        for layer in &self.layers {
            let open = || -> Result<Box<dyn Read + Send + '_>> { self.blob(&layer.blob) };
            let spooled = Some(layer.path());
            sink.put(Part { blob: &layer.blob, open: &open, spooled, layer: None })?;
        }
        let (blob, bytes) = &self.config;
        let open = || -> Result<Box<dyn Read + Send + '_>> { Ok(Box::new(bytes.as_slice())) };
        sink.put(Part { blob, open: &open, spooled: None, layer: None })?;
        for (depth, document) in self.documents.iter().enumerate().rev() {
            sink.document(document, depth == 0)?;
        }
        Ok(self.top().at.clone())
    }

    fn source(&self, blob: &Digest) -> Result<&dyn Source> {
        let at = self.elsewhere.iter().find(|(d, _)| d == blob).map_or(0, |(_, at)| *at);
        self.sources.get(at).copied().ok_or_else(|| Error::NotFound {
            what: "blob",
            name: blob.to_string(),
            hint: String::new(),
        })
    }
}

impl Source for Derived<'_> {
    fn root(&self) -> Result<Document> {
        Ok(self.top().clone())
    }

    fn document(&self, at: &Descriptor) -> Result<Document> {
        if let Some(own) = self.documents.iter().find(|d| d.at.digest == at.digest) {
            return Ok(own.clone());
        }
        if at.size > MAX_MANIFEST {
            let why = format!("it is over {MAX_MANIFEST} bytes");
            return Err(Error::invalid(format!("manifest {}", at.digest), why));
        }
        self.source(&at.digest)?.document(at)
    }

    fn blob<'a>(&'a self, blob: &'a Descriptor) -> Result<Box<dyn Read + Send + 'a>> {
        if self.config.0.digest == blob.digest {
            return Ok(Box::new(self.config.1.as_slice()));
        }
        if let Some(layer) = self.layers.iter().find(|l| l.blob.digest == blob.digest) {
            let what = format!("layer {}", blob.digest);
            return Ok(Box::new(Verified::new(layer.open()?, &blob.digest, blob.size, what)));
        }
        self.source(&blob.digest)?.blob(blob)
    }

    fn spooled(&self, blob: &Digest) -> Option<PathBuf> {
        match self.layers.iter().find(|l| l.blob.digest == *blob) {
            Some(layer) => Some(layer.path()),
            None => self.source(blob).ok().and_then(|s| s.spooled(blob)),
        }
    }
}
