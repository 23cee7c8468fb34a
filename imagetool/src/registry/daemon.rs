//! What dockerd's `daemon.json` says of registries: the other keys are not this library's.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::Deserialize;

use super::Settings;
use crate::error::{Error, Result};

/// Where the machine's owner may have put it: dhow's own before docker's.
pub const DAEMON_FILES: [&str; 2] = ["/etc/dhow/daemon.json", "/etc/docker/daemon.json"];

/// Two keys of daemon.json.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct DaemonFile {
    /// Mirrors of Docker Hub, as URLs, asked first and in order.
    pub registry_mirrors: Vec<String>,
    /// Registries, or networks of them, whose certificates aren't checked, and that may speak http.
    pub insecure_registries: Vec<String>,
}

impl DaemonFile {
    /// What the first of these files that is there says.
    pub fn read(paths: &[PathBuf]) -> Result<Self> {
        for path in paths {
            match fs::read(path) {
                Ok(bytes) => {
                    return serde_json::from_slice(&bytes)
                        .map_err(|e| Error::invalid(format!("settings {}", path.display()), e));
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(Error::io("read", path, e)),
            }
        }
        Ok(Self::default())
    }
}

impl Settings {
    /// Adds what daemon.json says; mirrors that are known already are asked before its own.
    pub fn obey(&mut self, daemon: DaemonFile) {
        self.mirrors.extend(daemon.registry_mirrors);
        self.insecure_hosts.extend(daemon.insecure_registries);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_file_that_is_there_counts_and_other_keys_are_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("a"), r#"{"bip": "x", "registry-mirrors": ["https://m.io"]}"#).unwrap();
        fs::write(path("b"), "{").unwrap();
        let read = DaemonFile::read(&[path("none"), path("a"), path("b")]).unwrap();
        assert_eq!(read.registry_mirrors, ["https://m.io"]);
        let mut settings = Settings { mirrors: vec!["https://n.io".into()], ..Settings::default() };
        settings.obey(read);
        assert_eq!(settings.mirrors, ["https://n.io", "https://m.io"]);
        assert!(DaemonFile::read(&[path("b")]).unwrap_err().to_string().contains("/b"));
    }
}
