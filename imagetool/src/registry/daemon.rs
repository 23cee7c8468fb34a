//! What dockerd's `daemon.json` says of registries: the other keys are not this library's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Settings, docker_opts};
use crate::error::{Error, Result};

/// Where the machine's owner may have put it: dhow's own before docker's, which goes with its
/// [`docker_opts`].
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
    /// What the first of these files that is there says. Where that is the last, docker's, or none,
    /// `defaults` is heard as well: its DOCKER_OPTS.
    pub fn read(paths: &[PathBuf], defaults: Option<&Path>) -> Result<Self> {
        let mut found = Self::default();
        for (n, path) in paths.iter().enumerate() {
            match fs::read(path) {
                Ok(bytes) => {
                    found = serde_json::from_slice(&bytes)
                        .map_err(|e| Error::invalid(format!("settings {}", path.display()), e))?;
                    if n + 1 < paths.len() {
                        return Ok(found);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(Error::io("read", path, e)),
            }
        }
        if let Some(path) = defaults {
            let flags = serde_json::from_value::<Self>(docker_opts::read(path)?.into())
                .map_err(|e| Error::invalid(format!("settings {}", path.display()), e))?;
            found.registry_mirrors.extend(flags.registry_mirrors);
            found.insecure_registries.extend(flags.insecure_registries);
        }
        Ok(found)
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
        let read = DaemonFile::read(&[path("none"), path("a"), path("b")], None).unwrap();
        assert_eq!(read.registry_mirrors, ["https://m.io"]);
        let mut settings = Settings { mirrors: vec!["https://n.io".into()], ..Settings::default() };
        settings.obey(read);
        assert_eq!(settings.mirrors, ["https://n.io", "https://m.io"]);
        assert!(DaemonFile::read(&[path("b")], None).unwrap_err().to_string().contains("/b"));
    }

    #[test]
    fn docker_s_flags_are_heard_beside_docker_s_file_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("docker"), r#"{"registry-mirrors": ["https://m.io"]}"#).unwrap();
        let flags = "DOCKER_OPTS=\"--registry-mirror https://n.io --bip x\"";
        fs::write(path("default"), flags).unwrap();
        let read = |own: &str| {
            let files = [path(own), path("docker")];
            DaemonFile::read(&files, Some(&path("default"))).unwrap().registry_mirrors
        };
        assert_eq!(read("none"), ["https://m.io", "https://n.io"]);
        fs::write(path("own"), "{}").unwrap();
        assert!(read("own").is_empty());
    }
}
