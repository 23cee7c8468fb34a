//! From what a user types to an image.

use std::collections::BTreeSet;

use super::{Store, Stored};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::reference::Reference;

impl Store {
    /// Finds an image by name (`busybox`, `busybox:1`), `name@digest`, full or short id
    /// (of the config), or manifest digest, in docker's order: whole id, name, short id.
    pub fn find(&self, needle: &str) -> Result<Stored> {
        let all = match super::listing::candidates(self, needle) {
            Some(candidates) => candidates,
            None => self.images()?,
        };
        find_in(all, needle)
    }

    /// Finds an image by its exact normal name.
    pub fn find_name(&self, name: &Reference) -> Result<Option<Stored>> {
        let index = self.index()?;
        let entry =
            index.manifests.iter().find(|d| super::index::name_of(d).as_ref() == Some(name));
        entry.map(|e| self.stored(e)).transpose()
    }
}

/// [`Store::find`] among images already listed.
pub(super) fn find_in(images: Vec<Stored>, needle: &str) -> Result<Stored> {
    let by_id = |d: &Digest, i: &Stored| {
        i.config_digest == *d || i.manifest.digest == *d || i.root.digest == *d
    };
    let whole = needle.parse::<Digest>().or_else(|_| Digest::from_hex(needle));
    if let Ok(digest) = whole {
        return pick(images, needle, |i| by_id(&digest, i));
    }
    if let Ok(reference) = Reference::parse_normal(needle)
        && let Some(at) = images.iter().position(|i| named(i, &reference))
    {
        return Ok(images.into_iter().nth(at).unwrap_or_else(|| unreachable!()));
    }
    let hex = Digest::digits(needle);
    if hex.is_empty() || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return match Reference::parse_normal(needle) {
            Ok(_) => Err(missing(needle)),
            Err(e) => Err(e),
        };
    }
    pick(images, needle, |i| i.config_digest.hex().starts_with(hex))
}

fn named(image: &Stored, wanted: &Reference) -> bool {
    match wanted.digest() {
        None => {
            let wanted = wanted.clone().tagged();
            image.names.contains(&wanted)
        }
        Some(digest) => {
            let same_name = |r: &Reference| r.name() == wanted.name();
            image.repo_digests.iter().any(|r| same_name(r) && r.digest() == Some(digest))
                || (image.names.iter().any(same_name)
                    && (image.root.digest == *digest || image.manifest.digest == *digest))
        }
    }
}

fn pick(images: Vec<Stored>, needle: &str, fits: impl Fn(&Stored) -> bool) -> Result<Stored> {
    let fitting: Vec<Stored> = images.into_iter().filter(fits).collect();
    let ids: BTreeSet<&Digest> = fitting.iter().map(Stored::id).collect();
    if ids.len() > 1 {
        return Err(Error::Ambiguous { what: "image", name: needle.to_owned() });
    }
    // The same image under several manifests is one to whoever asks by id.
    let mut all = fitting.into_iter();
    let mut first = all.next().ok_or_else(|| missing(needle))?;
    for other in all {
        first.names.extend(other.names);
        first.repo_digests.extend(other.repo_digests);
    }
    Ok(first)
}

fn missing(needle: &str) -> Error {
    Error::NotFound { what: "image", name: needle.to_owned(), hint: String::new() }
}
