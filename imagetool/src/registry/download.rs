//! A file from the web, for `import` and builds: by nobody's credentials.

use std::io::{self, Read};

use jiff::Timestamp;
use ureq::http::header;

use super::patience::Patient;
use super::{Settings, request, url};
use crate::error::{Error, Result};

const REDIRECTS: usize = 5;

/// A file on its way.
pub struct Download {
    /// Its bytes.
    pub body: Box<dyn Read + Send>,
    /// When it was changed last, if its server says so.
    pub modified: Option<Timestamp>,
}

/// The bytes at a URL. A redirect may leave the host, but not https.
pub fn download(settings: &Settings, from: &str) -> Result<Box<dyn Read + Send>> {
    download_with_time(settings, from).map(|download| download.body)
}

/// The same, with what the server says of its age.
pub fn download_with_time(settings: &Settings, from: &str) -> Result<Download> {
    let mut at = url::join(from, from)?;
    for _ in 0..=REDIRECTS {
        let host = url::origin(&at);
        let host = host.split("://").last().unwrap_or_default();
        let title = format!("GET {}", url::shown(&at));
        let mut answer = super::agent(settings, host, !at.starts_with("http://"))?
            .get(&at)
            .call()
            .map_err(|e| request::network(&title, &e))?;
        match answer.status().as_u16() {
            200 => {
                let modified = answer.headers().get(header::LAST_MODIFIED);
                let modified = modified.and_then(|v| v.to_str().ok()).and_then(date);
                let body = Patient::new(answer.into_body().into_reader(), settings);
                return Ok(Download { body: Box::new(Named { body, title }), modified });
            }
            301 | 302 | 303 | 307 | 308 => {
                let to = answer.headers().get(header::LOCATION).and_then(|v| v.to_str().ok());
                let to = url::join(&at, to.unwrap_or_default())?;
                if to.starts_with("http://") && !at.starts_with("http://") {
                    let why = format!("it redirects to {}, which is not https", url::shown(&to));
                    return Err(Error::Network { request: title, why });
                }
                at = to;
            }
            status => {
                let message = request::message(&mut answer, settings);
                return Err(Error::Registry { request: title, status, message });
            }
        }
    }
    let request = format!("GET {}", url::shown(from));
    Err(Error::Network { request, why: "too many redirects".into() })
}

/// A body whose faults say what it is of: whoever reads it may be far away, and writing something.
struct Named<R> {
    body: R,
    title: String,
}

impl<R: Read> Read for Named<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.body.read(buf).map_err(|e| match e.kind() {
            io::ErrorKind::Interrupted => e,
            _ => Error::Network { request: self.title.clone(), why: e.to_string() }.into_io(),
        })
    }
}

/// SPEC: RFC 9110 §5.6.7.
fn date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text.trim()).ok().map(|time| time.timestamp())
}
