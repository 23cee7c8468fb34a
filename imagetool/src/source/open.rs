//! From a place to a source, for as long as a function needs it.

use std::io::Read;
use std::path::Path;

use super::docker::{self, DockerArchive};
use super::guarded::Guarded;
use super::layout::{self, Layout};
use super::{Dir, Directory, Files, Remote, Source, Tarball};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::manifest::{self, Descriptor, Parsed};
use crate::reference::Reference;
use crate::registry::Settings;
use crate::store::{Store, Stored};
use crate::transport::{File, Place, Which};
use crate::trust::{Origin, Trust};

/// What opening a place may need.
pub struct Inputs<'a> {
    /// Where names without a transport are.
    pub store: &'a Store,
    /// How to speak to registries.
    pub settings: &'a Settings,
    /// What `-` reads.
    pub stdin: fn() -> Box<dyn Read + Send>,
}

/// Calls `then` with the image at a place, behind the policy.
pub fn with<T>(
    place: &Place,
    inputs: &Inputs<'_>,
    then: impl FnOnce(&dyn Source) -> Result<T>,
) -> Result<T> {
    let trust = &inputs.settings.trust;
    open(place, inputs, |source| then(&Guarded::new(source, trust, Origin::of(place))))
}

fn open<T>(
    place: &Place,
    inputs: &Inputs<'_>,
    then: impl FnOnce(&dyn Source) -> Result<T>,
) -> Result<T> {
    match place {
        Place::Store(needle) => stored(inputs.store, &inputs.store.find(needle)?, then),
        Place::Registry(reference) => then(&Remote::new(inputs.settings, reference)?),
        Place::Layout(dir, which) => then(&Layout::open(Directory(dir.clone()), which)?),
        Place::Dir(dir) => then(&Dir::open(dir)?),
        Place::OciArchive(file, which) => {
            let lease = inputs.store.lease()?;
            let tar = tarball(file, inputs.stdin, lease.dir())?;
            then(&Layout::open(&tar, which)?)
        }
        Place::DockerArchive(file, which) => {
            let lease = inputs.store.lease()?;
            let tar = tarball(file, inputs.stdin, lease.dir())?;
            let image = DockerArchive::open(&tar, which)?;
            match own_manifest(&tar, &image)? {
                Some(layout) => then(&layout),
                None => then(&image),
            }
        }
    }
}

/// A stored image as a source; nothing of it is collected meanwhile.
fn stored<T>(
    store: &Store,
    image: &Stored,
    then: impl FnOnce(&dyn Source) -> Result<T>,
) -> Result<T> {
    let lease = store.lease()?;
    let manifest = image.manifest(store)?;
    let blobs = manifest.layers.iter().chain([&manifest.config]).map(|b| &b.digest);
    lease.hold(blobs.chain([&image.root.digest, &image.manifest.digest]))?;
    let files = Directory(store.layout());
    then(&Layout::at(files, image.root.clone(), &store.index()?))
}

/// An archive's files.
fn tarball(file: &File, stdin: fn() -> Box<dyn Read + Send>, spool: &Path) -> Result<Tarball> {
    match file {
        File::Std => Tarball::read(stdin(), "stdin", spool),
        File::Path(path) => Tarball::open(path, spool),
    }
}

/// Archives of today's docker, and ours, are OCI layouts too: then the image has its own
/// manifest, which is better than one made up.
fn own_manifest<'a>(
    tar: &'a Tarball,
    image: &DockerArchive<'_>,
) -> Result<Option<Layout<&'a Tarball>>> {
    if !tar.has("oci-layout") || !tar.has("index.json") {
        return Ok(None);
    }
    let index = layout::index(tar)?;
    let fitting = index.manifests.iter().find(|d| {
        let layout = Layout::at(tar, (*d).clone(), &index);
        let Ok(document) = layout.root() else { return false };
        match manifest::parse(&document.bytes, &d.media_type, "manifest") {
            Ok(Parsed::Manifest(m)) => m.config.digest == *image.config_digest(),
            _ => false,
        }
    });
    Ok(fitting.map(|d| Layout::at(tar, d.clone(), &index)))
}

/// Calls `then` with each image of an archive of either kind, behind the policy, and its names.
pub fn each(
    file: &File,
    trust: &Trust,
    stdin: fn() -> Box<dyn Read + Send>,
    spool: &Path,
    mut then: impl FnMut(&dyn Source, &[Reference]) -> Result<()>,
) -> Result<()> {
    let tar = tarball(file, stdin, spool)?;
    // A policy knows what docker writes, which may be a layout too, by docker's name.
    let place = if tar.has("manifest.json") || !tar.has("oci-layout") {
        Place::DockerArchive
    } else {
        Place::OciArchive
    };
    let origin = Origin::of(&place(file.clone(), Which::Only));
    let then = |source: &dyn Source, names: &[Reference]| {
        then(&Guarded::new(source, trust, origin.clone()), names)
    };
    archive(&tar, then)
}

fn archive(
    tar: &Tarball,
    mut then: impl FnMut(&dyn Source, &[Reference]) -> Result<()>,
) -> Result<()> {
    if tar.has("oci-layout") && tar.has("index.json") {
        return each_oci(tar, then);
    }
    for entry in docker::entries(tar)? {
        let image = DockerArchive::at(tar, &entry)?;
        then(&image, &image.names())?;
    }
    Ok(())
}

fn each_oci(
    tar: &Tarball,
    mut then: impl FnMut(&dyn Source, &[Reference]) -> Result<()>,
) -> Result<()> {
    let index = layout::index(tar)?;
    let mut seen: Vec<&Digest> = Vec::new();
    let entries: Vec<&Descriptor> = index
        .manifests
        .iter()
        .filter(|d| {
            let new = !seen.contains(&&d.digest);
            seen.push(&d.digest);
            new
        })
        .collect();
    if entries.is_empty() {
        return Err(Error::invalid(tar.title(), "its index.json names no image"));
    }
    for entry in entries {
        let image = Layout::at(tar, entry.clone(), &index);
        then(&image, &image.names())?;
    }
    Ok(())
}
