//! One request: authorization for our own host only, a login when it is asked for,
//! redirects by hand, and another try when that may help.

use std::io::{self, Read};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ureq::http::{Request, Response, header};
use ureq::{Body, SendBody};

use super::patience::Patient;
use super::resolve::NoAddress;
use super::{Client, Settings, url};
use crate::error::{Error, Result};

const REDIRECTS: usize = 5;
const MAX_MESSAGE: u64 = 16 << 10;
/// Who asks for more patience is not waited for.
const MAX_WAIT: Duration = Duration::from_mins(2);
/// A shorter wait is not worth a line.
const WORTH_TELLING: Duration = Duration::from_secs(3);
/// A registry may put together what was sent before it answers.
const WRITING: u32 = 5;

/// A request before it is sent.
pub(super) struct Call<'a> {
    pub method: &'static str,
    pub url: String,
    pub headers: Vec<(&'static str, String)>,
    pub payload: Payload<'a>,
}

/// What goes with it. A stream can be sent once, so its sender has to try again itself.
pub(super) enum Payload<'a> {
    None,
    Bytes(&'a [u8]),
    Stream(&'a mut dyn Read, u64),
}

impl Call<'static> {
    pub(super) fn new(method: &'static str, url: String) -> Self {
        Self { method, url, headers: Vec::new(), payload: Payload::None }
    }
}

impl Call<'_> {
    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn with(self, payload: Payload<'_>) -> Call<'_> {
        Call { method: self.method, url: self.url, headers: self.headers, payload }
    }

    pub(super) fn title(&self) -> String {
        format!("{} {}", self.method, url::shown(&self.url))
    }
}

impl Client {
    /// Sends; returns any answer whose status is in `ok`, and an error for the rest.
    pub(super) fn send(&self, mut call: Call<'_>, ok: &[u16]) -> Result<Response<Body>> {
        if let Some(prefix) = &self.blocked {
            return Err(Error::Conflict(format!(
                "registry {prefix} is blocked in registries.conf"
            )));
        }
        let once = matches!(call.payload, Payload::Stream(..));
        let mut failures = 0;
        loop {
            let began = Instant::now();
            let (error, asked) = match self.follow(&mut call) {
                Ok(answer) if ok.contains(&answer.status().as_u16()) => return Ok(answer),
                Ok(mut answer) => {
                    let asked = retry_after(&answer);
                    let status = answer.status().as_u16();
                    let message = message(&mut answer, &self.settings);
                    (Error::Registry { request: call.title(), status, message }, asked)
                }
                Err(e) => (e, None),
            };
            // Whoever lets us wait until the end of our patience gets fewer chances.
            failures += 1 + u32::from(began.elapsed() >= self.settings.idle());
            let Some(pause) = self.settings.pause(failures).filter(|_| error.is_transient()) else {
                return Err(error);
            };
            let wait = asked.unwrap_or_default().max(pause);
            if wait > MAX_WAIT {
                return Err(error.noting(&format!("it asks to come again in {} s", wait.as_secs())));
            }
            if once {
                return Err(error);
            }
            if let Some(tell) =
                self.settings.notice.filter(|_| asked.is_some() && wait >= WORTH_TELLING)
            {
                let seconds = wait.as_secs();
                tell(&format!("{} is busy; trying again in {seconds} s ({error})", self.host));
            }
            sleep(wait);
        }
    }

    /// Sends, logging in and following redirects.
    fn follow(&self, call: &mut Call<'_>) -> Result<Response<Body>> {
        let mut at = call.url.clone();
        let mut logins = 0;
        let mut redirects = 0;
        let own = url::origin(self.base());
        loop {
            let ours = url::origin(&at) == own;
            let authorization = if ours { self.authorization()? } else { None };
            let mut answer = self.once(call, &at, authorization.as_deref())?;
            let status = answer.status().as_u16();
            let replay = !matches!(call.payload, Payload::Stream(..));
            if status == 401 && ours && logins < 2 && replay {
                logins += 1;
                let values = answer.headers().get_all(header::WWW_AUTHENTICATE).iter();
                let challenges: Vec<String> =
                    values.filter_map(|v| v.to_str().ok().map(str::to_owned)).collect();
                spend(&mut answer, &self.settings);
                self.refused(&challenges, authorization.as_deref())?;
                continue;
            }
            let moved = matches!(status, 301 | 302 | 303 | 307 | 308);
            if !moved || !matches!(call.method, "GET" | "HEAD") {
                return Ok(answer);
            }
            redirects += 1;
            if redirects > REDIRECTS {
                return Err(Error::invalid(
                    format!("answer to {}", call.title()),
                    "too many redirects",
                ));
            }
            at = self.redirect(call, &at, &answer)?;
            spend(&mut answer, &self.settings);
        }
    }

    /// Where a redirect leads, if we may go there.
    fn redirect(&self, call: &Call<'_>, from: &str, answer: &Response<Body>) -> Result<String> {
        let to = url::join(from, &location(call, answer)?)?;
        if to.starts_with("http://") && !self.base().starts_with("http://") {
            let why = format!("it redirects to {}, which is not https", url::shown(&to));
            return Err(Error::invalid(format!("answer to {}", call.title()), why));
        }
        Ok(to)
    }

    /// Sends once, to `at`.
    fn once(
        &self,
        call: &mut Call<'_>,
        at: &str,
        authorization: Option<&str>,
    ) -> Result<Response<Body>> {
        let title = format!("{} {}", call.method, url::shown(at));
        let mut request = Request::builder().method(call.method).uri(at);
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        let agent = self.agent(at);
        let run = |request: ureq::http::request::Builder, body: Option<&mut dyn Read>| {
            let slow = self.settings.idle() * WRITING;
            let done = match body {
                None => request.body(()).map(|r| agent.run(r)),
                Some(body) => request.body(SendBody::from_reader(body)).map(|r| {
                    let patient = agent.configure_request(r).timeout_per_read(Some(slow));
                    agent.run(patient.timeout_recv_response(Some(slow)).build())
                }),
            };
            let answer = done.map_err(|e| Error::invalid(&title, e))?;
            answer.map_err(|e| network(&title, &e))
        };
        match &mut call.payload {
            Payload::None => run(request, None),
            Payload::Bytes(bytes) => {
                let mut rest: &[u8] = bytes;
                run(request.header(header::CONTENT_LENGTH, bytes.len()), Some(&mut rest))
            }
            Payload::Stream(reader, size) => {
                run(request.header(header::CONTENT_LENGTH, *size), Some(*reader))
            }
        }
    }
}

/// The `Location` of an answer that must have one.
pub(super) fn location(call: &Call<'_>, answer: &Response<Body>) -> Result<String> {
    let value = answer.headers().get(header::LOCATION).and_then(|v| v.to_str().ok());
    value.map(str::to_owned).ok_or_else(|| Error::Network {
        request: call.title(),
        why: "the answer has no Location".into(),
    })
}

/// Half a second, doubled each time.
pub(super) fn backoff(failures: u32) -> Duration {
    Duration::from_millis(250 << failures.min(6))
}

/// What a registry asks for, in seconds or as a date. SPEC: RFC 9110 §10.2.3.
fn retry_after(answer: &Response<Body>) -> Option<Duration> {
    let value = answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    after(value, jiff::Timestamp::now())
}

fn after(value: &str, now: jiff::Timestamp) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(value.trim()).ok()?.timestamp();
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

/// The registry's own words: bounded, on one line, without control characters.
pub(super) fn message(answer: &mut Response<Body>, settings: &Settings) -> String {
    let mut bytes = Vec::new();
    let body = Patient::new(answer.body_mut().as_reader(), settings);
    // An answer cut short still says something.
    let _ = body.take(MAX_MESSAGE).read_to_end(&mut bytes);
    said(&bytes)
}

/// Reads an answer that nobody wants to its end, so that the connection serves the next request. A long
/// one isn't worth it: then the connection is closed.
pub(super) fn spend(answer: &mut Response<Body>, settings: &Settings) {
    let body = Patient::new(answer.body_mut().as_reader(), settings);
    let _ = io::copy(&mut body.take(MAX_MESSAGE), &mut io::sink());
}

fn said(bytes: &[u8]) -> String {
    let json: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
    let errors = json.get("errors").and_then(|e| e.as_array()).cloned().unwrap_or_default();
    let words: Vec<String> = errors
        .iter()
        .filter_map(|e| {
            let text = |key| e.get(key).and_then(|v| v.as_str()).filter(|s| !s.is_empty());
            text("message").or_else(|| text("code")).map(str::to_owned)
        })
        .collect();
    let detail = json.get("details").or_else(|| json.get("message")).and_then(|v| v.as_str());
    let text = match (words.is_empty(), detail) {
        (false, _) => words.join("; "),
        (true, Some(text)) => text.to_owned(),
        (true, None) if bytes.starts_with(b"<") => String::new(),
        (true, None) => String::from_utf8_lossy(bytes).into_owned(),
    };
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().map(clean).take(300).collect()
}

/// Whether there is nobody to speak to, rather than a connection that broke.
fn refused(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
}

/// What is wrong with a server's certificate: it is no better the next time.
fn certificate_fault(e: &ureq::Error) -> Option<String> {
    let fault = match e {
        ureq::Error::Rustls(fault) => fault,
        ureq::Error::Io(e) => e.get_ref()?.downcast_ref::<rustls::Error>()?,
        _ => return None,
    };
    matches!(fault, rustls::Error::InvalidCertificate(_)).then(|| fault.to_string())
}

/// A broken connection, as an error. `request` is a method and a URL.
pub(super) fn network(request: &str, e: &ureq::Error) -> Error {
    let unreachable = |why: String, hint| {
        let url = request.split(' ').next_back().unwrap_or_default();
        let host = url.split("://").last().unwrap_or_default();
        let host = host.split('/').next().unwrap_or_default().to_owned();
        Error::Unreachable { host, why, hint }
    };
    match e {
        ureq::Error::Io(e)
            if e.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<NoAddress>) =>
        {
            return unreachable(e.to_string(), "see /etc/hosts and /etc/resolv.conf");
        }
        ureq::Error::Io(e) if refused(e) => {
            return unreachable(e.kind().to_string(), "is a registry up there?");
        }
        _ => {}
    }
    if let Some(fault) = certificate_fault(e) {
        return unreachable(
            fault,
            "give its authority by --cert-dir or certs.d, or don't check by --tls-verify=false",
        );
    }
    let why = match e {
        ureq::Error::Io(e) => match e.raw_os_error() {
            Some(code) => nix::errno::Errno::from_raw(code).desc().to_lowercase(),
            None => e.to_string(),
        },
        ureq::Error::Timeout(which) => format!("timed out ({which})"),
        other => other.to_string(),
    };
    Error::Network { request: request.to_owned(), why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_registry_s_words_are_found_and_tamed() {
        assert_eq!(
            said(br#"{"errors":[{"code":"DENIED","message":"no\n\u001b[31m"}]}"#),
            "no  [31m"
        );
        assert_eq!(said(br#"{"errors":[{"code":"DENIED"}]}"#), "DENIED");
        assert_eq!(said(b"<html>"), "");
        assert_eq!(said(b"plain"), "plain");
    }

    #[test]
    fn retries_are_asked_for_in_seconds_or_by_date() {
        let now: jiff::Timestamp = "2015-10-21T07:27:00Z".parse().unwrap();
        assert_eq!(after(" 7 ", now), Some(Duration::from_secs(7)));
        let date = "Wed, 21 Oct 2015 07:28:00 GMT";
        assert_eq!(after(date, now), Some(Duration::from_mins(1)));
        let later: jiff::Timestamp = "2016-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(after(date, later), Some(Duration::ZERO));
        assert_eq!(after("soon", now), None);
        assert_eq!(after("-1", now), None);
    }

    proptest! {
        #[test]
        fn any_retry_after_is_read_or_left(s in "\\PC{0,40}") {
            let _ = after(&s, jiff::Timestamp::UNIX_EPOCH);
        }

        #[test]
        fn words_are_bounded(b in proptest::collection::vec(any::<u8>(), 0..2000)) {
            prop_assert!(said(&b).chars().count() <= 300);
        }
    }
}
