//! `registries.d`: where the signatures of registries' images are kept.
//!
//! SPEC: containers-registries.d(5).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use super::key;
use super::origin::name_scopes;
use crate::error::{Error, Result};
use crate::reference::Reference;
use crate::yaml;

/// What all files of the folder come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registries {
    default: Namespace,
    docker: BTreeMap<String, Namespace>,
}

/// What is said of one registry, namespace, repository or image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Namespace {
    read: Option<String>,
    write: Option<String>,
    attachments: Option<bool>,
}

impl Registries {
    /// Reads a folder's `*.yaml`. One that isn't there says nothing.
    pub fn read(dir: &Path) -> Result<Self> {
        let mut merged = Self::default();
        let entries = match fs::read_dir(dir) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(merged),
            other => other.map_err(Error::at("read", dir))?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(Error::at("read", dir))?.path();
            if path.extension().is_some_and(|e| e == "yaml") {
                files.push(path);
            }
        }
        files.sort();
        for path in files {
            let text = key::read(&path)?;
            let bad = |why: String| Error::invalid(path.display().to_string(), why);
            let text = std::str::from_utf8(&text).map_err(|e| bad(e.to_string()))?;
            merged.add(text).map_err(bad)?;
        }
        Ok(merged)
    }

    fn add(&mut self, text: &str) -> Result<(), String> {
        if text.lines().all(|l| l.trim().is_empty() || l.trim_start().starts_with('#')) {
            return Ok(());
        }
        let whole = match yaml::parse(text)? {
            Value::Null => return Ok(()),
            Value::Object(whole) => whole,
            _ => return Err("a mapping is wanted".into()),
        };
        if let Some(Value::Object(map)) = whole.get("default-docker") {
            if self.default != Namespace::default() {
                return Err("\"default-docker\" is in another file, too".into());
            }
            self.default = Namespace::parse(map)?;
        }
        let Some(docker) = whole.get("docker").filter(|v| !v.is_null()) else { return Ok(()) };
        let docker = docker.as_object().ok_or("\"docker\" must be a mapping")?;
        for (scope, value) in docker {
            let map = value.as_object().cloned().unwrap_or_default();
            if self.docker.insert(scope.clone(), Namespace::parse(&map)?).is_some() {
                return Err(format!("\"docker\" namespace {scope:?} is in another file, too"));
            }
        }
        Ok(())
    }

    /// The storage's URL, to read from or to write to, if one is set for this name.
    pub fn lookaside(&self, name: &Reference, write: bool) -> Option<&str> {
        self.find(name, |n| match (write, &n.write) {
            (true, Some(url)) => Some(url.as_str()),
            _ => n.read.as_deref(),
        })
    }

    /// Whether sigstore's attachments, images tagged `sha256-….sig`, are used for this name.
    pub fn attachments(&self, name: &Reference) -> bool {
        self.find(name, |n| n.attachments).unwrap_or(false)
    }

    fn find<'a, T>(
        &'a self,
        name: &Reference,
        what: impl Fn(&'a Namespace) -> Option<T>,
    ) -> Option<T> {
        let scopes = name_scopes(name);
        let mut said = scopes.iter().filter_map(|s| self.docker.get(s)).chain([&self.default]);
        said.find_map(what)
    }
}

impl Namespace {
    fn parse(map: &Map<String, Value>) -> Result<Self, String> {
        let text = |key: &str| match map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone()).filter(|t| !t.is_empty())),
            Some(_) => Err(format!("{key:?} must be a text")),
        };
        let attachments = match map.get("use-sigstore-attachments") {
            None | Some(Value::Null) => None,
            Some(Value::Bool(on)) => Some(*on),
            Some(_) => return Err("\"use-sigstore-attachments\" must be true or false".into()),
        };
        Ok(Self {
            read: text("lookaside")?.or(text("sigstore")?),
            write: text("lookaside-staging")?.or(text("sigstore-staging")?),
            attachments,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_word_counts_for_each_setting() {
        let dir = tempfile::tempdir().unwrap();
        let one = "default-docker:\n  lookaside-staging: file:///d\n  lookaside: https://d\n\
            docker:\n  a.io:\n    use-sigstore-attachments: true\n  a.io/n:\n    sigstore: file:///n\n";
        std::fs::write(dir.path().join("one.yaml"), one).unwrap();
        std::fs::write(dir.path().join("none.yaml"), "# nothing\n").unwrap();
        std::fs::write(dir.path().join("other.txt"), "{").unwrap();
        let all = Registries::read(dir.path()).unwrap();
        let name: Reference = "a.io/n/r:1".parse().unwrap();
        assert_eq!(all.lookaside(&name, false), Some("file:///n"));
        assert_eq!(all.lookaside(&name, true), Some("file:///n"));
        assert!(all.attachments(&name));
        let name: Reference = "b.io/n/r:1".parse().unwrap();
        assert_eq!(all.lookaside(&name, false), Some("https://d"));
        assert_eq!(all.lookaside(&name, true), Some("file:///d"));
        assert!(!all.attachments(&name));
        std::fs::write(dir.path().join("two.yaml"), "docker:\n  a.io: {}\n").unwrap();
        assert!(Registries::read(dir.path()).is_err(), "a namespace twice");
        assert_eq!(Registries::read(Path::new("/nowhere")).unwrap(), Registries::default());
    }
}
