//! Which images a sync copies, and where to: whole repositories, directories of images, and
//! lists of them in YAML.
//!
//! SPEC: skopeo-sync(1).

mod semver;
mod wanted;

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::reference::Reference;
use crate::transport::Place;

pub use semver::{Constraint, Version};
pub use wanted::{Listed, Tags, Wanted, parse};

/// Directories within directories end here.
const MAX_DEPTH: usize = 64;

/// An image of a source, and what it is called below the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub from: Place,
    /// Its whole name.
    pub suffix: String,
}

impl Found {
    /// An image of a registry.
    pub fn remote(name: &Reference) -> Self {
        Self { from: Place::Registry(name.clone()), suffix: name.to_string() }
    }

    /// Where it goes: all of its name, or the last part of it, after the destination's.
    pub fn goes(&self, to: &str, dir: bool, scoped: bool, append: &str) -> Result<Place> {
        let suffix = if scoped { self.suffix.as_str() } else { last(&self.suffix) };
        let name = format!("{}/{}{append}", to.trim_end_matches('/'), suffix.trim_matches('/'));
        if dir {
            return Ok(Place::Dir(name.into()));
        }
        Ok(Place::Registry(Reference::parse_normal(&name)?.tagged()))
    }
}

/// The part after the last slash; a path has no empty one.
fn last(name: &str) -> &str {
    let name = name.trim_end_matches('/');
    name.rsplit_once('/').map_or(name, |(_, last)| last)
}

/// The `dir:` images in a directory and those below it.
pub fn in_directory(base: &Path) -> Result<Vec<Found>> {
    let mut all = Vec::new();
    walk(base, base, 0, &mut all)?;
    Ok(all)
}

fn walk(base: &Path, dir: &Path, depth: usize, all: &mut Vec<Found>) -> Result<()> {
    if dir.join("manifest.json").is_file() {
        let below = dir.strip_prefix(base).unwrap_or(dir).to_string_lossy().into_owned();
        let whole = || base.canonicalize().unwrap_or_else(|_| base.to_owned());
        let suffix =
            if below.is_empty() { last(&whole().to_string_lossy()).to_owned() } else { below };
        all.push(Found { from: Place::Dir(dir.to_owned()), suffix });
        return Ok(());
    }
    if depth == MAX_DEPTH {
        return Err(Error::invalid(dir.display().to_string(), "it is too deep"));
    }
    let entries = std::fs::read_dir(dir).map_err(Error::at("read", dir))?;
    let mut below: Vec<PathBuf> = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::at("read", dir))?;
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            below.push(entry.path());
        }
    }
    below.sort();
    below.iter().try_for_each(|path| walk(base, path, depth + 1, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_below_the_destination_are_skopeos() {
        let found = Found::remote(&"quay.io/a/b:1".parse().unwrap());
        let goes = |to: &str, dir, scoped, append: &str| {
            found.goes(to, dir, scoped, append).unwrap().to_string()
        };
        assert_eq!(goes("/usb", true, true, ""), "dir:/usb/quay.io/a/b:1");
        assert_eq!(goes("/usb/", true, false, "-x"), "dir:/usb/b:1-x");
        assert_eq!(goes("h:5000/n", false, false, ""), "docker://h:5000/n/b:1");
        assert_eq!(goes("h:5000", false, true, "-x"), "docker://h:5000/quay.io/a/b:1-x");
        assert!(found.goes("H H", false, true, "").is_err());
    }

    #[test]
    fn directories_are_found_and_named() {
        let tmp = tempfile::tempdir().unwrap();
        for name in ["a:1", "deep/er/b:2"] {
            let dir = tmp.path().join(name);
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("manifest.json"), "{}").unwrap();
        }
        let names = |at: &Path| {
            let all = in_directory(at).unwrap();
            all.into_iter().map(|f| f.suffix).collect::<Vec<_>>()
        };
        assert_eq!(names(tmp.path()), ["a:1", "deep/er/b:2"]);
        assert_eq!(names(&tmp.path().join("a:1")), ["a:1"]);
    }
}
