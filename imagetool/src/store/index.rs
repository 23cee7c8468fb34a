//! `images/index.json`: which images there are, and their names.

use super::{Lease, Store};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::manifest::{Descriptor, Index, OCI_INDEX, REF_NAME};
use crate::reference::Reference;

/// The annotation that keeps under which `name@digest` an entry was pulled.
pub(super) const REPO_DIGEST: &str = "io.dhow.image.repo-digest";

impl Store {
    /// The layout's index as it lies. Readers take no lock: it is replaced in one step.
    pub fn index(&self) -> Result<Index> {
        let path = self.layout().join("index.json");
        let bytes = std::fs::read(&path).map_err(Error::at("read", &path))?;
        serde_json::from_slice(&bytes).map_err(|e| Error::invalid(path.display().to_string(), e))
    }

    /// Changes the index under the lock; written only if it changed and `change` succeeds.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Index) -> Result<T>) -> Result<T> {
        let _lock = self.lock()?;
        let mut index = self.index()?;
        let before = index.clone();
        let result = change(&mut index)?;
        if index != before {
            if index.media_type.is_empty() {
                OCI_INDEX.clone_into(&mut index.media_type);
            }
            let bytes = serde_json::to_vec(&index).map_err(|e| Error::invalid("index.json", e))?;
            self.replace(&self.layout().join("index.json"), &bytes)?;
        }
        Ok(result)
    }
}

impl Lease {
    /// Makes an image visible: its blobs first, then its entry in the index, named `name`
    /// (dangling if `None`). `repo_digest` is what it was pulled as. `synced`: the file
    /// system has just been brought to disk by the caller.
    pub fn publish(
        &self,
        root: &Descriptor,
        name: Option<&Reference>,
        repo_digest: Option<&Reference>,
        synced: bool,
    ) -> Result<()> {
        self.bear(synced)?;
        self.store().change(|index| {
            add(index, root, name, repo_digest);
            Ok(())
        })
    }
}

/// Adds an entry, or names one that is there; a name is taken from whoever had it.
pub(super) fn add(
    index: &mut Index,
    root: &Descriptor,
    name: Option<&Reference>,
    repo_digest: Option<&Reference>,
) {
    let name = name.map(ToString::to_string);
    if let Some(name) = &name {
        take_name(index, name, Some(&root.digest));
    }
    let entries = &mut index.manifests;
    let at = entries
        .iter()
        .position(|d| d.digest == root.digest && d.ref_name() == name.as_deref())
        .or_else(|| entries.iter().position(|d| d.digest == root.digest && d.ref_name().is_none()))
        .or_else(|| {
            let at = entries.iter().position(|d| d.digest == root.digest);
            at.filter(|_| name.is_none())
        });
    let at = at.unwrap_or_else(|| {
        let mut entry = root.clone();
        entry.annotations.remove(REF_NAME);
        entry.annotations.remove(REPO_DIGEST);
        entries.push(entry);
        entries.len() - 1
    });
    let notes = &mut entries[at].annotations;
    if let Some(name) = name {
        notes.insert(REF_NAME.into(), name);
    }
    if let Some(digest) = repo_digest {
        notes.insert(REPO_DIGEST.into(), digest.to_string());
    }
}

/// Takes a name from every entry that has it, but not from `keep`'s. An entry that loses
/// the last name of its image stays, dangling. Returns whose it was.
pub(super) fn take_name(index: &mut Index, name: &str, keep: Option<&Digest>) -> Vec<Digest> {
    let mut lost = Vec::new();
    let mut at = 0;
    while at < index.manifests.len() {
        let entry = &index.manifests[at];
        if !named(entry, name) || keep == Some(&entry.digest) {
            at += 1;
            continue;
        }
        let digest = entry.digest.clone();
        let others = index.manifests.iter().filter(|d| d.digest == digest).count() > 1;
        if others {
            index.manifests.remove(at);
        } else {
            index.manifests[at].annotations.remove(REF_NAME);
            at += 1;
        }
        lost.push(digest);
    }
    lost
}

fn named(entry: &Descriptor, name: &str) -> bool {
    entry.ref_name().is_some_and(|n| n == name)
        || name_of(entry).is_some_and(|n| n.to_string() == name)
}

/// The normal name of an entry. Foreign tools may have written a short one.
pub(super) fn name_of(entry: &Descriptor) -> Option<Reference> {
    entry.ref_name().and_then(|n| Reference::parse_normal(n).ok()).map(Reference::tagged)
}

/// Under which `name@digest` an entry was pulled.
pub(super) fn repo_digest_of(entry: &Descriptor) -> Option<Reference> {
    entry.annotations.get(REPO_DIGEST).and_then(|n| Reference::parse_normal(n).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(index: &Index) -> Vec<(String, Option<String>)> {
        let name = |d: &Descriptor| d.ref_name().map(str::to_owned);
        index.manifests.iter().map(|d| (d.digest.short().to_owned(), name(d))).collect()
    }

    #[test]
    fn a_name_moves_and_leaves_the_old_image_dangling() {
        let mut index: Index =
            serde_json::from_str(r#"{"schemaVersion":2,"manifests":[]}"#).unwrap();
        let (a, b) = (Descriptor::of("m", b"a"), Descriptor::of("m", b"b"));
        let (x, y) = ("x.io/x:1".parse().unwrap(), "x.io/y:1".parse().unwrap());
        add(&mut index, &a, Some(&x), None);
        add(&mut index, &a, Some(&x), None);
        add(&mut index, &a, Some(&y), None);
        assert_eq!(index.manifests.len(), 2);
        add(&mut index, &b, Some(&x), None);
        add(&mut index, &b, Some(&y), None);
        let (a, b) = (a.digest.short().to_owned(), b.digest.short().to_owned());
        assert_eq!(
            names(&index),
            vec![(a, None), (b.clone(), Some("x.io/x:1".into())), (b, Some("x.io/y:1".into()))]
        );
    }
}
