//! `registries.conf`: where images are read from, which registries are blocked or insecure, and
//! what a short name stands for. The library reads the files it is given.
//!
//! SPEC: containers-registries.conf(5). DIFFERS: mirrors and locations hold for listing tags, too;
//! `blocked` holds for a registry with another location as well.

mod file;
mod short;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::reference::Reference;
use file::File;

pub use short::is_short;

/// Where the files are.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// The main file; the first that is there.
    pub main: Vec<PathBuf>,
    /// The main file was named: it has to be there.
    pub named: bool,
    /// Folders of `*.conf`, read in the order of their names, each after those before it.
    pub folders: Vec<PathBuf>,
    /// A file of aliases alone, that wins over all others: podman keeps answers there.
    pub aliases: Option<PathBuf>,
}

impl Files {
    /// The usual places: a named file, else the user's own, else the machine's; then folders, the
    /// machine's before the user's. Who has an own file has its folder alone. `config` is
    /// `~/.config`, `cache` `~/.cache`, or `/var/cache` for root.
    pub fn usual(named: Option<PathBuf>, config: Option<PathBuf>, cache: Option<PathBuf>) -> Self {
        let machine = Path::new("/etc/containers");
        let user = config.map(|d| d.join("containers"));
        let own = user.as_ref().map(|d| d.join("registries.conf"));
        let own = own.filter(|file| named.is_none() && file.exists());
        let folders = own.is_none().then(|| machine.to_owned()).into_iter().chain(user);
        Self {
            named: named.is_some(),
            folders: folders.map(|d| d.join("registries.conf.d")).collect(),
            main: vec![named.or(own).unwrap_or_else(|| machine.join("registries.conf"))],
            aliases: cache.map(|d| d.join("containers/short-name-aliases.conf")),
        }
    }
}

/// What all the files say together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registries {
    /// By prefix.
    entries: BTreeMap<String, Registry>,
    search: Vec<String>,
    helpers: Vec<String>,
    mode: Mode,
    aliases: BTreeMap<String, String>,
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Registry {
    prefix: String,
    own: Endpoint,
    mirrors: Vec<Endpoint>,
    blocked: bool,
}

/// A place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Endpoint {
    /// Stands in place of the prefix; empty with a wildcard that rewrites nothing.
    location: String,
    insecure: bool,
    used: Use,
}

/// Which images a mirror is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    All,
    Digests,
    Tags,
}

/// What is done about short names that could mean several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    Enforcing,
    #[default]
    Permissive,
    Disabled,
}

impl Mode {
    fn parse(text: &str) -> Result<Option<Self>, String> {
        Ok(Some(match text {
            "" => return Ok(None),
            "enforcing" => Self::Enforcing,
            "permissive" => Self::Permissive,
            "disabled" => Self::Disabled,
            _ => {
                return Err(format!(
                    "short-name-mode is enforcing, permissive or disabled, not {text:?}"
                ));
            }
        }))
    }
}

/// A place to read an image from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Its name there.
    pub reference: Reference,
    /// It may speak http, or show any certificate.
    pub insecure: bool,
    /// Reading from there is forbidden, by this prefix.
    pub blocked: Option<String>,
}

impl Registries {
    /// Reads the files.
    pub fn read(files: &Files) -> Result<Self> {
        let mut all = Self::default();
        let mut found = false;
        for path in &files.main {
            if let Some(file) = File::read(path)? {
                all.add(file);
                found = true;
                break;
            }
        }
        if let (true, false, Some(path)) = (files.named, found, files.main.first()) {
            let missing = io::Error::from_raw_os_error(libc::ENOENT);
            return Err(Error::io("read", path, missing));
        }
        for folder in &files.folders {
            for path in confs(folder)? {
                if let Some(file) = File::read(&path)? {
                    all.add(file);
                }
            }
        }
        let aliases = files.aliases.as_deref().map(File::read).transpose()?.flatten();
        if let Some(file) = aliases {
            all.add(File { aliases: file.aliases, ..File::default() });
        }
        Ok(all)
    }

    /// What a text says alone.
    pub fn parse(text: &str) -> Result<Self> {
        let mut all = Self::default();
        all.add(File::parse(text).map_err(|why| Error::invalid("registries file", why))?);
        Ok(all)
    }

    /// What a later file says wins; of an entry all of it.
    fn add(&mut self, file: File) {
        self.entries.extend(file.registries.into_iter().map(|r| (r.prefix.clone(), r)));
        self.search = file.search.unwrap_or(std::mem::take(&mut self.search));
        self.helpers = file.helpers.unwrap_or(std::mem::take(&mut self.helpers));
        self.mode = file.mode.unwrap_or(self.mode);
        for (name, value) in file.aliases {
            match value {
                Some(value) => drop(self.aliases.insert(name, value)),
                None => drop(self.aliases.remove(&name)),
            }
        }
    }

    /// The credential helpers asked for every registry; `containers-auth.json` are the files.
    pub fn helpers(&self) -> &[String] {
        &self.helpers
    }

    /// Where to read an image from, in order: its mirrors, then its own place.
    pub fn locations(&self, reference: &Reference) -> Result<Vec<Location>> {
        let Some((entry, length)) = self.find(&reference.name()) else {
            return Ok(vec![self.plain(reference.clone())]);
        };
        let digested = reference.digest().is_some();
        let fits = |m: &&Endpoint| match m.used {
            Use::All => true,
            Use::Digests => digested,
            Use::Tags => !digested,
        };
        let mut all = Vec::new();
        for mirror in entry.mirrors.iter().filter(fits) {
            let reference = rewritten(reference, &mirror.location, length)?;
            let insecure = mirror.insecure;
            all.push(Location { insecure, ..self.plain(reference) });
        }
        let there = match entry.own.location.as_str() {
            "" => reference.clone(),
            location => rewritten(reference, location, length)?,
        };
        let blocked = entry.blocked.then(|| entry.prefix.clone());
        let own = self.plain(there);
        let blocked = blocked.or(own.blocked);
        all.push(Location { insecure: entry.own.insecure, blocked, ..own });
        Ok(all)
    }

    /// What is said of a place itself: for what is written there, and as a mirror's own fault.
    pub fn plain(&self, reference: Reference) -> Location {
        let found = self.find(&reference.name()).map(|(entry, _)| entry);
        let blocked = found.filter(|e| e.blocked).map(|e| e.prefix.clone());
        Location { insecure: found.is_some_and(|e| e.own.insecure), blocked, reference }
    }

    /// What is said of a registry as a whole.
    pub fn insecure_host(&self, domain: &str) -> bool {
        self.find(domain).is_some_and(|(entry, _)| entry.own.insecure)
    }

    /// The prefix by which a registry as a whole is blocked.
    pub fn blocked_host(&self, domain: &str) -> Option<&str> {
        self.find(domain).filter(|(entry, _)| entry.blocked).map(|(e, _)| e.prefix.as_str())
    }

    /// The entry with the longest prefix of a name, and how much of the name that is.
    fn find(&self, name: &str) -> Option<(&Registry, usize)> {
        let fitting = self.entries.values().filter_map(|r| Some((r, matched(name, &r.prefix)?)));
        fitting.max_by_key(|(r, _)| r.prefix.len())
    }
}

/// How much of a name a prefix stands for.
fn matched(name: &str, prefix: &str) -> Option<usize> {
    let end = if prefix.starts_with("*.") {
        let domain = &prefix[1..];
        let at = name.find(domain)?;
        (!name[..at].contains('/')).then_some(at + domain.len())?
    } else {
        name.starts_with(prefix).then_some(prefix.len())?
    };
    // "example.com" stands for "example.com:5000", too, as elsewhere.
    let next = name[end..].chars().next();
    next.is_none_or(|c| matches!(c, ':' | '/' | '@')).then_some(end)
}

/// A name with another beginning.
fn rewritten(reference: &Reference, location: &str, length: usize) -> Result<Reference> {
    let text = format!("{location}{}", &reference.to_string()[length..]);
    let what = || format!("location {location:?} for {reference}");
    let there = Reference::parse_normal(&text).map_err(|e| Error::invalid(what(), e))?;
    if there.to_string() != text {
        return Err(Error::invalid(what(), format!("{text} is no full name")));
    }
    Ok(there)
}

/// The `*.conf` of a folder, by name; a folder that isn't there has none.
fn confs(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("read", folder, e)),
    };
    let mut all = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::at("read", folder))?.path();
        if path.extension().is_some_and(|e| e == "conf") && !path.is_dir() {
            all.push(path);
        }
    }
    all.sort();
    Ok(all)
}
