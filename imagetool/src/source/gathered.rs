//! A list made of images that lie in several places.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Document, Source};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::manifest::{self, Descriptor, Parsed};

/// A list with its images' sources.
pub struct Gathered<'a> {
    top: Document,
    sources: Vec<&'a dyn Source>,
    /// Manifests that were read already; not every place gives them by digest.
    read: Vec<Document>,
    /// Where manifests and their blobs are; more is learned with each manifest that is read.
    known: Mutex<HashMap<Digest, usize>>,
}

impl<'a> Gathered<'a> {
    /// A list and its images: what is known of each, and where it comes from.
    pub fn new(top: Document, images: Vec<(Digest, Option<Document>, &'a dyn Source)>) -> Self {
        let mut new = Self { top, sources: Vec::new(), read: Vec::new(), known: Mutex::default() };
        for (at, (digest, document, source)) in images.into_iter().enumerate() {
            new.sources.push(source);
            new.read.extend(document);
            new.known().entry(digest).or_insert(at);
        }
        new
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Digest, usize>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn source(&self, digest: &Digest) -> Result<(usize, &'a dyn Source)> {
        let at = self.known().get(digest).copied();
        at.and_then(|at| Some((at, *self.sources.get(at)?))).ok_or_else(|| Error::NotFound {
            what: "blob",
            name: digest.to_string(),
            hint: String::new(),
        })
    }
}

impl Source for Gathered<'_> {
    fn root(&self) -> Result<Document> {
        Ok(self.top.clone())
    }

    fn document(&self, at: &Descriptor) -> Result<Document> {
        let (from, source) = self.source(&at.digest)?;
        let document = match self.read.iter().find(|d| d.at.digest == at.digest) {
            Some(read) => read.clone(),
            None => source.document(at)?,
        };
        let what = format!("manifest {}", at.digest);
        let names: Vec<Digest> = match manifest::parse(&document.bytes, &at.media_type, &what)? {
            Parsed::Index(index) => index.manifests.into_iter().map(|d| d.digest).collect(),
            Parsed::Manifest(m) => {
                m.layers.into_iter().chain([m.config]).map(|d| d.digest).collect()
            }
        };
        let mut known = self.known();
        for name in names {
            known.entry(name).or_insert(from);
        }
        Ok(document)
    }

    fn blob<'a>(&'a self, blob: &'a Descriptor) -> Result<Box<dyn Read + Send + 'a>> {
        self.source(&blob.digest)?.1.blob(blob)
    }

    fn spooled(&self, blob: &Digest) -> Option<std::path::PathBuf> {
        self.source(blob).ok()?.1.spooled(blob)
    }

    fn permit(&self, document: &Document) -> Result<()> {
        // The list is of our own making.
        match self.source(&document.at.digest) {
            Ok((_, source)) => source.permit(document),
            Err(_) => Ok(()),
        }
    }
}
