//! Pushing blobs: asked for first, mounted from a neighbour if possible, else uploaded
//! in one piece, or in chunks where the registry wants them.
//!
//! SPEC: distribution-spec §push.

use std::io::Read;
use std::thread::sleep;

use ureq::Body;
use ureq::http::Response;

use super::request::{Call, Payload, location};
use super::{Client, url};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::manifest::Descriptor;

/// A token is renewed so often for one blob.
const TRIES: u32 = 3;
/// The chunk size when a registry refuses one piece.
const CHUNK: u64 = 16 << 20;

/// What became of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It was there.
    Existed,
    /// It was mounted from another repository.
    Mounted,
    /// It was sent.
    Sent,
}

/// Opens a blob's bytes anew for every try.
pub type Open<'a> = dyn Fn() -> Result<Box<dyn Read + Send + 'a>> + Sync + 'a;

impl Client {
    /// Whether the repository has the blob.
    pub fn has_blob(&self, digest: &Digest) -> Result<bool> {
        let call = Call::new("HEAD", self.url(&format!("blobs/{digest}")));
        Ok(self.send(call, &[200, 404])?.status().as_u16() == 200)
    }

    /// Brings a blob into the repository. `from` is a repository of the same registry that
    /// may have it; `chunk` asks for chunks of that size.
    pub fn push_blob(
        &self,
        blob: &Descriptor,
        from: Option<&str>,
        chunk: Option<u64>,
        open: &Open<'_>,
    ) -> Result<Pushed> {
        if self.has_blob(&blob.digest)? {
            return Ok(Pushed::Existed);
        }
        if let Some(from) = from
            && self.mount(blob, from)?
        {
            return Ok(Pushed::Mounted);
        }
        let mut chunk = chunk;
        let mut failures = 0;
        loop {
            let sent = match chunk {
                None => self.in_one_piece(blob, open),
                Some(size) => self.in_chunks(blob, size.max(1 << 16), open),
            };
            let error = match sent {
                Ok(()) => return Ok(Pushed::Sent),
                Err(e) => e,
            };
            failures += 1;
            match &error {
                Error::Registry { status: 404 | 405 | 411 | 413 | 415 | 501, .. }
                    if chunk.is_none() =>
                {
                    chunk = Some(CHUNK);
                }
                // A token that ran out while the bytes were on their way.
                Error::Registry { status: 401 | 416, .. } if failures < TRIES => {}
                e if e.is_transient() => match self.settings.pause(failures) {
                    Some(pause) => sleep(pause),
                    None => return Err(error),
                },
                _ => return Err(error),
            }
        }
    }

    fn mount(&self, blob: &Descriptor, from: &str) -> Result<bool> {
        self.add_scope(format!("repository:{from}:pull"));
        let at = url::with_query(&self.url("blobs/uploads/"), "mount", &blob.digest.to_string());
        let at = url::with_query(&at, "from", from);
        let call = Call::new("POST", at).with(Payload::Bytes(&[]));
        // 202 begins an upload we don't want: it expires by itself.
        match self.send(call, &[201, 202]) {
            Ok(answer) => Ok(answer.status().as_u16() == 201),
            Err(Error::Registry { .. }) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Where to send a new upload, and the least chunk it wants.
    fn begin(&self) -> Result<(String, u64)> {
        let at = self.url("blobs/uploads/");
        let call = Call::new("POST", at.clone()).with(Payload::Bytes(&[]));
        let answer = self.send(call, &[202])?;
        let least = answer.headers().get("oci-chunk-min-length").and_then(|v| v.to_str().ok());
        let least = least.and_then(|v| v.parse().ok()).unwrap_or(0);
        Ok((self.next(&at, &answer)?, least))
    }

    /// The location an answer gives for the next step. It may lie elsewhere; then the
    /// request goes there without our credentials (see `follow`).
    fn next(&self, at: &str, answer: &Response<Body>) -> Result<String> {
        let to = url::join(at, &location(&Call::new("POST", at.to_owned()), answer)?)?;
        if to.starts_with("http://") && !self.base().starts_with("http://") {
            let why = format!("the upload should go to {}, which is not https", url::shown(&to));
            return Err(Error::Network { request: format!("POST {}", url::shown(at)), why });
        }
        Ok(to)
    }

    fn in_one_piece(&self, blob: &Descriptor, open: &Open<'_>) -> Result<()> {
        let (at, _) = self.begin()?;
        let mut bytes = open()?;
        let at = url::with_query(&at, "digest", &blob.digest.to_string());
        let call = Call::new("PUT", at)
            .header("Content-Type", "application/octet-stream")
            .with(Payload::Stream(&mut bytes, blob.size));
        self.send(call, &[201, 204]).map(drop)
    }

    fn in_chunks(&self, blob: &Descriptor, size: u64, open: &Open<'_>) -> Result<()> {
        let (mut at, least) = self.begin()?;
        let size = size.max(least);
        let mut bytes = open()?;
        let mut start = 0;
        while start < blob.size {
            let length = size.min(blob.size - start);
            let mut piece = (&mut bytes).take(length);
            let call = Call::new("PATCH", at.clone())
                .header("Content-Type", "application/octet-stream")
                .header("Content-Range", format!("{start}-{}", start + length - 1))
                .with(Payload::Stream(&mut piece, length));
            let answer = self.send(call, &[202, 204])?;
            at = self.next(&at, &answer)?;
            start += length;
        }
        let at = url::with_query(&at, "digest", &blob.digest.to_string());
        self.send(Call::new("PUT", at).with(Payload::Bytes(&[])), &[201, 204]).map(drop)
    }
}
