//! From a place to a source, for as long as a function needs it.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use super::docker::{self, DockerArchive};
use super::guarded::Guarded;
use super::layout::{self, Layout};
use super::{Dir, Directory, Files, Podman, Remote, Shared, Source, Tarball};
use crate::daemon::{Daemon, Host};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::leftovers;
use crate::manifest::{self, Descriptor, Index, Parsed};
use crate::reference::Reference;
use crate::registry::Settings;
use crate::store::{Blobs, Lease, Store, Stored};
use crate::transport::{File, Held, Place, Which};
use crate::trust::{Origin, Trust};

/// What opening a place may need.
pub struct Inputs<'a> {
    /// Where names without a transport are.
    pub store: &'a Store,
    /// How to speak to registries.
    pub settings: &'a Settings,
    /// What `-` reads.
    pub stdin: fn() -> Box<dyn Read + Send>,
    /// Where what comes from a pipe is laid, if not in the store.
    pub tmpdir: Option<&'a Path>,
    /// Where layouts' blobs are, if not in the layouts.
    pub shared_blobs: Option<&'a Path>,
    /// How a docker daemon is reached: `unix:///run/docker.sock`, `tcp://HOST:PORT`.
    pub daemon_host: Option<&'a str>,
}

impl<'a> Inputs<'a> {
    /// With nothing out of the ordinary.
    pub fn new(
        store: &'a Store,
        settings: &'a Settings,
        stdin: fn() -> Box<dyn Read + Send>,
    ) -> Self {
        Self { store, settings, stdin, tmpdir: None, shared_blobs: None, daemon_host: None }
    }
}

/// Calls `then` with the image at a place, behind the policy.
pub fn with<T>(
    place: &Place,
    inputs: &Inputs<'_>,
    then: impl FnOnce(&dyn Source) -> Result<T>,
) -> Result<T> {
    let trust = &inputs.settings.trust;
    if let Place::ContainersStorage(text) = place {
        let source = Podman::open(text, &inputs.settings.storage)?;
        let origin = source.origin(place);
        return then(&Guarded::new(&source, trust, origin));
    }
    open(place, inputs, |source| then(&Guarded::new(source, trust, Origin::of(place))))
}

fn open<T>(
    place: &Place,
    inputs: &Inputs<'_>,
    then: impl FnOnce(&dyn Source) -> Result<T>,
) -> Result<T> {
    match place {
        Place::ContainersStorage(text) => then(&Podman::open(text, &inputs.settings.storage)?),
        Place::DockerDaemon(held) => {
            let daemon = Daemon::new(&host(inputs.settings, inputs.daemon_host))?;
            let name = match held {
                Held::Named(name) => name.familiar(),
                Held::Id(id) => id.to_string(),
            };
            let spool = inputs.spool()?;
            let tar = Tarball::read(daemon.export(&name)?, &daemon.title(), spool.dir())?;
            one(&settled(tar, &spool), &Which::Only, then)
        }
        Place::Store(needle) => stored(inputs.store, &inputs.store.find(needle)?, then),
        Place::Registry(reference) => then(&Remote::new(inputs.settings, reference)?),
        Place::Layout(dir, which) => match inputs.shared_blobs {
            Some(blobs) => {
                let files =
                    Shared { layout: Directory(dir.clone()), blobs: Directory(blobs.to_owned()) };
                then(&Layout::open(files, which)?)
            }
            None => then(&Layout::open(Directory(dir.clone()), which)?),
        },
        Place::Dir(dir) => then(&Dir::open(dir)?),
        Place::OciArchive(file, which) => {
            let spool = inputs.spool()?;
            let tar = tarball(file, inputs.stdin, &spool)?;
            then(&Layout::open(&tar, which)?)
        }
        Place::DockerArchive(file, which) => {
            let spool = inputs.spool()?;
            one(&tarball(file, inputs.stdin, &spool)?, which, then)
        }
    }
}

/// One image of a docker archive.
fn one<T>(tar: &Tarball, which: &Which, then: impl FnOnce(&dyn Source) -> Result<T>) -> Result<T> {
    let image = DockerArchive::open(tar, which)?;
    match own_manifest(tar, &image)? {
        Some(layout) => then(&layout),
        None => then(&image),
    }
}

/// The daemon that is meant: a flag comes before the environment. As skopeo's, a flag's `tcp://`
/// is TLS.
pub(crate) fn host(settings: &Settings, flag: Option<&str>) -> Host {
    let Some(flag) = flag else { return settings.daemon.clone() };
    let address = match flag.strip_prefix("tcp://") {
        Some(rest) => format!("https://{rest}"),
        None => flag.to_owned(),
    };
    let certs = settings.cert_dir.clone().or_else(|| settings.daemon.certs.clone());
    Host { address, certs, verify: !settings.insecure }
}

/// Where the members of an archive lie that can't be sought in; gone with it.
enum Spool {
    /// In the store, whose blobs they can become by a rename.
    Store(Lease),
    /// Elsewhere, as was wished.
    Elsewhere(tempfile::TempDir),
}

impl Spool {
    fn dir(&self) -> &Path {
        match self {
            Self::Store(lease) => lease.dir(),
            Self::Elsewhere(dir) => dir.path(),
        }
    }
}

impl Inputs<'_> {
    fn spool(&self) -> Result<Spool> {
        let Some(dir) = self.tmpdir else { return self.store.lease().map(Spool::Store) };
        leftovers::dir_in(dir, "dhow-image-").map(Spool::Elsewhere)
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
    let files = Blobs(store.clone());
    then(&Layout::at(files, image.root.clone(), &store.index()?))
}

/// An image of the store that has no name yet; who calls holds its blobs.
pub(crate) fn unnamed(store: &Store, root: Descriptor) -> impl Source {
    let nameless = Index {
        schema_version: 2,
        media_type: String::new(),
        manifests: Vec::new(),
        annotations: BTreeMap::default(),
        extra: BTreeMap::default(),
    };
    Layout::at(Blobs(store.clone()), root, &nameless)
}

/// An archive's files.
fn tarball(file: &File, stdin: fn() -> Box<dyn Read + Send>, spool: &Spool) -> Result<Tarball> {
    tar_in(file, stdin, spool.dir()).map(|tar| settled(tar, spool))
}

fn settled(tar: Tarball, spool: &Spool) -> Tarball {
    match spool {
        Spool::Store(_) => tar,
        // Nothing is renamed from one file system to another.
        Spool::Elsewhere(_) => tar.kept_where_it_is(),
    }
}

fn tar_in(file: &File, stdin: fn() -> Box<dyn Read + Send>, spool: &Path) -> Result<Tarball> {
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
    if let File::Path(path) = file
        && path.is_dir()
    {
        return each_of_dir(path, trust, then);
    }
    let tar = tar_in(file, stdin, spool)?;
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

/// The names of a docker archive's images, as they stand there; `@N` for one without.
pub fn archive_tags(
    file: &File,
    stdin: fn() -> Box<dyn Read + Send>,
    spool: &Path,
) -> Result<Vec<String>> {
    let all = docker::entries(&tar_in(file, stdin, spool)?)?;
    let names = all.into_iter().enumerate().flat_map(|(n, entry)| match entry.repo_tags {
        none if none.is_empty() => vec![format!("@{n}")],
        names => names,
    });
    Ok(names.collect())
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

/// The images of an OCI layout, or the one of a `dir:`.
fn each_of_dir(
    path: &Path,
    trust: &Trust,
    mut then: impl FnMut(&dyn Source, &[Reference]) -> Result<()>,
) -> Result<()> {
    let layout = path.join("oci-layout").exists();
    let place = if layout {
        Place::Layout(path.to_owned(), Which::Only)
    } else {
        Place::Dir(path.to_owned())
    };
    let origin = Origin::of(&place);
    let mut then = |source: &dyn Source, names: &[Reference]| {
        then(&Guarded::new(source, trust, origin.clone()), names)
    };
    if layout {
        return each_oci(&Directory(path.to_owned()), then);
    }
    let image = Dir::open(path)?;
    then(&image, &image.names())
}

fn each_oci<F: Files>(
    tar: &F,
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
