//! Logging in and out: what a registry has accepted is kept in docker's `config.json`, or by the
//! credential helper that file names. Whatever else the file holds stays as it is.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::credentials::HUB_KEY;
use super::{Client, Credentials, Keyring, Settings, helper};
use crate::error::{Error, Result};
use crate::reference::Reference;

/// A registry as it is logged in to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// As references have it: `docker.io`, `r.io:5000`.
    pub domain: String,
    /// What credentials are kept under: docker has an old address for its Hub, podman may have a
    /// repository or a part of its name.
    pub key: String,
    /// The part of a repository's name that the key is for, if it is for one.
    pub repository: String,
}

impl Server {
    /// What was typed, a host or an old-style URL; without any, Docker Hub.
    pub fn new(typed: Option<&str>) -> Result<Self> {
        let typed = typed.unwrap_or_default();
        let rest = typed.split_once("://").map_or(typed, |(_, rest)| rest);
        let host = rest.split('/').next().unwrap_or_default();
        let hub = ["docker.io", "index.docker.io", "registry-1.docker.io"];
        if typed.is_empty() || hub.contains(&host) {
            return Ok(Self::docker("docker.io", HUB_KEY));
        }
        let scheme = typed.split_once("://").map_or("", |(scheme, _)| scheme);
        let plain = |c: char| c.is_ascii_graphic() && !"@?#%\\\"'".contains(c);
        if host.is_empty() || !host.chars().all(plain) || !matches!(scheme, "" | "http" | "https") {
            return Err(Error::usage("registry", typed, "write HOST[:PORT]"));
        }
        Ok(Self::docker(host, host))
    }

    fn docker(domain: &str, key: &str) -> Self {
        Self { domain: domain.to_owned(), key: key.to_owned(), repository: String::new() }
    }

    /// What was typed for podman's auth.json: `HOST[:PORT]`, or a repository there, or the first
    /// parts of one's name. Of a URL the host counts.
    pub fn podman(typed: &str) -> Result<Self> {
        let web = typed.strip_prefix("https://").or_else(|| typed.strip_prefix("http://"));
        let key = web.map_or(typed, |rest| rest.split('/').next().unwrap_or_default());
        let (domain, repository) = key.split_once('/').unwrap_or((key, ""));
        let sample = if repository.is_empty() { format!("{domain}/x") } else { key.to_owned() };
        let bad = |why: &str| Error::usage("registry", typed, why);
        let reference = Reference::parse_normal(&sample).map_err(|e| bad(&e.to_string()))?;
        if reference.tag().is_some() || reference.digest().is_some() {
            return Err(bad("it contains a tag or a digest"));
        }
        // A host without a dot is one here.
        if key.is_empty() || domain.contains(['@', '?', '#']) {
            return Err(bad("write HOST[:PORT][/REPOSITORY]"));
        }
        Ok(Self {
            domain: domain.to_owned(),
            key: key.to_owned(),
            repository: repository.to_owned(),
        })
    }

    /// The same as docker keeps it, which has no logins for repositories.
    pub fn as_docker(&self) -> Result<Self> {
        if self.repository.is_empty() {
            return Self::new(Some(&self.domain));
        }
        let why = "credentials cannot be recorded in Docker-compatible format with namespaced key";
        Err(Error::Conflict(format!("{why} {:?}", self.key)))
    }

    /// Has a credential helper keep credentials.
    pub fn keep_with(&self, helper: &str, known: &Credentials) -> Result<()> {
        if !self.repository.is_empty() {
            let why = "namespaced key is not supported for credential helper";
            return Err(Error::Conflict(format!("{why} {helper}")));
        }
        helper::store(helper, &self.key, known)
    }

    /// Has a credential helper forget; whether it knew anything.
    pub fn forget_with(&self, helper: &str) -> Result<bool> {
        if self.repository.is_empty() { helper::erase(helper, &self.key) } else { Ok(false) }
    }

    /// Has a credential helper forget everything.
    pub fn forget_all(helper: &str) -> Result<()> {
        for key in helper::list(helper)? {
            helper::erase(helper, &key)?;
        }
        Ok(())
    }

    /// Everything an entry for it may be kept under.
    fn keys(&self) -> Vec<String> {
        if !self.repository.is_empty() {
            return vec![self.key.clone()];
        }
        let host = if self.key == HUB_KEY { &self.domain } else { &self.key };
        vec![self.key.clone(), host.clone(), format!("http://{host}"), format!("https://{host}")]
    }
}

/// Asks the registry whether it accepts these credentials. What comes back is what to keep: a
/// token server may give an identity token in place of the password.
pub fn verify(settings: &Settings, server: &Server, known: &Credentials) -> Result<Credentials> {
    let mut settings = settings.clone();
    settings.keyring = Keyring { fixed: Some(known.clone()), ..Keyring::default() };
    let client = Client::of_host(&settings, &server.domain)?;
    client.enter()?;
    Ok(client.identity().map_or_else(|| known.clone(), Credentials::Identity))
}

/// Whether [`verify`] failed because of the user or the password.
pub fn is_wrong_password(e: &Error) -> bool {
    matches!(e, Error::Auth { why, .. } if why.contains(super::auth::INCORRECT))
}

/// Where credentials went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Into the file, as they are.
    Plain(PathBuf),
    /// To the helper of this name.
    Helper(String),
}

/// docker's `config.json`, to be written.
#[derive(Clone, Debug)]
pub struct Logins {
    path: PathBuf,
}

impl Logins {
    /// The file at `path`; it need not be there.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// What is kept for a server.
    pub fn find(&self, server: &Server) -> Result<Option<Credentials>> {
        let ring = Keyring { files: vec![self.path.clone()], ..Keyring::default() };
        ring.find(&server.domain, &server.repository)
    }

    /// Keeps what the registry has accepted. `user` is who logged in: beside an identity token
    /// docker keeps the name.
    pub fn keep(&self, server: &Server, user: &str, known: &Credentials) -> Result<Kept> {
        let entry = match known {
            Credentials::Basic { user, password } => {
                json!({ "auth": STANDARD.encode(format!("{user}:{password}")) })
            }
            Credentials::Identity(token) => {
                json!({ "auth": STANDARD.encode(format!("{user}:")), "identitytoken": token })
            }
            Credentials::Bearer(token) => json!({ "registrytoken": token }),
        };
        let helper = helper_of(&self.read()?, &server.key);
        if let Some(name) = &helper {
            helper::store(name, &server.key, known)?;
        }
        // What a helper keeps has an empty entry, as docker leaves it.
        let entry = if helper.is_some() { json!({}) } else { entry };
        self.change(|file| {
            let auths = file.entry("auths").or_insert_with(|| json!({}));
            if !auths.is_object() {
                *auths = json!({});
            }
            auths[server.key.as_str()] = entry;
            true
        })?;
        Ok(helper.map_or_else(|| Kept::Plain(self.path.clone()), Kept::Helper))
    }

    /// Forgets a server; whether anything was known of it.
    pub fn forget(&self, server: &Server) -> Result<bool> {
        let file = self.read()?;
        let mut known = false;
        for key in server.keys() {
            if let Some(name) = helper_of(&file, &key) {
                known |= helper::erase(&name, &key)?;
            }
        }
        let erased = self.change(|file| {
            let Some(Value::Object(auths)) = file.get_mut("auths") else { return false };
            let before = auths.len();
            auths.retain(|key, _| !server.keys().contains(key));
            before != auths.len()
        })?;
        Ok(known | erased)
    }

    /// Forgets everybody, and what helpers the file names for single registries know.
    pub fn forget_all(&self) -> Result<()> {
        if let Some(Value::Object(helpers)) = self.read()?.get("credHelpers") {
            for (key, name) in helpers {
                helper::erase(name.as_str().unwrap_or_default(), key)?;
            }
        }
        self.change(|file| {
            file.insert("auths".into(), json!({}));
            file.remove("credHelpers");
            true
        })
        .map(drop)
    }

    /// The file as it is; empty if it isn't there.
    fn read(&self) -> Result<Map<String, Value>> {
        match fs::read(&self.path) {
            Ok(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => Ok(Map::new()),
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| {
                Error::invalid(format!("credentials file {}", self.path.display()), e)
            }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Map::new()),
            Err(e) => Err(Error::io("read", &self.path, e)),
        }
    }

    /// Reads, changes and replaces the file in one step, one process at a time. It is written
    /// if `change` says that it did anything; whether it was.
    fn change(&self, change: impl FnOnce(&mut Map<String, Value>) -> bool) -> Result<bool> {
        // A symlink stays one: what it leads to is replaced.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !dir.exists() && self.read()?.is_empty() {
            crate::store::make_dir(dir)?;
        }
        let lock = fs::File::open(dir).map_err(Error::at("open", dir))?;
        lock.lock().map_err(Error::at("lock", dir))?;
        let mut file = self.read()?;
        if !change(&mut file) {
            return Ok(false);
        }
        let mut new = tempfile::Builder::new()
            .prefix(".config-")
            .permissions(fs::Permissions::from_mode(0o600))
            .tempfile_in(dir)
            .map_err(Error::at("create a file in", dir))?;
        new.write_all(&tabbed(&file)?).map_err(Error::at("write", &path))?;
        new.as_file().sync_data().map_err(Error::at("sync", &path))?;
        if let Ok(old) = fs::metadata(&path) {
            use std::os::unix::fs::MetadataExt;
            // `sudo -E dhow login` leaves a user's file theirs. Where that may not be, it is ours.
            let _ = std::os::unix::fs::fchown(&new, Some(old.uid()), Some(old.gid()));
        }
        new.persist(&path).map_err(|e| Error::io("replace", &path, e.error))?;
        Ok(true)
    }
}

/// The helper for a key: its own, else the one for all.
fn helper_of(file: &Map<String, Value>, key: &str) -> Option<String> {
    let own = file.get("credHelpers").and_then(|h| h.get(key));
    let name = own.or_else(|| file.get("credsStore")).and_then(Value::as_str)?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// JSON as docker indents this file.
fn tabbed(file: &Map<String, Value>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let pretty = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut writer = serde_json::Serializer::with_formatter(&mut bytes, pretty);
    file.serialize(&mut writer).map_err(|e| Error::invalid("config.json", e))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(user: &str, password: &str) -> Credentials {
        Credentials::Basic { user: user.into(), password: password.into() }
    }

    #[test]
    fn hub_has_its_old_address_and_others_their_host() {
        for typed in [None, Some("docker.io"), Some("https://index.docker.io/v1/")] {
            assert_eq!(Server::new(typed).unwrap().key, HUB_KEY, "{typed:?}");
        }
        for typed in ["r.io:5000", "https://r.io:5000/v2/", "http://r.io:5000"] {
            assert_eq!(Server::new(Some(typed)).unwrap().key, "r.io:5000", "{typed}");
        }
        for bad in ["ftp://r.io", "https://", "u@r.io", "r io"] {
            assert!(Server::new(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn podman_s_keys_are_hosts_and_parts_of_names() {
        for (typed, key, domain, repository) in [
            ("r.io:5000", "r.io:5000", "r.io:5000", ""),
            ("localhost:5000/ns/x", "localhost:5000/ns/x", "localhost:5000", "ns/x"),
            ("https://r.io/v1/", "r.io", "r.io", ""),
            ("docker.io", "docker.io", "docker.io", ""),
            ("docker.io/me", "docker.io/me", "docker.io", "me"),
        ] {
            let server = Server::podman(typed).unwrap();
            let got = (server.key.as_str(), server.domain.as_str(), server.repository.as_str());
            assert_eq!(got, (key, domain, repository), "{typed}");
        }
        for bad in ["", "r.io/x:1", "u@r.io", "r io", "https://", "r.io/UP"] {
            assert!(Server::podman(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn all_are_forgotten_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let logins = Logins::new(dir.path().join("auth.json"));
        let (one, two) = (Server::podman("r.io").unwrap(), Server::podman("r.io/x").unwrap());
        logins.keep(&one, "u", &basic("u", "p")).unwrap();
        logins.keep(&two, "v", &basic("v", "p")).unwrap();
        assert_eq!(logins.find(&two).unwrap(), Some(basic("v", "p")));
        assert!(logins.forget(&two).unwrap());
        assert_eq!(logins.find(&two).unwrap(), Some(basic("u", "p")), "the host's is left");
        logins.forget_all().unwrap();
        assert_eq!(logins.find(&one).unwrap(), None);
    }

    #[test]
    fn others_keys_stay_and_only_we_may_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/config.json");
        let logins = Logins::new(path.clone());
        let (r, s) = (Server::new(Some("r.io")).unwrap(), Server::new(Some("s.io")).unwrap());
        assert!(!logins.forget(&r).unwrap());
        logins.keep(&r, "u", &basic("u", "p")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, r#"{"psFormat":"x","auths":{"https://r.io":{"auth":"dTpw"}}}"#).unwrap();
        logins.keep(&s, "u", &Credentials::Identity("tok".into())).unwrap();
        let file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(file["psFormat"], "x");
        assert_eq!(file["auths"]["s.io"]["auth"], "dTo=");
        assert_eq!(logins.find(&s).unwrap(), Some(Credentials::Identity("tok".into())));
        assert!(logins.forget(&r).unwrap() && !logins.forget(&r).unwrap());
        assert_eq!(logins.find(&r).unwrap(), None);
        assert_eq!(fs::read_dir(dir.path().join("deep")).unwrap().count(), 1);
    }

    #[test]
    fn a_link_stays_and_a_broken_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real.json"), dir.path().join("config.json"));
        fs::write(&real, "{}").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let server = Server::new(Some("r.io")).unwrap();
        let logins = Logins::new(link.clone());
        logins.keep(&server, "u", &basic("u", "p")).unwrap();
        assert!(link.is_symlink() && fs::read_to_string(&real).unwrap().contains("r.io"));
        fs::write(&real, "{").unwrap();
        let e = logins.keep(&server, "u", &basic("u", "p")).unwrap_err().to_string();
        assert!(e.contains("config.json"), "{e}");
        assert_eq!(fs::read_to_string(&real).unwrap(), "{");
    }
}
