//! Into a registry.

use super::{Part, Signatures, Sink};
use crate::error::{Error, Result};
use crate::reference::Reference;
use crate::registry::{Access, Client, Pushed, Settings};
use crate::source::Document;
use crate::trust::{Signature, Trust, stores};

/// Pushes to one reference.
pub struct Push {
    client: Client,
    reference: Reference,
    from: Option<String>,
    chunk: Option<u64>,
    trust: Trust,
}

impl Push {
    /// Nothing is sent yet. `from` is a repository of the same registry that may have the
    /// blobs; `chunk` asks for uploads in chunks of that many bytes.
    pub fn new(
        settings: &Settings,
        reference: &Reference,
        from: Option<String>,
        chunk: Option<u64>,
    ) -> Result<Self> {
        let client = Client::new(settings, reference, Access::Push)?;
        let (reference, trust) = (reference.clone().tagged(), settings.trust.clone());
        Ok(Self { client, reference, from, chunk, trust })
    }
}

impl Sink for Push {
    fn name(&self) -> Option<Reference> {
        Some(self.reference.clone())
    }

    fn signatures(&self) -> Signatures {
        Signatures::Kept
    }

    fn put(&self, part: Part<'_>) -> Result<&'static str> {
        let pushed =
            self.client.push_blob(part.blob, self.from.as_deref(), self.chunk, part.open)?;
        Ok(match pushed {
            Pushed::Existed => "already there",
            Pushed::Mounted => "mounted",
            Pushed::Sent => "pushed",
        })
    }

    fn put_signatures(&self, of: &Document, _top: bool, signatures: &[Signature]) -> Result<()> {
        stores::store(&self.client, &self.trust, &self.reference, &of.at.digest, signatures)
    }

    fn document(&self, document: &Document, top: bool) -> Result<()> {
        let digest = document.at.digest.to_string();
        if let Some(wanted) = self.reference.digest().filter(|d| top && **d != document.at.digest) {
            let what = format!("manifest for {}", self.reference);
            let (want, got) = (wanted.clone(), document.at.digest.clone());
            return Err(Error::Digest { what, want, got });
        }
        let name = self.reference.tag().filter(|_| top).unwrap_or(&digest);
        self.client.put_manifest(name, &document.bytes, &document.at.media_type)
    }
}
