//! Giving and taking names, and removing images.

use std::collections::HashSet;

use super::index::{add, name_of, repo_digest_of, take_name};
use super::{Store, Stored};
use crate::digest::{ChainId, Digest};
use crate::error::{Error, Result};
use crate::manifest::{Index, REF_NAME};
use crate::reference::Reference;

/// What a removal did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names (and `name@digest`s) that are gone, familiar form.
    pub untagged: Vec<String>,
    /// Image ids and layers (chain ids) that are gone.
    pub deleted: Vec<Digest>,
    /// Bytes given back.
    pub freed: u64,
}

impl Store {
    /// Gives an image one more name; whoever had it loses it.
    pub fn tag(&self, image: &Stored, name: &Reference) -> Result<()> {
        let name = plain(name)?;
        self.change(|index| {
            if !index.manifests.iter().any(|d| d.digest == image.root.digest) {
                return Err(gone(&image.title()));
            }
            add(index, &image.root, Some(&name), None);
            Ok(())
        })
    }

    /// Takes a name away; the image stays, dangling if it was the last one.
    /// Says whether there was such a name.
    pub fn untag(&self, name: &Reference) -> Result<bool> {
        let name = name.clone().tagged().to_string();
        self.change(|index| Ok(!take_name(index, &name, None).is_empty()))
    }

    /// Removes what `needle` names, as docker's rmi: a name is taken away, and with an
    /// image's last name, or by id, goes the image; then what nobody uses is collected.
    /// An id with several names needs `force`. Layers in `in_use` stay.
    pub fn remove(&self, needle: &str, force: bool, in_use: &HashSet<ChainId>) -> Result<Removed> {
        let image = self.find(needle)?;
        let by_name = Reference::parse_normal(needle).ok().map(Reference::tagged);
        let by_name = by_name.filter(|n| image.names.contains(n));
        let mut removed = Removed::default();
        self.change(|index| {
            let before = names(index, &image);
            if before.is_none() {
                return Err(gone(needle));
            }
            let before = before.unwrap_or_default();
            match by_name {
                Some(name) if before.iter().any(|n| *n != name) => {
                    take_name(index, &name.to_string(), None);
                    removed.untagged.push(name.familiar());
                }
                None if before.len() > 1 && !force => {
                    let list: Vec<String> = before.iter().map(Reference::familiar).collect();
                    let by = format!("several names ({}): remove them, or force", list.join(", "));
                    return Err(Error::InUse { what: "image", name: needle.into(), by });
                }
                _ => drop_image(index, &image, &mut removed),
            }
            Ok(())
        })?;
        let collected = self.collect(in_use)?;
        removed.deleted.extend(collected.layers);
        removed.freed = collected.freed;
        Ok(removed)
    }
}

fn drop_image(index: &mut Index, image: &Stored, removed: &mut Removed) {
    let ours = |d: &crate::manifest::Descriptor| d.digest == image.root.digest;
    for entry in index.manifests.iter().filter(|d| ours(d)) {
        removed.untagged.extend(name_of(entry).map(|n| n.familiar()));
    }
    for entry in index.manifests.iter().filter(|d| ours(d)) {
        removed.untagged.extend(repo_digest_of(entry).map(|n| n.familiar()));
    }
    index.manifests.retain(|d| !ours(d));
    removed.deleted.push(image.config_digest.clone());
}

/// An image's names as they are now; `None` if it is gone.
fn names(index: &Index, image: &Stored) -> Option<Vec<Reference>> {
    let mut entries = index.manifests.iter().filter(|d| d.digest == image.root.digest).peekable();
    entries.peek()?;
    Some(entries.filter(|d| d.annotations.contains_key(REF_NAME)).filter_map(name_of).collect())
}

/// A name an image can have: with a tag, without a digest.
fn plain(name: &Reference) -> Result<Reference> {
    if !name.can_be_given() {
        let why = "a name with a digest, or one that reads like an id, can't be given";
        return Err(Error::usage("tag", name.to_string(), why));
    }
    Ok(name.clone().tagged())
}

fn gone(name: &str) -> Error {
    Error::NotFound {
        what: "image",
        name: name.to_owned(),
        hint: "it was removed meanwhile".to_owned(),
    }
}
