//! docker's credential helpers: a program `docker-credential-NAME` with a verb, a document on
//! its stdin and another on its stdout.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::Credentials;
use crate::error::{Error, Result};

/// The user name that stands for an identity token.
const TOKEN: &str = "<token>";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(default, rename = "ServerURL")]
    server: String,
    username: String,
    secret: String,
}

/// What the helper knows for a key.
pub(super) fn get(name: &str, key: &str) -> Result<Option<Credentials>> {
    let out = match call(name, key, "get", key)? {
        Answer::Done(out) => out,
        Answer::Unknown => return Ok(None),
    };
    let entry: Entry = serde_json::from_slice(&out).map_err(|e| fail(name, key, &e.to_string()))?;
    Ok(Some(match entry.username.as_str() {
        TOKEN => Credentials::Identity(entry.secret),
        _ => Credentials::Basic { user: entry.username, password: entry.secret },
    }))
}

/// Has the helper keep what is known for a key.
pub(super) fn store(name: &str, key: &str, known: &Credentials) -> Result<()> {
    let (username, secret) = match known {
        Credentials::Basic { user, password } => (user.clone(), password.clone()),
        Credentials::Identity(token) | Credentials::Bearer(token) => (TOKEN.into(), token.clone()),
    };
    let entry = Entry { server: key.to_owned(), username, secret };
    let text = serde_json::to_string(&entry).map_err(|e| fail(name, key, &e.to_string()))?;
    call(name, key, "store", &text).map(drop)
}

/// Has the helper forget a key; whether it knew it.
pub(super) fn erase(name: &str, key: &str) -> Result<bool> {
    Ok(matches!(call(name, key, "erase", key)?, Answer::Done(_)))
}

/// All keys that the helper knows.
pub(super) fn list(name: &str) -> Result<Vec<String>> {
    let Answer::Done(out) = call(name, "all registries", "list", "")? else {
        return Ok(Vec::new());
    };
    let all: BTreeMap<String, String> =
        serde_json::from_slice(&out).map_err(|e| fail(name, "all registries", &e.to_string()))?;
    Ok(all.into_keys().collect())
}

enum Answer {
    Done(Vec<u8>),
    Unknown,
}

fn fail(name: &str, key: &str, why: &str) -> Error {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let why: String = why.trim().chars().map(clean).take(200).collect();
    Error::Auth { registry: key.to_owned(), why: format!("docker-credential-{name}: {why}") }
}

fn call(name: &str, key: &str, verb: &str, input: &str) -> Result<Answer> {
    if name.is_empty() || name.contains('/') {
        return Err(fail(name, key, "that is no helper's name"));
    }
    let mut child = Command::new(format!("docker-credential-{name}"))
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| fail(name, key, &e.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper may answer without reading.
        let _ = stdin.write_all(input.as_bytes());
    }
    let out = child.wait_with_output().map_err(|e| fail(name, key, &e.to_string()))?;
    if out.status.success() {
        return Ok(Answer::Done(out.stdout));
    }
    // Helpers say on stdout why they failed.
    let text = String::from_utf8_lossy(&out.stdout);
    if text.contains("credentials not found") {
        return Ok(Answer::Unknown);
    }
    Err(fail(name, key, &text))
}
