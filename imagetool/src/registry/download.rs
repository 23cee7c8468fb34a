//! A file from the web, for `import`: by nobody's credentials.

use std::io::Read;

use ureq::http::header;

use super::patience::Patient;
use super::{Settings, request, url};
use crate::error::{Error, Result};

const REDIRECTS: usize = 5;

/// The bytes at a URL. A redirect may leave the host, but not https.
pub fn download(settings: &Settings, from: &str) -> Result<Box<dyn Read + Send>> {
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
            200 => return Ok(Box::new(Patient::new(answer.into_body().into_reader(), settings))),
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
