//! A source behind a policy.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Mutex;

use super::{Document, Source};
use crate::digest::Digest;
use crate::error::Result;
use crate::manifest::Descriptor;
use crate::reference::Reference;
use crate::trust::{Origin, Signature, Trust};

/// A source whose images are let in by a policy only.
pub struct Guarded<'a> {
    inner: &'a dyn Source,
    trust: &'a Trust,
    origin: Origin,
    /// What was judged is what is copied, and is fetched once.
    seen: Mutex<Option<(Digest, Vec<Signature>)>>,
}

impl<'a> Guarded<'a> {
    /// Puts a source behind a policy.
    pub fn new(inner: &'a dyn Source, trust: &'a Trust, origin: Origin) -> Self {
        Self { inner, trust, origin, seen: Mutex::default() }
    }
}

impl Source for Guarded<'_> {
    fn root(&self) -> Result<Document> {
        self.inner.root()
    }

    fn recorded(&self) -> Result<Document> {
        self.inner.recorded()
    }

    fn document(&self, at: &Descriptor) -> Result<Document> {
        self.inner.document(at)
    }

    fn blob<'b>(&'b self, blob: &'b Descriptor) -> Result<Box<dyn Read + Send + 'b>> {
        self.inner.blob(blob)
    }

    fn spooled(&self, blob: &Digest) -> Option<PathBuf> {
        self.inner.spooled(blob)
    }

    fn size(&self, blob: &Digest) -> Result<u64> {
        self.inner.size(blob)
    }

    fn permit(&self, document: &Document) -> Result<()> {
        self.inner.permit(document)?;
        let signatures = || self.signatures(&document.at.digest);
        self.trust.permit(&self.origin, document, &signatures)
    }

    fn signatures(&self, of: &Digest) -> Result<Vec<Signature>> {
        let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((digest, signatures)) = &*seen
            && digest == of
        {
            return Ok(signatures.clone());
        }
        let signatures = self.inner.signatures(of)?;
        *seen = Some((of.clone(), signatures.clone()));
        Ok(signatures)
    }

    fn names(&self) -> Vec<Reference> {
        self.inner.names()
    }
}
