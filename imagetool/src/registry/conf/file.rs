//! One file of the format: TOML, version 2, or the old version 1.
//!
//! SPEC: containers-registries.conf(5).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;

use super::{Endpoint, Mode, Registry, Use};
use crate::error::{Error, Result};
use crate::reference::Reference;

/// No file is longer.
const MAX_FILE: u64 = 4 << 20;

/// What one file says; `None` where it says nothing, so that another's word stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct File {
    pub registries: Vec<Registry>,
    pub search: Option<Vec<String>>,
    pub helpers: Option<Vec<String>>,
    pub mode: Option<Mode>,
    /// `None` takes an alias of another file away.
    pub aliases: BTreeMap<String, Option<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Toml {
    registry: Vec<TomlRegistry>,
    unqualified_search_registries: Option<Vec<String>>,
    credential_helpers: Option<Vec<String>>,
    short_name_mode: String,
    aliases: BTreeMap<String, String>,
    /// Version 1.
    registries: Option<Old>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct TomlRegistry {
    prefix: String,
    location: String,
    insecure: bool,
    blocked: bool,
    mirror_by_digest_only: bool,
    mirror: Vec<TomlMirror>,
    pull_from_mirror: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct TomlMirror {
    location: String,
    insecure: bool,
    pull_from_mirror: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Old {
    search: OldList,
    insecure: OldList,
    block: OldList,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OldList {
    registries: Vec<String>,
}

impl File {
    /// What the file says; `None` if it isn't there.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        let bad = |why: &str| Error::invalid(format!("registries file {}", path.display()), why);
        match fs::metadata(path) {
            Ok(m) if !m.is_file() => return Err(bad("it is no file")),
            Ok(m) if m.len() > MAX_FILE => return Err(bad("it is over 4 MiB")),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("read", path, e)),
        }
        let text = fs::read(path).map_err(Error::at("read", path))?;
        let text = String::from_utf8(text).map_err(|_| bad("it is not UTF-8"))?;
        Self::parse(&text).map(Some).map_err(|why| bad(&why))
    }

    /// Reads the text; what is wrong with it is said in one line.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let toml: Toml = toml::from_str(text).map_err(|e| {
            let before = e.span().map_or(0, |span| span.start);
            let line = text.get(..before).unwrap_or_default().matches('\n').count() + 1;
            format!("line {line}: {}", e.message().replace('\n', " "))
        })?;
        let search = toml.unqualified_search_registries;
        let mut file = Self {
            helpers: toml.credential_helpers,
            mode: Mode::parse(&toml.short_name_mode)?,
            ..Self::default()
        };
        if let Some(old) = toml.registries {
            if !toml.registry.is_empty() || search.is_some() {
                return Err("it mixes version 1 ([registries.…]) with version 2".into());
            }
            file.old(&old)?;
            return Ok(file);
        }
        file.registries =
            toml.registry.into_iter().map(TomlRegistry::understand).collect::<Result<_, _>>()?;
        file.search = search.map(|all| all.iter().map(|s| host(s)).collect()).transpose()?;
        for (name, value) in toml.aliases {
            let value = (!value.is_empty()).then_some(value);
            check_alias(&name, value.as_deref())?;
            file.aliases.insert(name, value);
        }
        file.agree()?;
        Ok(file)
    }

    fn old(&mut self, old: &Old) -> Result<(), String> {
        self.search =
            Some(old.search.registries.iter().map(|s| host(s)).collect::<Result<_, _>>()?);
        let mut all: BTreeMap<String, Registry> = BTreeMap::new();
        for (list, blocked) in [(&old.block.registries, true), (&old.insecure.registries, false)] {
            for typed in list {
                let place = location(typed)?;
                let entry = all.entry(place.clone()).or_insert_with(|| Registry {
                    prefix: place.clone(),
                    own: Endpoint { location: place, insecure: false, used: Use::All },
                    mirrors: Vec::new(),
                    blocked: false,
                });
                entry.blocked |= blocked;
                entry.own.insecure |= !blocked;
            }
        }
        self.registries = all.into_values().collect();
        Ok(())
    }

    /// Two entries of one file for one place must say the same of it; of two for one prefix the
    /// first holds.
    fn agree(&mut self) -> Result<(), String> {
        let key = |r: &Registry| {
            let place = &r.own.location;
            if place.is_empty() { r.prefix.clone() } else { place.clone() }
        };
        for (i, a) in self.registries.iter().enumerate() {
            for b in self.registries[..i].iter().filter(|b| key(b) == key(a)) {
                let differs = match () {
                    () if a.own.insecure != b.own.insecure => "insecure",
                    () if a.blocked != b.blocked => "blocked",
                    () => continue,
                };
                let place = key(a);
                return Err(format!(
                    "registry {place:?} is defined twice with another {differs:?}"
                ));
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        self.registries.retain(|r| seen.insert(r.prefix.clone()));
        Ok(())
    }
}

impl TomlRegistry {
    fn understand(self) -> Result<Registry, String> {
        let place = location(&self.location)?;
        let prefix = if self.prefix.is_empty() { place.clone() } else { location(&self.prefix)? };
        let wild = prefix.starts_with("*.");
        if prefix.is_empty() {
            return Err("a registry has neither a location nor a prefix".into());
        }
        if place.is_empty() && !wild {
            return Err(format!("registry {prefix:?} has no location; only *.HOST may lack one"));
        }
        if wild && prefix.contains(['/', '@', ':']) {
            return Err(format!("prefix {prefix:?}: a wildcard is for *.HOST alone"));
        }
        if !self.pull_from_mirror.is_empty() {
            return Err(format!("pull-from-mirror is for mirrors, not for registry {prefix:?}"));
        }
        let by_digest = self.mirror_by_digest_only;
        let mirrors = self.mirror.into_iter().map(|m| m.understand(&prefix, by_digest));
        let mirrors = mirrors.collect::<Result<_, _>>()?;
        let own = Endpoint { location: place, insecure: self.insecure, used: Use::All };
        Ok(Registry { prefix, own, mirrors, blocked: self.blocked })
    }
}

impl TomlMirror {
    fn understand(self, prefix: &str, by_digest: bool) -> Result<Endpoint, String> {
        let place = location(&self.location)?;
        if place.is_empty() {
            return Err(format!("a mirror of {prefix:?} has no location"));
        }
        let used = match (self.pull_from_mirror.as_str(), by_digest) {
            ("", true) | ("digest-only", false) => Use::Digests,
            (_, true) => {
                return Err(format!(
                    "mirror {place:?} has pull-from-mirror, its registry {prefix:?} mirror-by-digest-only: one of them is enough"
                ));
            }
            ("" | "all", false) => Use::All,
            ("tag-only", false) => Use::Tags,
            (other, false) => {
                return Err(format!(
                    "mirror {place:?}: pull-from-mirror is all, digest-only or tag-only, not {other:?}"
                ));
            }
        };
        Ok(Endpoint { location: place, insecure: self.insecure, used })
    }
}

/// A place as written, without slashes behind it.
fn location(typed: &str) -> Result<String, String> {
    if typed.starts_with("http://") || typed.starts_with("https://") {
        return Err(format!("location {typed:?}: write HOST[:PORT][/PATH], without http://"));
    }
    Ok(typed.trim_end_matches('/').to_owned())
}

/// A registry to search in.
fn host(typed: &str) -> Result<String, String> {
    let place = location(typed)?;
    let ok = !place.is_empty() && Reference::parse_normal(&format!("{place}/x")).is_ok();
    if !ok || place.contains(['/', '@']) {
        return Err(format!("unqualified-search-registries: {typed:?} is no HOST[:PORT]"));
    }
    Ok(place)
}

fn check_alias(name: &str, value: Option<&str>) -> Result<(), String> {
    let bad = |why: &str| format!("alias {name:?}: {why}");
    let short = Reference::parse_normal(name).map_err(|e| bad(&e.to_string()))?;
    if !super::short::is_short(name) || short.tag().is_some() || short.digest().is_some() {
        return Err(bad("the name must have no registry, no tag and no digest"));
    }
    let Some(value) = value else { return Ok(()) };
    let full = Reference::parse_normal(value).map_err(|e| bad(&e.to_string()))?;
    if super::short::is_short(value) || full.tag().is_some() || full.digest().is_some() {
        return Err(bad("what it stands for must have a registry, no tag and no digest"));
    }
    Ok(())
}
