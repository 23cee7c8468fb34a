//! Pushing blobs: asked for first, mounted from a neighbour if possible, else uploaded
//! in one piece, or in chunks where the registry wants them.
//!
//! SPEC: distribution-spec §push.

use std::io::{self, Read};
use std::thread::sleep;
use std::time::Instant;

use ureq::Body;
use ureq::http::{Response, header};

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
        let mut upload = None;
        loop {
            let began = Instant::now();
            let error = match self.send_rest(blob, chunk, open, &mut upload) {
                Ok(()) => return Ok(Pushed::Sent),
                Err(e) => e,
            };
            failures += 1 + u32::from(began.elapsed() >= self.settings.idle() * 2);
            match &error {
                Error::Registry { status: 404 | 405 | 411 | 413 | 415 | 501, .. }
                    if chunk.is_none() =>
                {
                    chunk = Some(CHUNK);
                    upload = None;
                    continue;
                }
                // A token that ran out while the bytes were on their way, or a chunk that was too
                // early.
                Error::Registry { status: 401 | 416, .. } if failures < TRIES => {}
                e if e.is_transient() => match self.settings.pause(failures) {
                    Some(pause) => sleep(pause),
                    None => return Err(error),
                },
                _ => return Err(error),
            }
            upload = upload.and_then(|begun| self.resumed(blob, begun));
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
            return Err(Error::invalid(format!("answer to POST {}", url::shown(at)), why));
        }
        Ok(to)
    }

    /// Sends what lacks of a blob; begins an upload if there is none.
    fn send_rest(
        &self,
        blob: &Descriptor,
        chunk: Option<u64>,
        open: &Open<'_>,
        upload: &mut Option<Upload>,
    ) -> Result<()> {
        if upload.is_none() {
            let (at, least) = self.begin()?;
            *upload = Some(Upload { at, least, done: 0 });
        }
        let Some(begun) = upload else { return Ok(()) };
        let mut bytes = open()?;
        let digest = blob.digest.to_string();
        if begun.done == 0 && chunk.is_none() {
            let call = Call::new("PUT", url::with_query(&begun.at, "digest", &digest))
                .header("Content-Type", "application/octet-stream")
                .with(Payload::Stream(&mut bytes, blob.size));
            return self.send(call, &[201, 204]).map(drop);
        }
        let skipped = io::copy(&mut (&mut bytes).take(begun.done), &mut io::sink());
        skipped.map_err(|e| Error::from_io("read", format!("blob {digest}"), e))?;
        let size = chunk.unwrap_or(blob.size).max(1 << 16).max(begun.least);
        while begun.done < blob.size {
            let length = size.min(blob.size - begun.done);
            let mut piece = (&mut bytes).take(length);
            let call = Call::new("PATCH", begun.at.clone())
                .header("Content-Type", "application/octet-stream")
                .header("Content-Range", format!("{}-{}", begun.done, begun.done + length - 1))
                .with(Payload::Stream(&mut piece, length));
            let answer = self.send(call, &[202, 204])?;
            begun.at = self.next(&begun.at, &answer)?;
            begun.done += length;
        }
        let at = url::with_query(&begun.at, "digest", &digest);
        self.send(Call::new("PUT", at).with(Payload::Bytes(&[])), &[201, 204]).map(drop)
    }

    /// How far an upload got that broke off, if the registry still knows it.
    /// SPEC: distribution-spec §pushing a blob in chunks, the GET of the upload's location.
    fn resumed(&self, blob: &Descriptor, begun: Upload) -> Option<Upload> {
        let answer = self.send(Call::new("GET", begun.at.clone()), &[200, 202, 204]).ok()?;
        let range = answer.headers().get(header::RANGE)?.to_str().ok()?;
        let done = received(range).filter(|n| *n <= blob.size)?;
        let at = self.next(&begun.at, &answer).unwrap_or(begun.at);
        Some(Upload { at, done, least: begun.least })
    }
}

/// An upload that was begun.
struct Upload {
    /// Where it goes on.
    at: String,
    /// The least chunk the registry wants.
    least: u64,
    /// So many bytes are there.
    done: u64,
}

/// How many bytes a `Range: 0-LAST` says are there. `0-0` is what registries say of nothing, too.
fn received(range: &str) -> Option<u64> {
    let range = range.trim();
    let (first, last) = range.strip_prefix("bytes=").unwrap_or(range).split_once('-')?;
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if !digits(first) || !digits(last) || first.parse::<u64>() != Ok(0) {
        return None;
    }
    match last.parse::<u64>().ok()? {
        0 => Some(0),
        last => last.checked_add(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_there_is_read_off_the_range() {
        for (range, want) in [
            ("0-9", Some(10)),
            ("bytes=0-9", Some(10)),
            ("0-0", Some(0)),
            ("1-9", None),
            ("0-", None),
            ("-9", None),
            ("0-+9", None),
            ("0-18446744073709551615", None),
            ("", None),
        ] {
            assert_eq!(received(range), want, "{range}");
        }
    }

    proptest! {
        #[test]
        fn ranges_never_panic(s in "(bytes=)?\\PC{0,20}", a in any::<u64>(), b in any::<u64>()) {
            let _ = (received(&s), received(&format!("{a}-{b}")));
        }
    }
}
