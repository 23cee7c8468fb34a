//! `dhow-image index VERB`: lists of images for several platforms, as crane has it.

use clap::Args;
use dhow_image::copy::Choice;
use dhow_image::digest::Digest;
use dhow_image::edit::{Changed, Doc, Draft};
use dhow_image::manifest::{self, DOCKER_LIST, Descriptor, Index, OCI_INDEX, Parsed};
use dhow_image::platform::Platform;
use dhow_image::source::{Document, Gathered, Source};
use dhow_image::transport::Place;
use dhow_image::{Error, Result};
use serde_json::{Value, json};

use crate::cli::RegistryFlags;
use crate::cli::dest::{Dest, Work};
use crate::command::table::table;
use crate::context::Context;

/// Flags of `index list`.
#[derive(Args)]
pub struct List {
    /// A name of the store, or a place such as docker://REF or oci:DIR:NAME
    #[arg(value_name = "INDEX")]
    index: String,
    #[command(flatten)]
    registry: RegistryFlags,
}

/// Flags of `index append`.
#[derive(Args)]
pub struct Append {
    /// The list that is added to; without it, a new one is made
    #[arg(value_name = "INDEX")]
    base: Option<String>,
    /// An image, or a list of them: a name of the store, or a place
    #[arg(long, short, required = true, value_name = "IMAGE", value_delimiter = ',')]
    manifest: Vec<String>,
    /// Of a list that is added add its images, not the list
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          action = clap::ArgAction::Set, default_value = "true", default_missing_value = "true",
          value_parser = crate::cli::go::switch)]
    flatten: bool,
    /// Give a new list docker's type, not OCI's
    #[arg(long)]
    docker_empty_base: bool,
    #[command(flatten)]
    dest: Dest,
    #[command(flatten)]
    registry: RegistryFlags,
}

/// Flags of `index create`.
#[derive(Args)]
pub struct Create {
    /// Where the list goes: a name of the store, or a place such as docker://REF
    #[arg(value_name = "DEST")]
    to: String,
    /// Its images: names of the store, or places
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
    #[command(flatten)]
    registry: RegistryFlags,
}

/// Flags of `index remove`.
#[derive(Args)]
pub struct Remove {
    /// A name of the store, or a place such as docker://REF or oci:DIR:NAME
    #[arg(value_name = "INDEX")]
    index: String,
    /// What goes: a digest, or a platform (OS[/ARCH[/VARIANT]])
    #[arg(value_name = "DIGEST|PLATFORM", required = true)]
    what: Vec<String>,
    #[command(flatten)]
    dest: Dest,
    #[command(flatten)]
    registry: RegistryFlags,
}

/// Flags of `index filter`.
#[derive(Args)]
pub struct Filter {
    /// A name of the store, or a place such as docker://REF or oci:DIR:NAME
    #[arg(value_name = "INDEX")]
    index: String,
    /// A platform whose images stay: OS[/ARCH[/VARIANT]]
    #[arg(long, required = true, value_name = "PLATFORM", value_delimiter = ',')]
    platform: Vec<String>,
    #[command(flatten)]
    dest: Dest,
    #[command(flatten)]
    registry: RegistryFlags,
}

impl List {
    /// A line an image.
    pub fn run(self, cx: &Context) -> Result<()> {
        let place: Place = self.index.parse()?;
        let work = Work::new(cx, &self.registry, None)?;
        let (_, index) = work.with(&place, |source| read(source, &place))?;
        if cx.json {
            let all: Vec<Value> = index.manifests.iter().map(|d| json!(d)).collect();
            return cx.print_json(&all);
        }
        let mut rows = vec![["DIGEST", "PLATFORM", "TYPE"].map(str::to_owned)];
        for entry in &index.manifests {
            let platform = entry.platform.as_ref().map_or_else(|| "-".into(), ToString::to_string);
            rows.push([entry.digest.to_string(), platform, entry.media_type.clone()]);
        }
        table(&rows).iter().try_for_each(|line| cx.line(line))
    }
}

impl Append {
    /// Adds images to a list.
    pub fn run(self, cx: &Context) -> Result<()> {
        let from = self.base.as_deref().map(str::parse::<Place>).transpose()?;
        let to = self.dest.place(from.as_ref())?;
        let how = How { flatten: self.flatten, docker: self.docker_empty_base };
        gather(cx, &self.registry, (from, &to), &self.manifest, how)
    }
}

impl Create {
    /// Makes a list.
    pub fn run(self, cx: &Context) -> Result<()> {
        let to: Place = self.to.parse()?;
        let how = How { flatten: true, docker: false };
        gather(cx, &self.registry, (None, &to), &self.images, how)
    }
}

impl Remove {
    /// Takes images out of a list; each that is named must be there.
    pub fn run(self, cx: &Context) -> Result<()> {
        sift(cx, &self.registry, &self.index, &self.dest, |index| {
            for what in &self.what {
                let before = index.manifests.len();
                match what.parse::<Digest>() {
                    Ok(digest) => index.manifests.retain(|d| d.digest != digest),
                    Err(_) => index.manifests.retain(|d| !is_for(d, what)),
                }
                if index.manifests.len() == before {
                    return Err(missing(what, &self.index));
                }
            }
            Ok(())
        })
    }
}

impl Filter {
    /// Keeps the images of some platforms; one at least must be there.
    pub fn run(self, cx: &Context) -> Result<()> {
        sift(cx, &self.registry, &self.index, &self.dest, |index| {
            index.manifests.retain(|d| self.platform.iter().any(|p| is_for(d, p)));
            if index.manifests.is_empty() {
                return Err(missing(&self.platform.join(", "), &self.index));
            }
            Ok(())
        })
    }
}

fn missing(what: &str, index: &str) -> Error {
    Error::NotFound {
        what: "image",
        name: format!("{what} in the list {index}"),
        hint: String::new(),
    }
}

/// Whether an entry is for a platform; what isn't said of the platform may be anything.
fn is_for(entry: &Descriptor, wanted: &str) -> bool {
    let Some(own) = &entry.platform else { return false };
    let parts = [&own.os, &own.architecture, &own.variant];
    let wanted: Vec<&str> = wanted.split('/').collect();
    wanted.len() <= parts.len() && wanted.iter().zip(parts).all(|(w, own)| *w == own)
}

fn read(source: &dyn Source, place: &Place) -> Result<(Document, Doc<Index>)> {
    let root = source.root()?;
    let title = format!("manifest {}", root.at.digest);
    match manifest::parse(&root.bytes, &root.at.media_type, &title)? {
        Parsed::Index(_) => {
            let doc = Doc::parse(&root.bytes, &title)?;
            Ok((root, doc))
        }
        Parsed::Manifest(_) => {
            Err(Error::usage("index", place.to_string(), "it is one image, not a list"))
        }
    }
}

/// Changes which of its images a list names.
fn sift(
    cx: &Context,
    registry: &RegistryFlags,
    index: &str,
    dest: &Dest,
    change: impl FnOnce(&mut Index) -> Result<()>,
) -> Result<()> {
    let from: Place = index.parse()?;
    let to = dest.place(Some(&from))?;
    let work = Work::new(cx, registry, None)?;
    let changed = work.with(&from, |source| {
        let (_, mut doc) = read(source, &from)?;
        change(&mut doc)?;
        let images = doc.manifests.iter().map(|d| (d.digest.clone(), None, source)).collect();
        put(&work, &doc, images, &to)
    })?;
    work.tell(&changed, &to)
}

/// How images are added.
#[derive(Clone, Copy)]
struct How {
    flatten: bool,
    docker: bool,
}

/// Puts images into a list, the old one's before the new.
fn gather(
    cx: &Context,
    registry: &RegistryFlags,
    (from, to): (Option<Place>, &Place),
    images: &[String],
    how: How,
) -> Result<()> {
    let places: Vec<Place> = images.iter().map(|i| i.parse()).collect::<Result<_>>()?;
    let work = Work::new(cx, registry, None)?;
    let all: Vec<Place> = from.iter().cloned().chain(places).collect();
    let changed = opened(&work, &all, Vec::new(), &mut |sources| {
        let mut sources = sources.as_slice();
        let mut images = Vec::new();
        let mut doc = if let Some(place) = &from {
            let (base, rest) = sources.split_first().ok_or_else(|| missing("base", ""))?;
            sources = rest;
            let (_, doc) = read(*base, place)?;
            images.extend(doc.manifests.iter().map(|d| (d.digest.clone(), None, *base)));
            doc
        } else {
            let kind = if how.docker { DOCKER_LIST } else { OCI_INDEX };
            Doc::new(Index { media_type: kind.to_owned(), ..Index::default() })?
        };
        for source in sources {
            for (entry, document) in entries(*source, how.flatten)? {
                if doc.manifests.iter().all(|d| d.digest != entry.digest) {
                    images.push((entry.digest.clone(), document, *source));
                    doc.manifests.push(entry);
                }
            }
        }
        put(&work, &doc, images, to)
    })?;
    work.tell(&changed, to)
}

/// What calls for all places at once.
type Then<'a> = dyn FnMut(Vec<&dyn Source>) -> Result<Changed> + 'a;

/// Opens one place after the other, and then calls `then` with all.
fn opened(
    work: &Work<'_>,
    places: &[Place],
    so_far: Vec<&dyn Source>,
    then: &mut Then<'_>,
) -> Result<Changed> {
    let Some((first, rest)) = places.split_first() else { return then(so_far) };
    work.with(first, |source| {
        let mut all = so_far;
        all.push(source);
        opened(work, rest, all, then)
    })
}

/// What a source adds to a list: an entry, and its document if it was read.
fn entries(source: &dyn Source, flatten: bool) -> Result<Vec<(Descriptor, Option<Document>)>> {
    let root = source.root()?;
    let title = format!("manifest {}", root.at.digest);
    let mut entry = Descriptor::of(&root.at.media_type, &root.bytes);
    match manifest::parse(&root.bytes, &root.at.media_type, &title)? {
        Parsed::Index(index) if flatten => {
            Ok(index.manifests.into_iter().map(|d| (d, None)).collect())
        }
        Parsed::Index(index) => {
            entry.media_type = index.media_type;
            Ok(vec![(entry, Some(root))])
        }
        Parsed::Manifest(m) => {
            entry.media_type.clone_from(&m.media_type);
            // An artifact is for no platform.
            entry.platform = manifest::is_image_config(&m.config.media_type)
                .then(|| Draft::of(source, None).map(|d| d.config.platform()))
                .transpose()?
                .filter(|p: &Platform| !p.architecture.is_empty());
            Ok(vec![(entry, Some(root))])
        }
    }
}

fn put(
    work: &Work<'_>,
    doc: &Doc<Index>,
    images: Vec<(Digest, Option<Document>, &dyn Source)>,
    to: &Place,
) -> Result<Changed> {
    let bytes = doc.bytes()?;
    let at = Descriptor::of(&doc.media_type, &bytes);
    let source = Gathered::new(Document { bytes, at: at.clone() }, images);
    let root = work.put_all(&source, to, Choice::All)?;
    Ok(Changed { manifest: at.digest.clone(), config: at.digest, root })
}
