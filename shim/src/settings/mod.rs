//! docker's settings files, typed: what dhow doesn't know in them it leaves alone.
//! A file is read when a verb first asks for it, so that a verb that needs none opens none.

mod client;
mod daemon;
mod read;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use dhow_image::registry::DAEMON_FILES;
use dhow_image::registry::docker_opts::{self, DOCKER_DEFAULTS};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

pub use client::{Client, Proxies};
pub use daemon::{AddressPool, Daemon, RuntimeEntry, Ulimit};

/// The two files, and what they say once asked for.
#[derive(Debug, Default)]
pub struct Settings {
    client_file: Option<PathBuf>,
    daemon_file: Option<PathBuf>,
    client: OnceLock<Client>,
    daemon: OnceLock<Daemon>,
}

impl Settings {
    /// Settings of `client`, docker's config.json, and `daemon`, a daemon.json in the machine's place.
    pub fn of(client: Option<PathBuf>, daemon: Option<PathBuf>) -> Self {
        Self { client_file: client, daemon_file: daemon, ..Self::default() }
    }

    /// The same files, to be read again.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::of(self.client_file.clone(), self.daemon_file.clone())
    }

    /// Where config.json is, whether it is there or not; nothing without a HOME.
    pub fn client_file(&self) -> Option<&Path> {
        self.client_file.as_deref()
    }

    /// What config.json says; a file that isn't there says nothing.
    pub fn client(&self) -> Result<&Client> {
        if let Some(known) = self.client.get() {
            return Ok(known);
        }
        let found = match &self.client_file {
            Some(path) => read::settings(path)?,
            None => None,
        };
        Ok(self.client.get_or_init(|| found.unwrap_or_default()))
    }

    /// What daemon.json says: the file that was named, else dhow's, else docker's.
    pub fn daemon(&self) -> Result<&Daemon> {
        if let Some(known) = self.daemon.get() {
            return Ok(known);
        }
        let found = match &self.daemon_file {
            Some(path) => read::settings(path)?,
            None => Some(machines(&DAEMON_FILES.map(Path::new), Path::new(DOCKER_DEFAULTS))?),
        };
        Ok(self.daemon.get_or_init(|| found.unwrap_or_default()))
    }
}

/// dhow's own file, else docker's with the flags of its service at `defaults`.
fn machines([own, docker]: &[&Path; 2], defaults: &Path) -> Result<Daemon> {
    if let Some(found) = read::settings(own)? {
        return Ok(found);
    }
    let flags = docker_opts::read(defaults).map_err(|e| Error::usage(e.to_string()))?;
    let file: Option<Daemon> = read::settings(docker)?;
    if flags.is_empty() {
        return Ok(file.unwrap_or_default());
    }
    let mut all: Map<String, Value> = read::settings(docker)?.unwrap_or_default();
    for (key, value) in flags {
        match (all.get_mut(&key), value) {
            (Some(Value::Array(known)), Value::Array(more)) => known.extend(more),
            // dockerd doesn't start with both; the file is the newer place.
            (Some(_), _) => {}
            (None, value) => drop(all.insert(key, value)),
        }
    }
    serde_json::from_value(all.into())
        .map_err(|e| Error::usage(format!("settings {}: DOCKER_OPTS: {e}", defaults.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_files_say_nothing_and_no_home_neither() {
        let none = Settings::of(None, Some("/nonexistent/daemon.json".into()));
        assert!(none.client().unwrap().ps_format.is_none());
        assert!(none.daemon().unwrap().registry_mirrors.is_empty());
    }

    #[test]
    fn docker_s_flags_are_heard_where_dhow_s_own_file_is_absent() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
        let read = || machines(&[&path("own"), &path("docker")], &path("default"));
        assert!(read().unwrap().dns.is_empty());
        write("default", "DOCKER_OPTS='--dns 8.8.8.8 --mtu 1400 --icc=false'");
        let said = read().unwrap();
        assert_eq!(
            (said.dns.as_slice(), said.mtu, said.icc),
            (&["8.8.8.8".to_owned()][..], Some(1400), Some(false))
        );
        write("docker", r#"{"dns": ["1.1.1.1"], "mtu": 1300}"#);
        let said = read().unwrap();
        assert_eq!((said.dns, said.mtu), (vec!["1.1.1.1".into(), "8.8.8.8".into()], Some(1300)));
        write("default", "DOCKER_OPTS=`id`");
        let error = read().unwrap_err().message;
        assert!(error.contains("default") && error.contains("line 1"), "{error}");
        write("own", "{}");
        assert!(read().unwrap().dns.is_empty());
    }

    #[test]
    fn a_broken_file_is_named_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, "{\n  \"psFormat\": 3\n}").unwrap();
        let error = Settings::of(Some(path.clone()), None).client().unwrap_err().message;
        assert!(error.starts_with(&format!("settings {}, line 2: ", path.display())), "{error}");
    }
}
