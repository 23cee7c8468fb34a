//! `dhow-image rebase IMAGE`: an image's base is exchanged for another, and no layer is unpacked.

use clap::Args;
use dhow_image::config::History;
use dhow_image::digest::Digest;
use dhow_image::edit::Draft;
use dhow_image::manifest::Descriptor;
use dhow_image::recode;
use dhow_image::reference::Reference;
use dhow_image::source::Source;
use dhow_image::transport::Place;
use dhow_image::{Error, Result};

use crate::cli::RegistryFlags;
use crate::cli::dest::{Dest, Work};
use crate::context::Context;

/// The annotations that tell of an image's base. SPEC: image-spec annotations.md.
const BASE_NAME: &str = "org.opencontainers.image.base.name";
const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";

/// Flags of `rebase`.
#[derive(Args)]
pub struct Rebase {
    /// A name of the store, or a place such as docker://REF or oci:DIR:NAME
    #[arg(value_name = "IMAGE", required_unless_present = "original")]
    image: Option<String>,
    /// The same, as crane once had it
    #[arg(long, value_name = "IMAGE", conflicts_with = "image")]
    original: Option<String>,
    /// The base it has; without it, what its annotations say
    #[arg(long = "old_base", visible_alias = "old-base", value_name = "IMAGE")]
    old: Option<String>,
    /// The base it gets; without it, what its annotations say
    #[arg(long = "new_base", visible_alias = "new-base", value_name = "IMAGE")]
    new: Option<String>,
    /// Where the result goes, as crane once had it
    #[arg(long, value_name = "DEST", conflicts_with_all = ["tag", "output"])]
    rebased: Option<String>,
    #[command(flatten)]
    dest: Dest,
    /// Which platform's image of a list
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    #[command(flatten)]
    registry: RegistryFlags,
}

impl Rebase {
    /// Rebases.
    pub fn run(mut self, cx: &Context) -> Result<()> {
        let image = self.image.take().or(self.original.take()).unwrap_or_default();
        let from: Place = image.parse()?;
        self.dest.tag = self.dest.tag.take().or(self.rebased.take());
        let to = self.dest.place(Some(&from))?;
        let work = Work::new(cx, &self.registry, self.platform.as_deref())?;
        let changed = work.with(&from, |source| {
            let draft = work.draft(source)?;
            let (old, new) = self.bases(&draft, &from)?;
            work.with(&old, |old_source| {
                work.with(&new, |new_source| {
                    let mut result = work.draft(new_source)?;
                    let old = work.draft(old_source)?;
                    graft(&mut result, source, draft, &old)?;
                    annotate(&mut result, &new, &new_source.root()?.at.digest)?;
                    work.put(result, &to)
                })
            })
        })?;
        work.tell(&changed, &to)
    }

    /// The old base and the new one.
    fn bases(&self, draft: &Draft<'_>, from: &Place) -> Result<(Place, Place)> {
        let noted = |key: &str| draft.manifest.annotations.get(key).cloned();
        let lacks = |flag: &'static str, key: &str| {
            Error::usage(flag, "", format!("the image has no annotation {key}: name it"))
        };
        let remote = matches!(from, Place::Registry(_));
        let place = |name: String| -> Result<Place> {
            // The annotation is a reference; it means where the image is.
            if remote { format!("docker://{name}").parse() } else { name.parse() }
        };
        let new = match &self.new {
            Some(new) => new.parse()?,
            None => place(noted(BASE_NAME).ok_or_else(|| lacks("--new_base", BASE_NAME))?)?,
        };
        let old = if let Some(old) = &self.old {
            old.parse()?
        } else {
            let digest = noted(BASE_DIGEST).ok_or_else(|| lacks("--old_base", BASE_DIGEST))?;
            let digest: Digest = digest.parse()?;
            match &new {
                Place::Registry(name) => Place::Registry(name.with_digest(&digest)),
                Place::Store(_) => Place::Store(digest.to_string()),
                other => {
                    let why = "the annotations tell only of registries and the store";
                    return Err(Error::usage("--old_base", other.to_string(), why));
                }
            }
        };
        Ok((old, new))
    }
}

/// Puts what an image has above its old base upon the new one, with the image's own config.
fn graft<'a>(
    result: &mut Draft<'a>,
    source: &'a dyn Source,
    image: Draft<'a>,
    old: &Draft<'_>,
) -> Result<()> {
    let (mine, below) = (&image.config.rootfs.diff_ids, &old.config.rootfs.diff_ids);
    if !mine.starts_with(below) {
        let why = "the image doesn't begin with the layers of the old base";
        return Err(Error::invalid(format!("rebase of {}", image.base()), why));
    }
    let (was, is) = (image.config.platform(), result.config.platform());
    if (&was.os, &was.architecture) != (&is.os, &is.architecture) {
        let why = format!("the image is for {was}, the new base for {is}");
        return Err(Error::invalid(format!("rebase of {}", image.base()), why));
    }
    result.into_oci()?;
    let base_steps = old.config.history.len().min(image.config.history.len());
    let above: Vec<(Descriptor, Digest)> =
        image.layers().skip(below.len()).map(|(b, d)| (b.clone(), d.clone())).collect();
    for (blob, diff_id) in above {
        result.push_from(source, &oci(blob)?, &diff_id, None)?;
    }
    let steps: Vec<History> = image.config.history[base_steps..].to_vec();
    result.config.history.extend(steps);
    let own = (*image.config).clone();
    let config = &mut *result.config;
    config.config = own.config;
    config.created = own.created;
    config.author = own.author;
    let notes = image.manifest.annotations.clone();
    result.manifest.annotations = notes;
    Ok(())
}

/// A layer in OCI's types.
fn oci(mut blob: Descriptor) -> Result<Descriptor> {
    blob.media_type = recode::as_oci(&blob.media_type)?;
    Ok(blob)
}

/// Notes which image this one is based on.
pub fn annotate(draft: &mut Draft<'_>, base: &Place, digest: &Digest) -> Result<()> {
    draft.into_oci()?;
    let name = match base {
        Place::Registry(name) => name.to_string(),
        Place::Store(name) => Reference::parse_normal(name)?.tagged().to_string(),
        other => other.to_string(),
    };
    let notes = &mut draft.manifest.annotations;
    notes.insert(BASE_NAME.to_owned(), name);
    notes.insert(BASE_DIGEST.to_owned(), digest.to_string());
    Ok(())
}
