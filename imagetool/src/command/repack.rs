//! `dhow-image repack BUNDLE NAME`: what was changed in a bundle becomes a layer upon its image.

use std::path::{Path, PathBuf};

use clap::Args;
use dhow_image::bundle::{self, Image, Meta, Repack as How};
use dhow_image::copy::{Choice, copy};
use dhow_image::edit::{Changed, Draft, Tagged};
use dhow_image::manifest::Compression;
use dhow_image::sink::{Outputs, into};
use dhow_image::source::{Directory, Layout, layout_index};
use dhow_image::transport::{Place, Which};
use dhow_image::{Error, Result};

use crate::cli::RegistryFlags;
use crate::cli::target::{CompressFlag, HistoryFlags, ImageFlag, Target, exactly, noted, report};
use crate::context::{Context, stdout};

/// Flags of `repack`.
#[derive(Args)]
pub struct Repack {
    /// The bundle that unpack has made; then, unless --image is given, the new image's name in
    /// the store or as oci:DIR:TAG, where the image that was unpacked is, too
    #[arg(value_name = "BUNDLE [NAME]")]
    words: Vec<String>,
    #[command(flatten)]
    image: ImageFlag,
    /// Leave out changes at and below this path; may be given several times
    #[arg(long, value_name = "PATH")]
    mask_path: Vec<String>,
    /// Do not leave out changes in the image's volumes
    #[arg(long)]
    no_mask_volumes: bool,
    /// Make the bundle one of the new image: the next repack is upon that
    #[arg(long)]
    refresh_bundle: bool,
    #[command(flatten)]
    compress: CompressFlag,
    #[command(flatten)]
    history: HistoryFlags,
}

impl Repack {
    /// Repacks; everything typed is read before the bundle is.
    pub fn run(mut self, cx: &Context) -> Result<()> {
        let (bundle, target) = self.places()?;
        self.history.entry(cx, "", "")?;
        let compress = self.compress.get()?;
        let meta = Meta::read(&bundle)?;
        let changed = match &target {
            Target::Tagged(tagged) => {
                let layout = Directory(tagged.dir.clone());
                let index = layout_index(&layout)?;
                let base = Layout::at(layout, meta.manifest()?.clone(), &index);
                let mut draft = Draft::of(&base, None).map_err(|e| elsewhere(e, &meta))?;
                self.change(cx, &bundle, &meta, &mut draft, (&tagged.dir, compress))?;
                tagged.put(draft)?
            }
            Target::Place(place) => self.put_into_store(cx, &bundle, &meta, place, compress)?,
        };
        if self.refresh_bundle {
            bundle::refresh(&bundle, &meta, vec![changed.root.clone()])?;
        }
        report(cx, &target, &changed)
    }

    /// The bundle, and where the image goes.
    fn places(&mut self) -> Result<(PathBuf, Target)> {
        let words = std::mem::take(&mut self.words);
        if let Some(tagged) = self.image.tagged()? {
            let [bundle] = exactly(words, ["BUNDLE"])?;
            return Ok((bundle.into(), Target::Tagged(tagged)));
        }
        let [bundle, name] = exactly(words, ["BUNDLE", "NAME"])?;
        let target = match name.parse()? {
            Place::Layout(dir, Which::Named(tag)) => Target::Tagged(Tagged { dir, tag }),
            place @ Place::Store(_) => Target::Place(place),
            other => {
                let hint = "repack into the store or into oci:DIR:TAG, and copy from there";
                return Err(Error::unsupported(format!("repack into {other}"), hint));
            }
        };
        Ok((bundle.into(), target))
    }

    fn put_into_store(
        &self,
        cx: &Context,
        bundle: &Path,
        meta: &Meta,
        place: &Place,
        compress: Option<Compression>,
    ) -> Result<Changed> {
        let (store, settings) = (cx.store()?, cx.settings(&RegistryFlags::default())?);
        let lease = store.lease()?;
        lease.hold([&meta.manifest()?.digest])?;
        let base = Layout::at(Directory(store.layout()), meta.manifest()?.clone(), &store.index()?);
        let image = Image::read(&base, None).map_err(|e| elsewhere(e, meta))?;
        let blobs = image.manifest.layers.iter().chain([&image.manifest.config]);
        lease.hold(blobs.map(|b| &b.digest))?;
        let mut draft = Draft::of(&base, None)?;
        self.change(cx, bundle, meta, &mut draft, (lease.dir(), compress))?;
        let derived = draft.finish()?.alone();
        let outputs = Outputs::new(&store, &settings, stdout);
        let progress = cx.progress();
        let choice = Choice::One(None).into();
        let root = into(place, &outputs, |sink| copy(&derived, sink, &choice, &*progress))?;
        let manifest = derived.manifest().at.digest.clone();
        Ok(Changed { root, manifest, config: derived.config_digest().clone() })
    }

    /// Puts the layer upon the image, or a line into its history if nothing has changed.
    fn change(
        &self,
        cx: &Context,
        bundle: &Path,
        meta: &Meta,
        draft: &mut Draft<'_>,
        (spool, compress): (&Path, Option<Compression>),
    ) -> Result<()> {
        let how = How {
            masks: self.mask_path.clone(),
            keep_volumes: self.no_mask_volumes,
            newest: cx.epoch()?.map(jiff::Timestamp::as_second),
        };
        let packing = (spool, compress.unwrap_or_else(|| draft.compression()));
        let layer = bundle::changes(bundle, meta, &draft.config, &how, packing)?;
        let author = draft.config.author.clone();
        let mut history = self.history.entry(cx, "dhow-image repack", &author)?;
        if let Some(layer) = layer {
            return draft.push(noted(layer), history);
        }
        if let Some(entry) = &mut history {
            entry.empty_layer = true;
        }
        draft.config.history.extend(history);
        Ok(())
    }
}

/// An image that isn't where the new one should go.
fn elsewhere(error: Error, meta: &Meta) -> Error {
    let image = meta.manifest().map(|at| at.digest.to_string());
    match (error, image) {
        (Error::NotFound { .. }, Ok(name)) => {
            let hint = "the bundle was made of it: repack to where it was unpacked from, or copy it there first";
            Error::NotFound { what: "image", name, hint: hint.into() }
        }
        (other, _) => other,
    }
}
