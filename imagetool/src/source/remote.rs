//! An image in a registry.

use std::io::Read;

use super::{Document, Source};
use crate::digest::Verified;
use crate::error::{Error, Result};
use crate::manifest::Descriptor;
use crate::reference::Reference;
use crate::registry::{Access, Client, Settings};

/// One image of a registry.
pub struct Remote {
    client: Client,
    reference: Reference,
}

impl Remote {
    /// Nothing is sent yet.
    pub fn new(settings: &Settings, reference: &Reference) -> Result<Self> {
        let client = Client::new(settings, reference, Access::Pull)?;
        Ok(Self { client, reference: reference.clone().tagged() })
    }
}

impl Source for Remote {
    fn root(&self) -> Result<Document> {
        let (bytes, at) = self.client.manifest(&self.reference)?;
        Ok(Document { bytes, at })
    }

    fn document(&self, at: &Descriptor) -> Result<Document> {
        let (bytes, got) = self.client.manifest(&self.reference.with_digest(&at.digest))?;
        if got.size != at.size {
            let what = format!("manifest {}", at.digest);
            return Err(Error::Size { what, want: at.size, got: got.size });
        }
        let at = Descriptor::new(&at.media_type, got.digest, got.size);
        Ok(Document { bytes, at })
    }

    fn blob<'a>(&'a self, blob: &'a Descriptor) -> Result<Box<dyn Read + Send + 'a>> {
        let reader = self.client.blob(blob, 0)?;
        let what = format!("blob {}", blob.digest);
        Ok(Box::new(Verified::new(reader, &blob.digest, blob.size, what)))
    }

    fn names(&self) -> Vec<Reference> {
        self.reference.tag().map(|_| self.reference.clone()).into_iter().collect()
    }
}
