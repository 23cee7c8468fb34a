//! Reading a blob: exactly its size, picked up again where the connection broke.

use std::io::{self, Read};
use std::thread::sleep;
use std::time::Instant;

use ureq::http::{Response, header};
use ureq::{Body, BodyReader};

use super::Client;
use super::patience::{LEAST, Patient};
use super::request::Call;
use crate::error::{Error, Result};
use crate::manifest::Descriptor;

/// A blob's bytes from an offset to its end; never one more than the descriptor says.
pub struct BlobReader<'a> {
    client: &'a Client,
    blob: &'a Descriptor,
    at: u64,
    body: Option<Patient<BodyReader<'static>>>,
    /// So many with next to nothing in between.
    breaks: u32,
    /// So much came since the last.
    since: u64,
}

impl Client {
    /// Opens a blob at an offset, as after an interrupted download.
    pub fn blob<'a>(&'a self, blob: &'a Descriptor, at: u64) -> Result<BlobReader<'a>> {
        let mut reader = BlobReader { client: self, blob, at, body: None, breaks: 0, since: 0 };
        if at < blob.size {
            reader.connect()?;
        }
        Ok(reader)
    }
}

impl BlobReader<'_> {
    fn connect(&mut self) -> Result<()> {
        let client = self.client;
        let mut call = Call::new("GET", client.url(&format!("blobs/{}", self.blob.digest)));
        if self.at > 0 {
            call = call.header("Range", format!("bytes={}-", self.at));
        }
        let answer = match client.send(call, &[200, 206]) {
            Err(e) if e.is_not_found() && !self.blob.urls.is_empty() => self.foreign()?,
            other => other?,
        };
        self.begin(answer)
    }

    /// A foreign layer's own places, asked over https and without any credentials.
    /// CVE: 2020-15157: such a url must never see what we log in with.
    fn foreign(&self) -> Result<Response<Body>> {
        let mut last = None;
        for url in self.blob.urls.iter().filter(|u| u.starts_with("https://")) {
            let mut request = self.client.agent.get(url);
            if self.at > 0 {
                request = request.header("Range", format!("bytes={}-", self.at));
            }
            match request.call() {
                Ok(answer) if matches!(answer.status().as_u16(), 200 | 206) => return Ok(answer),
                Ok(answer) => last = Some(format!("it says {}", answer.status().as_u16())),
                Err(e) => last = Some(e.to_string()),
            }
        }
        let request = format!("foreign layer {}", self.blob.digest);
        let why = last.unwrap_or_else(|| "none of its urls is https".into());
        Err(Error::Network { request, why })
    }

    /// Takes the body of an answer, at the right offset.
    fn begin(&mut self, answer: Response<Body>) -> Result<()> {
        let left = self.blob.size - self.at;
        let partial = answer.status().as_u16() == 206;
        let expected = if partial { left } else { self.blob.size };
        let number = |name: header::HeaderName| answer.headers().get(name)?.to_str().ok();
        if let Some(range) = number(header::CONTENT_RANGE).filter(|_| partial)
            && !range.starts_with(&format!("bytes {}-", self.at))
        {
            return Err(Error::invalid(
                self.title(),
                format!("asked from {}, got {range}", self.at),
            ));
        }
        let length = number(header::CONTENT_LENGTH).and_then(|n| n.parse::<u64>().ok());
        if let Some(got) = length.filter(|n| *n != expected) {
            return Err(Error::Size { what: self.title(), want: expected, got });
        }
        let mut body = Patient::new(answer.into_body().into_reader(), &self.client.settings);
        if !partial && self.at > 0 {
            // The registry doesn't do ranges: what we have is read again and dropped.
            let skipped = io::copy(&mut (&mut body).take(self.at), &mut io::sink());
            skipped.map_err(|e| Error::from_io("read", self.title(), e))?;
        }
        self.body = Some(body);
        Ok(())
    }

    fn title(&self) -> String {
        format!("blob {}", self.blob.digest)
    }

    /// One read; a broken body is dropped so that the next one connects again.
    fn step(&mut self, buf: &mut [u8]) -> Result<usize> {
        if self.body.is_none() {
            self.connect()?;
        }
        let request = format!("GET {} at byte {}", self.blob.digest, self.at);
        let cut = |why: String| Error::Network { request, why };
        let Some(body) = self.body.as_mut() else { return Ok(0) };
        match body.read(buf) {
            Ok(0) => Err(cut("the connection was closed early".into())),
            Ok(n) => Ok(n),
            Err(e) => Err(cut(e.to_string())),
        }
    }
}

impl Read for BlobReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.blob.size - self.at).unwrap_or(usize::MAX);
        let max = left.min(buf.len());
        if max == 0 {
            return Ok(0);
        }
        loop {
            let began = Instant::now();
            match self.step(&mut buf[..max]) {
                Ok(n) => {
                    self.at += n as u64;
                    self.since += n as u64;
                    if self.since >= LEAST {
                        self.breaks = 0;
                    }
                    return Ok(n);
                }
                // A registry that has just been speaking to us may be starting again.
                Err(e) if e.is_transient() || matches!(e, Error::Unreachable { .. }) => {
                    self.body = None;
                    self.since = 0;
                    // Whoever lets us wait until the end of our patience gets fewer chances.
                    self.breaks += 1 + u32::from(began.elapsed() >= self.client.settings.idle());
                    match self.client.settings.pause(self.breaks) {
                        Some(pause) => sleep(pause),
                        None => return Err(e.into_io()),
                    }
                }
                Err(e) => return Err(e.into_io()),
            }
        }
    }
}
