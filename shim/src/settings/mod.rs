//! docker's settings files, typed: what dhow doesn't know in them it leaves alone.
//! A file is read when a verb first asks for it, so that a verb that needs none opens none.

mod client;
mod daemon;
mod read;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::error::Result;

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
            None => first(&dhow_image::registry::DAEMON_FILES)?,
        };
        Ok(self.daemon.get_or_init(|| found.unwrap_or_default()))
    }
}

fn first(paths: &[&str]) -> Result<Option<Daemon>> {
    for path in paths {
        if let Some(found) = read::settings(Path::new(path))? {
            return Ok(Some(found));
        }
    }
    Ok(None)
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
    fn a_broken_file_is_named_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, "{\n  \"psFormat\": 3\n}").unwrap();
        let error = Settings::of(Some(path.clone()), None).client().unwrap_err().message;
        assert!(error.starts_with(&format!("settings {}, line 2: ", path.display())), "{error}");
    }
}
