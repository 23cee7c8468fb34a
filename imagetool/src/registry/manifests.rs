//! Manifests: got with their digest checked, and put.

use ureq::Body;
use ureq::http::{Response, header};

use super::Client;
use super::request::{Call, Payload};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::manifest::{
    DOCKER_LIST, DOCKER_MANIFEST, Descriptor, MAX_MANIFEST, OCI_INDEX, OCI_MANIFEST,
};
use crate::reference::Reference;
use crate::source::schema1;

impl Client {
    /// The manifest or index a reference leads to, byte for byte, and its descriptor.
    /// By digest, the bytes are checked against it.
    pub fn manifest(&self, reference: &Reference) -> Result<(Vec<u8>, Descriptor)> {
        let wanted = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.unwrap_or("latest").to_owned(),
        };
        let what = format!("manifest {reference}");
        let accept = [
            OCI_INDEX,
            OCI_MANIFEST,
            DOCKER_LIST,
            DOCKER_MANIFEST,
            "application/vnd.docker.distribution.manifest.v1+prettyjws",
            "application/vnd.docker.distribution.manifest.v1+json",
        ];
        let accept = accept.join(", ");
        let call =
            Call::new("GET", self.url(&format!("manifests/{wanted}"))).header("Accept", accept);
        let title = call.title();
        let mut answer = self.send(call, &[200]).map_err(|e| self.explain(e, reference))?;
        let media_type = content_type(&answer);
        let said = header_text(&answer, "docker-content-digest");
        let mut bytes = self.body(&mut answer, MAX_MANIFEST, &title)?;
        let want = match (reference.digest(), said) {
            (Some(digest), _) => Some(digest.clone()),
            (None, said) => said.and_then(|s| s.parse().ok()),
        };
        let mut digest = Digest::of(&bytes);
        if let Some(want) = want {
            digest = Digest::by(want.algorithm(), &bytes);
            // One of schema 1 is named by what it signs; nothing else of it is believed then.
            if digest != want
                && let Some(signed) = schema1::payload(&bytes)
            {
                (digest, bytes) = (Digest::by(want.algorithm(), &signed), signed);
            }
            if digest != want {
                return Err(Error::Digest { what, want, got: digest });
            }
        }
        Ok((bytes.clone(), Descriptor::new(&media_type, digest, bytes.len() as u64)))
    }

    /// A 404 for a manifest is a name that isn't there.
    fn explain(&self, e: Error, reference: &Reference) -> Error {
        match e {
            Error::Registry { status: 404, message, .. } => Error::NotFound {
                what: "image",
                name: reference.familiar(),
                hint: if message.is_empty() {
                    format!("{} doesn't have it", self.domain)
                } else {
                    format!("{} says: {message}", self.domain)
                },
            },
            other => other,
        }
    }

    /// How long a blob is, by its digest alone.
    pub fn blob_size(&self, digest: &Digest) -> Result<u64> {
        let call = Call::new("HEAD", self.url(&format!("blobs/{digest}")));
        let title = call.title();
        let answer = self.send(call, &[200])?;
        let length = header_text(&answer, "content-length").and_then(|n| n.parse().ok());
        length.ok_or_else(|| Error::invalid(format!("answer to {title}"), "it tells no length"))
    }

    /// Puts a manifest under a tag or its digest.
    pub fn put_manifest(&self, name: &str, bytes: &[u8], media_type: &str) -> Result<()> {
        let call = Call::new("PUT", self.url(&format!("manifests/{name}")))
            .header("Content-Type", media_type)
            .with(Payload::Bytes(bytes));
        let answer = self.send(call, &[200, 201, 202])?;
        let digest = name.parse().unwrap_or_else(|_| Digest::of(bytes));
        let at = Descriptor::new(media_type, digest, bytes.len() as u64);
        self.note_referrer(bytes, &at, &answer)
    }

    /// Whether a manifest of this digest is there.
    pub fn has_manifest(&self, digest: &Digest) -> Result<bool> {
        let accept = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST].join(", ");
        let call =
            Call::new("HEAD", self.url(&format!("manifests/{digest}"))).header("Accept", accept);
        Ok(self.send(call, &[200, 404])?.status().as_u16() == 200)
    }
}

fn content_type(answer: &Response<Body>) -> String {
    let whole = header_text(answer, header::CONTENT_TYPE.as_str()).unwrap_or_default();
    whole.split(';').next().unwrap_or_default().trim().to_owned()
}

fn header_text(answer: &Response<Body>, name: &str) -> Option<String> {
    Some(answer.headers().get(name)?.to_str().ok()?.to_owned())
}
