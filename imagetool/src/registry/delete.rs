//! Deleting a manifest: by its digest, so that every tag of it goes, too.
//!
//! SPEC: distribution-spec §content management.

use super::Client;
use super::request::Call;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::reference::Reference;

impl Client {
    /// Deletes what a reference leads to; its digest.
    pub fn delete(&self, reference: &Reference) -> Result<Digest> {
        let (bytes, at) = self.manifest(reference)?;
        let call = Call::new("DELETE", self.url(&format!("manifests/{}", at.digest)));
        self.send(call, &[200, 202, 204]).map_err(|e| match e {
            Error::Registry { status: 404, message, .. } => Error::NotFound {
                what: "image",
                name: reference.familiar(),
                hint: format!("{} says: {message}", self.domain),
            },
            Error::Registry { request, status: 405 | 400, message } => {
                Error::unsupported(format!("deleting by {request}"), message)
                    .noting("the registry doesn't let images be deleted; its owner may allow it")
            }
            other => other,
        })?;
        self.forget_referrer(&bytes, &at)?;
        Ok(at.digest)
    }
}
