//! Where images are changed: a name of a layout in its place, or from any place to any other.

use std::path::{Path, PathBuf};

use super::Draft;
use crate::copy::{Choice, copy};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::manifest::{Descriptor, Index, REF_NAME};
use crate::platform::Platform;
use crate::progress::Progress;
use crate::sink::{LayoutDir, Outputs, change_index, into};
use crate::source::{Directory, FULL_NAME, Inputs, Layout, layout_index, with};
use crate::transport::{Place, Which};

/// What a change came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// What the new name leads to: a manifest, or a list with it.
    pub root: Descriptor,
    /// The image's own manifest.
    pub manifest: Digest,
    /// Docker's IMAGE ID.
    pub config: Digest,
}

/// A name in a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// The layout's directory.
    pub dir: PathBuf,
    /// The name.
    pub tag: String,
}

impl Tagged {
    /// The entry of the layout's index that has the name; that there is a layout is checked.
    pub fn entry(&self) -> Result<(Index, Descriptor)> {
        let index = layout_index(&Directory(self.dir.clone()))?;
        let entry = self.among(&index)?.clone();
        Ok((index, entry))
    }

    fn among<'a>(&self, index: &'a Index) -> Result<&'a Descriptor> {
        let mut fitting = index.manifests.iter().filter(|d| d.ref_name() == Some(&self.tag));
        let Some(entry) = fitting.next() else {
            let names: Vec<&str> =
                index.manifests.iter().filter_map(Descriptor::ref_name).collect();
            return Err(Error::NotFound {
                what: "tag",
                name: format!("{} in {}", self.tag, self.dir.display()),
                hint: if names.is_empty() {
                    "it has none".to_owned()
                } else {
                    format!("it has {}", names.join(", "))
                },
            });
        };
        if fitting.any(|other| other.digest != entry.digest) {
            let name = format!("{}:{}", self.dir.display(), self.tag);
            return Err(Error::Ambiguous { what: "tag", name });
        }
        Ok(entry)
    }

    /// The image as a source.
    pub fn open(&self) -> Result<Layout<Directory>> {
        let (index, entry) = self.entry()?;
        Ok(Layout::at(Directory(self.dir.clone()), entry, &index))
    }

    /// The place.
    pub fn place(&self) -> Place {
        Place::Layout(self.dir.clone(), Which::Named(self.tag.clone()))
    }

    /// Gives the image more names; whoever had one loses it.
    pub fn tag(&self, names: &[String]) -> Result<()> {
        self.entry()?;
        change_index(&self.dir, |index| {
            let was = self.among(index)?.clone();
            for to in names {
                name(index, &was, &was, to);
            }
            Ok(())
        })
    }

    /// Takes the name away. The image's blobs stay until they are collected.
    pub fn untag(&self) -> Result<()> {
        self.entry()?;
        change_index(&self.dir, |index| {
            index.manifests.retain(|d| d.ref_name() != Some(&self.tag));
            Ok(())
        })
    }

    /// Changes the image where it lies, and names the result `to`, or as it was. Only what is new
    /// is written. `change` gets a directory for new layers. If somebody else changes what the
    /// name leads to meanwhile, theirs stays.
    pub fn edit(
        &self,
        to: Option<&str>,
        platform: Option<&Platform>,
        change: impl FnOnce(&mut Draft<'_>, &Path) -> Result<()>,
    ) -> Result<Changed> {
        self.entry()?;
        // From here on no blob is collected: what the index says now must be read anew.
        let sink = LayoutDir::open(&self.dir)?;
        let (index, was) = self.entry()?;
        let source = Layout::at(Directory(self.dir.clone()), was.clone(), &index);
        let mut draft = Draft::of(&source, platform)?;
        change(&mut draft, &self.dir)?;
        let derived = draft.finish()?;
        let root = derived.put_new(&sink)?;
        sink.enter(|index, root| {
            let now = self.among(index).ok();
            if now.is_none_or(|now| now.digest != was.digest) {
                let name = format!("{}:{}", self.dir.display(), self.tag);
                let by = "another program, which changed it meanwhile: try again".to_owned();
                return Err(Error::InUse { what: "image", name, by });
            }
            name(index, &was, &root, to.unwrap_or(&self.tag));
            Ok(())
        })?;
        let manifest = derived.manifest().at.digest.clone();
        Ok(Changed { root, manifest, config: derived.config_digest().clone() })
    }

    /// Puts a new image under the name, whatever had it before. The layout must be there.
    pub fn put(&self, draft: Draft<'_>) -> Result<Changed> {
        layout_index(&Directory(self.dir.clone()))?;
        let sink = LayoutDir::open(&self.dir)?;
        let derived = draft.finish()?;
        let root = derived.put_new(&sink)?;
        sink.finish(Some(&self.tag))?;
        let manifest = derived.manifest().at.digest.clone();
        Ok(Changed { root, manifest, config: derived.config_digest().clone() })
    }
}

/// Gives `root` a name; an entry that had it goes. What the old entry says besides is kept.
pub(crate) fn name(index: &mut Index, was: &Descriptor, root: &Descriptor, to: &str) {
    let mut entry = was.clone();
    if entry.digest != root.digest {
        entry.digest.clone_from(&root.digest);
        entry.size = root.size;
        entry.extra.remove("data");
    }
    if !root.media_type.is_empty() {
        entry.media_type.clone_from(&root.media_type);
    }
    if entry.ref_name() != Some(to) {
        entry.annotations.remove(FULL_NAME);
    }
    entry.annotations.insert(REF_NAME.to_owned(), to.to_owned());
    index.manifests.retain(|d| d.ref_name() != Some(to));
    index.manifests.push(entry);
}

/// Changes an image on its way from one place to another. `spool` takes new layers; it lies on
/// the store's file system if the image goes there.
pub fn between(
    (from, inputs): (&Place, &Inputs<'_>),
    (to, outputs): (&Place, &Outputs<'_>),
    (platform, spool): (Option<&Platform>, &Path),
    progress: &dyn Progress,
    change: impl FnOnce(&mut Draft<'_>, &Path) -> Result<()>,
) -> Result<Changed> {
    with(from, inputs, |source| {
        let mut draft = Draft::of(source, platform)?;
        change(&mut draft, spool)?;
        let derived = draft.finish()?.alone();
        let root =
            into(to, outputs, |sink| copy(&derived, sink, &Choice::One(None).into(), progress))?;
        let manifest = derived.manifest().at.digest.clone();
        Ok(Changed { root, manifest, config: derived.config_digest().clone() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::new_layout;

    #[test]
    fn what_somebody_else_changed_meanwhile_stays_theirs() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("layout");
        new_layout(&dir).unwrap();
        let image = Tagged { dir: dir.clone(), tag: "a".into() };
        image.put(Draft::scratch(&Platform::host(), None).unwrap()).unwrap();
        let author = |name: &'static str| {
            move |draft: &mut Draft<'_>, _: &Path| {
                draft.config.author = name.into();
                Ok(())
            }
        };
        let lost = image.edit(None, None, |draft, spool| {
            let theirs = image.edit(None, None, author("them"))?;
            assert_ne!(theirs.root.digest, *draft.base());
            author("us")(draft, spool)
        });
        assert!(matches!(lost, Err(Error::InUse { .. })), "{lost:?}");
        let open = image.open().unwrap();
        assert_eq!(Draft::of(&open, None).unwrap().config.author, "them");
        // Under another name nobody is in the way.
        image.edit(Some("b"), None, author("us")).unwrap();
        let names = image.entry().unwrap().0.manifests;
        assert_eq!(names.len(), 2);
    }
}
