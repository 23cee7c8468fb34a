//! Logging in: the `WWW-Authenticate` challenge, and the token a realm gives for it.
//!
//! SPEC: distribution's token authentication; RFC 7235 §4.1; RFC 6750.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::request::Call;
use super::{Client, Credentials, url};
use crate::error::{Error, Result};

/// A token without a lifetime lives so long.
const DEFAULT_LIFE: u64 = 60;
const MAX_TOKEN: u64 = 1 << 20;
const WRONG: &str = "authentication required: user or password is wrong";
/// docker's words for that at a login.
pub(super) const INCORRECT: &str = "incorrect username or password";
/// Who asks for a token.
const CLIENT: &str = "dhow-image";

/// What we send as `Authorization`, and how we got it.
#[derive(Default)]
pub(super) struct State {
    header: Option<String>,
    until: Option<Instant>,
    challenge: Option<Challenge>,
    /// What a token server gave to a login for the next times.
    identity: Option<String>,
}

impl State {
    pub(super) fn forget_token(&mut self) {
        if self.until.is_some() {
            self.header = None;
        }
    }
}

/// What a registry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: String, service: String },
}

impl Client {
    /// The `Authorization` header to send now, renewed if its time is nearly over.
    pub(super) fn authorization(&self) -> Result<Option<String>> {
        let mut state = self.auth.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let stale = state.until.is_some_and(|t| Instant::now() >= t) || state.header.is_none();
        if stale && let Some(challenge) = state.challenge.clone() {
            self.log_in(&mut state, &challenge)?;
        }
        Ok(state.header.clone())
    }

    /// Answers a 401. `sent` is the header that was refused: if another thread has
    /// meanwhile got a new one, that one is used.
    pub(super) fn refused(&self, challenges: &[String], sent: Option<&str>) -> Result<()> {
        let mut state = self.auth.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if state.header.as_deref() != sent {
            return Ok(());
        }
        let challenge = choose(challenges).ok_or_else(|| {
            self.no_login(
                "the registry asks for a login it doesn't describe (no known WWW-Authenticate)",
            )
        })?;
        if sent.is_some() && challenge == Challenge::Basic {
            return Err(self.no_login(WRONG));
        }
        self.log_in(&mut state, &challenge)?;
        state.challenge = Some(challenge);
        Ok(())
    }

    fn log_in(&self, state: &mut State, challenge: &Challenge) -> Result<()> {
        let known = self.settings.keyring.find(&self.domain, &self.repository)?;
        let (header, life) = match (challenge, known) {
            (_, Some(Credentials::Bearer(token))) => (format!("Bearer {token}"), None),
            (Challenge::Basic, Some(c @ Credentials::Basic { .. })) => (basic(&c), None),
            (Challenge::Basic, _) => {
                return Err(self.no_login(&format!(
                    "authentication required: it wants a user and a password; run 'dhow login {0}', or give dhow-image --creds",
                    self.domain
                )));
            }
            (Challenge::Bearer { realm, service }, known) => {
                let (token, life, identity) = self.token(realm, service, known.as_ref())?;
                state.identity = identity;
                (format!("Bearer {token}"), Some(life))
            }
        };
        state.header = Some(header);
        state.until =
            life.map(|l| Instant::now() + Duration::from_secs(l.saturating_sub(10).max(5)));
        Ok(())
    }

    /// Asks the registry's front door to be let in, by what the keyring has.
    pub(super) fn enter(&self) -> Result<()> {
        let at = format!("{}/v2/", self.base());
        let refused = |status: &str| {
            let words = "login attempt to";
            self.no_login(&format!("{words} {at} failed with status: {status}"))
        };
        match self.send(Call::new("GET", at.clone()), &[200]) {
            Ok(_) => Ok(()),
            Err(Error::Auth { why, .. }) if why.contains(WRONG) => {
                Err(refused(&format!("401 Unauthorized ({INCORRECT})")))
            }
            Err(Error::Registry { status: 404, .. }) => {
                Err(refused("404 Not Found (is a registry up there?)"))
            }
            Err(Error::Registry { status, message, .. }) => {
                Err(refused(format!("{status} {message}").trim_end()))
            }
            Err(e) => Err(e),
        }
    }

    /// The identity token that came with a login.
    pub(super) fn identity(&self) -> Option<String> {
        let state = self.auth.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.identity.clone()
    }

    fn no_login(&self, why: &str) -> Error {
        Error::Auth { registry: self.domain.clone(), why: why.to_owned() }
    }

    /// Asks the realm for a token.
    fn token(
        &self,
        realm: &str,
        service: &str,
        known: Option<&Credentials>,
    ) -> Result<(String, u64, Option<String>)> {
        self.check_realm(realm, known.is_some())?;
        let scopes = self.scopes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let shown = url::shown(realm);
        let answer = if let Some(Credentials::Identity(secret)) = known {
            let form = [
                ("grant_type", "refresh_token"),
                ("service", service),
                ("client_id", CLIENT),
                ("scope", &scopes.join(" ")),
                ("refresh_token", secret),
            ];
            let form: Vec<String> =
                form.iter().map(|(k, v)| format!("{k}={}", url::encode(v))).collect();
            self.agent(realm)
                .post(realm)
                .header("Content-Type", "application/x-www-form-urlencoded")
                .send(form.join("&").as_bytes())
        } else {
            let mut at = url::with_query(realm, "service", service);
            for scope in &scopes {
                at = url::with_query(&at, "scope", scope);
            }
            if let (true, Some(Credentials::Basic { user, .. })) = (self.login, known) {
                at = url::with_query(&at, "account", user);
                at = url::with_query(&at, "client_id", CLIENT);
                at = url::with_query(&at, "offline_token", "true");
            }
            let mut request = self.agent(realm).get(at);
            if let Some(known) = known {
                request = request.header("Authorization", basic(known));
            }
            request.call()
        };
        let mut answer =
            answer.map_err(|e| super::request::network(&format!("GET {shown}"), &e))?;
        let status = answer.status().as_u16();
        if status != 200 {
            let hint =
                if known.is_some() { WRONG } else { "authentication required: a login is needed" };
            return Err(match status {
                401 | 403 => self.no_login(&format!("{shown} says {status}: {hint}")),
                _ => Error::Registry {
                    request: format!("GET {shown}"),
                    status,
                    message: super::request::message(&mut answer, &self.settings),
                },
            });
        }
        let bytes = self.body(&mut answer, MAX_TOKEN, &format!("GET {shown}"))?;
        let token: Token = serde_json::from_slice(&bytes)
            .map_err(|e| Error::invalid(format!("token from {shown}"), e))?;
        token.take().ok_or_else(|| Error::invalid(format!("token from {shown}"), "it has none"))
    }

    /// Whether a realm may be asked, and be told our password.
    ///
    /// CVE-like: a registry names any realm it likes (go-containerregistry#2193). A token
    /// is asked for over TLS unless the registry itself is spoken to without; a password
    /// goes only to the registry's own domain, or to a host the user trusts by name.
    fn check_realm(&self, realm: &str, with_password: bool) -> Result<()> {
        let host = url::host(realm);
        let no = |why: String| Err(self.no_login(&why));
        if !realm.starts_with("https://") {
            let same = host == url::host(self.base()) || url::is_loopback(&host);
            if !(realm.starts_with("http://") && self.base().starts_with("http://") && same) {
                return no(format!("its token realm {:?} is not https", url::shown(realm)));
            }
        }
        let trusted = same_domain(&host, &url::host(&format!("https://{}", self.host)))
            || same_domain(&host, &url::host(&format!("https://{}", self.domain)))
            || self.settings.trusted_realms.contains(&host);
        if with_password && !trusted {
            return no(format!(
                "it wants its password sent to {host}, another domain; allow it with --trust-realm {host}, or DHOW_TRUST_REALM={host} for dhow"
            ));
        }
        Ok(())
    }
}

/// Whether two hosts are equal, or end in the same two labels.
fn same_domain(a: &str, b: &str) -> bool {
    let tail = |h: &str| -> Option<String> {
        let labels: Vec<&str> = h.split('.').collect();
        let literal = h.starts_with('[') || h.parse::<std::net::IpAddr>().is_ok();
        (!literal && labels.len() >= 2).then(|| labels[labels.len() - 2..].join("."))
    };
    a == b || (tail(a).is_some() && tail(a) == tail(b))
}

fn basic(known: &Credentials) -> String {
    match known {
        Credentials::Basic { user, password } => {
            format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
        }
        Credentials::Identity(token) | Credentials::Bearer(token) => format!("Bearer {token}"),
    }
}

#[derive(Deserialize)]
#[allow(clippy::struct_field_names)] // the specification's names
struct Token {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    refresh_token: String,
    expires_in: Option<u64>,
}

impl Token {
    /// The token, its life in seconds, and one to keep if there is one.
    fn take(self) -> Option<(String, u64, Option<String>)> {
        // It becomes a header: no control characters, no spaces.
        let clean = |t: &String| !t.is_empty() && t.bytes().all(|b| b.is_ascii_graphic());
        let token = if self.token.is_empty() { self.access_token } else { self.token };
        let life = self.expires_in.unwrap_or(DEFAULT_LIFE).clamp(1, 86400);
        clean(&token).then(|| (token, life, Some(self.refresh_token).filter(clean)))
    }
}

/// The best challenge we can answer: bearer before basic.
fn choose(headers: &[String]) -> Option<Challenge> {
    let all: Vec<Challenge> = headers.iter().flat_map(|h| parse(h)).collect();
    let bearer = all.iter().find(|c| matches!(c, Challenge::Bearer { .. })).cloned();
    bearer.or_else(|| all.into_iter().next())
}

/// Every challenge of one header that we know how to answer.
fn parse(header: &str) -> Vec<Challenge> {
    let mut all = Vec::new();
    let mut rest = header;
    while !rest.trim_start_matches([' ', ',', '\t']).is_empty() {
        rest = rest.trim_start_matches([' ', ',', '\t']);
        let end = rest.find([' ', ',']).unwrap_or(rest.len());
        let (scheme, after) = rest.split_at(end);
        let (params, left) = params(after);
        rest = left;
        let get = |key: &str| {
            let found = params.iter().find(|(k, _)| k.eq_ignore_ascii_case(key));
            found.map(|(_, v)| v.clone()).unwrap_or_default()
        };
        if scheme.eq_ignore_ascii_case("basic") {
            all.push(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer") && !get("realm").is_empty() {
            all.push(Challenge::Bearer { realm: get("realm"), service: get("service") });
        }
    }
    all
}

/// `key="value", key=value …` up to the next scheme.
fn params(mut text: &str) -> (Vec<(String, String)>, &str) {
    let mut all = Vec::new();
    loop {
        let at = text.trim_start_matches([' ', ',', '\t']);
        let end = at.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)));
        let Some(end) = end else { return (all, at) };
        let key = &at[..end];
        let Some(value) = at[end..].trim_start().strip_prefix('=') else { return (all, at) };
        if key.is_empty() {
            return (all, "");
        }
        let value = value.trim_start();
        let (value, rest) = if let Some(quoted) = value.strip_prefix('"') {
            unquote(quoted)
        } else {
            let end = value.find([',', ' ', '\t']).unwrap_or(value.len());
            (value[..end].to_owned(), &value[end..])
        };
        all.push((key.to_owned(), value));
        text = rest;
    }
}

/// A quoted string's text, and what follows its closing quote.
fn unquote(text: &str) -> (String, &str) {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (out, &text[at + 1..]),
            '\\' => out.extend(chars.next().map(|(_, c)| c)),
            c => out.push(c),
        }
    }
    (out, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bearer(realm: &str, service: &str) -> Challenge {
        Challenge::Bearer { realm: realm.into(), service: service.into() }
    }

    #[test]
    fn challenges_parse() {
        assert_eq!(
            parse(
                r#"Bearer realm="https://a.io/token",service="r.io",scope="repository:x,y:pull""#
            ),
            [bearer("https://a.io/token", "r.io")]
        );
        assert_eq!(parse(r#"Basic realm="x, y""#), [Challenge::Basic]);
        assert_eq!(parse("Negotiate, Basic realm=x"), [Challenge::Basic]);
        assert_eq!(
            choose(&[r#"Basic realm="b", Bearer realm="https://t""#.into()]),
            Some(bearer("https://t", ""))
        );
        assert_eq!(parse(r#"bearer Realm = "a\"b" , service=s"#), [bearer("a\"b", "s")]);
        assert_eq!(choose(&["Digest realm=x".into()]), None);
    }

    #[test]
    fn domains_are_compared_by_their_last_two_labels() {
        assert!(same_domain("auth.docker.io", "registry-1.docker.io"));
        assert!(same_domain("127.0.0.1", "127.0.0.1"));
        assert!(!same_domain("127.0.0.1", "127.1.0.1"));
        assert!(!same_domain("docker.io.evil.com", "docker.io"));
        assert!(!same_domain("localhost", "evil"));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(s in "\\PC{0,100}") {
            let _ = parse(&s);
        }

        #[test]
        fn near_misses_never_panic(s in "(Bearer|Basic|x|=|,| |\"|\\\\|realm){0,20}") {
            let _ = parse(&s);
        }
    }
}
