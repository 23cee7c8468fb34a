//! Giving and taking names.

use super::index::{REPO_DIGEST, add, take_name};
use super::{Store, Stored};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::reference::Reference;

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

    /// Notes that a registry has the image under a name: from now on it is known by its
    /// digest there, too. An image that has lost the name meanwhile is left as it is.
    pub fn pushed(&self, image: &Stored, name: &Reference, digest: &Digest) -> Result<()> {
        let known = name.with_digest(digest).to_string();
        let name = name.to_string();
        self.change(|index| {
            for entry in &mut index.manifests {
                if entry.digest == image.root.digest && entry.ref_name() == Some(&name) {
                    entry.annotations.entry(REPO_DIGEST.into()).or_insert_with(|| known.clone());
                }
            }
            Ok(())
        })
    }

    /// Takes a name away; the image stays, dangling if it was the last one.
    /// Says whether there was such a name.
    pub fn untag(&self, name: &Reference) -> Result<bool> {
        let name = name.clone().tagged().to_string();
        self.change(|index| Ok(!take_name(index, &name, None).is_empty()))
    }
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
