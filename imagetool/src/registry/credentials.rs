//! Who we are to a registry: docker's `config.json` and podman's `auth.json`, and the
//! credential helpers they name.
//!
//! The library reads the files it is given; which these are, the program decides.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::helper;
use crate::error::{Error, Result};

/// Docker Hub's key in every credential store.
pub const HUB_KEY: &str = "https://index.docker.io/v1/";

/// What to log in with.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A user and a password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token to be exchanged at the realm (docker's identity token).
    Identity(String),
    /// A token to be sent as it is.
    Bearer(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// The files to look in, first match wins, or one fixed answer.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    /// Files in docker's format, most important first. One that isn't there is empty.
    pub files: Vec<PathBuf>,
    /// Used for every registry instead.
    pub fixed: Option<Credentials>,
    /// Credential helpers asked for every registry, in order; [`FILES`] stands for the files.
    /// Without any it is the files alone.
    pub helpers: Vec<String>,
}

/// What stands for the files in a list of credential helpers.
pub const FILES: &str = "containers-auth.json";

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    auths: BTreeMap<String, Auth>,
    #[serde(rename = "credsStore")]
    store: String,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
#[allow(clippy::struct_field_names)] // docker's names
struct Auth {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

impl Keyring {
    /// What is known for a repository: podman's files may key by `host/path` too.
    pub fn find(&self, domain: &str, repository: &str) -> Result<Option<Credentials>> {
        if self.fixed.is_some() {
            return Ok(self.fixed.clone());
        }
        let all = self.helpers.iter().map(String::as_str);
        let lone = self.helpers.is_empty().then_some(FILES);
        for name in all.chain(lone) {
            let found = match name {
                FILES => self.in_files(domain, repository)?,
                helper => helper::get(helper, domain)?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn in_files(&self, domain: &str, repository: &str) -> Result<Option<Credentials>> {
        for path in &self.files {
            let file = read(path)?;
            for key in keys(domain, repository) {
                if let Some(found) = file.find(path, &key)? {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }
}

fn read(path: &Path) -> Result<File> {
    let bad = |e| Error::invalid(format!("credentials file {}", path.display()), e);
    // docker's first form: what is `auths` now was all there was.
    let old = path.file_name().is_some_and(|n| n == ".dockercfg");
    match fs::read(path) {
        Ok(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => Ok(File::default()),
        Ok(bytes) if old => {
            let auths = serde_json::from_slice(&bytes).map_err(bad)?;
            Ok(File { auths, ..File::default() })
        }
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(bad),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(File::default()),
        Err(e) => Err(Error::io("read", path, e)),
    }
}

/// `host/a/b`, `host/a`, `host`; for Docker Hub its old key as well.
fn keys(domain: &str, repository: &str) -> Vec<String> {
    let whole = format!("{domain}/{repository}");
    let mut all: Vec<String> = Vec::new();
    let mut key = whole.as_str();
    loop {
        all.push(key.to_owned());
        match key.rsplit_once('/') {
            Some((up, _)) => key = up,
            None => break,
        }
    }
    if domain == "docker.io" {
        all.extend([HUB_KEY.to_owned(), "index.docker.io".into(), "registry-1.docker.io".into()]);
    }
    all
}

impl File {
    fn find(&self, path: &Path, key: &str) -> Result<Option<Credentials>> {
        if let Some(helper) = self.helpers.get(key) {
            return helper::get(helper, key);
        }
        // docker keeps an empty entry in auths for what is in the store.
        let entry = self.auths.iter().find(|(k, _)| *k == key || bare(k) == key);
        if let Some((_, auth)) = entry
            && let Some(found) = auth.read(path, key)?
        {
            return Ok(Some(found));
        }
        if !self.store.is_empty() && (!key.contains('/') || key == HUB_KEY) {
            return helper::get(&self.store, key);
        }
        Ok(None)
    }
}

/// `https://r.io/v1/` → `r.io`: what old dockers wrote.
fn bare(key: &str) -> &str {
    let Some(rest) = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")) else {
        return key;
    };
    rest.split('/').next().unwrap_or_default()
}

impl Auth {
    fn read(&self, path: &Path, key: &str) -> Result<Option<Credentials>> {
        if !self.registrytoken.is_empty() {
            return Ok(Some(Credentials::Bearer(self.registrytoken.clone())));
        }
        if !self.identitytoken.is_empty() {
            return Ok(Some(Credentials::Identity(self.identitytoken.clone())));
        }
        if self.auth.is_empty() {
            let (user, password) = (self.username.clone(), self.password.clone());
            return Ok((!user.is_empty()).then_some(Credentials::Basic { user, password }));
        }
        let what = format!("credentials file {}: /auths/{key}/auth", path.display());
        let bad = || Error::invalid(&what, "it must be base64 of USER:PASSWORD");
        let bytes = STANDARD.decode(self.auth.trim()).map_err(|_| bad())?;
        let text = String::from_utf8(bytes).map_err(|_| bad())?;
        let (user, password) = text.split_once(':').ok_or_else(bad)?;
        let password = password.trim_end_matches('\0').to_owned();
        Ok(Some(Credentials::Basic { user: user.to_owned(), password }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(text: &str) -> (tempfile::TempDir, Keyring) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        fs::write(&path, text).unwrap();
        let files = vec![dir.path().join("missing.json"), path];
        (dir, Keyring { files, ..Keyring::default() })
    }

    fn basic(user: &str, password: &str) -> Credentials {
        Credentials::Basic { user: user.into(), password: password.into() }
    }

    #[test]
    fn the_longest_key_wins_and_hosts_do_not_mix() {
        let (_d, ring) = ring(&format!(
            r#"{{"auths":{{"r.io":{{"auth":"{}"}},"r.io/team":{{"username":"t","password":"p"}},
               "https://index.docker.io/v1/":{{"identitytoken":"tok"}},"https://old.io/v1/":{{"auth":"{}"}}}}}}"#,
            STANDARD.encode("u:p:q"),
            STANDARD.encode("o:p"),
        ));
        assert_eq!(ring.find("r.io", "x/y").unwrap(), Some(basic("u", "p:q")));
        assert_eq!(ring.find("r.io", "team/y").unwrap(), Some(basic("t", "p")));
        assert_eq!(
            ring.find("docker.io", "library/x").unwrap(),
            Some(Credentials::Identity("tok".into()))
        );
        assert_eq!(ring.find("old.io", "x").unwrap(), Some(basic("o", "p")));
        assert_eq!(ring.find("r.io:5000", "x").unwrap(), None);
        assert_eq!(ring.find("evil.io", "x").unwrap(), None);
    }

    #[test]
    fn a_broken_file_is_named() {
        let (_d, broken) = ring("{");
        assert!(broken.find("r.io", "x").unwrap_err().to_string().contains("config.json"));
        let (_d, broken) = ring(r#"{"auths":{"r.io":{"auth":"%%"}}}"#);
        assert!(broken.find("r.io", "x").unwrap_err().to_string().contains("/auths/r.io/auth"));
    }

    #[test]
    fn secrets_are_not_debugged() {
        assert!(!format!("{:?}", basic("u", "secret")).contains("secret"));
    }
}
