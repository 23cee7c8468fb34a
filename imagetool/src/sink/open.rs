//! From a place to a sink, filled by a function and then ended.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::thread;

use super::{Archive, Dir, Flavour, Keep, LayoutDir, Push, Sink};
use crate::daemon::Daemon;
use crate::error::{Error, Result};
use crate::leftovers;
use crate::manifest::Descriptor;
use crate::pieces::{Flowing, PIECE};
use crate::reference::Reference;
use crate::registry::Settings;
use crate::source::host;
use crate::store::Store;
use crate::transport::{File, Held, Place, Which};

/// What filling a place may need.
pub struct Outputs<'a> {
    /// Where names without a transport go.
    pub store: &'a Store,
    /// Unpack what goes there.
    pub unpack: bool,
    /// How to speak to registries.
    pub settings: &'a Settings,
    /// A repository of the same registry that may have the blobs already.
    pub mount_from: Option<String>,
    /// Upload in chunks of so many bytes.
    pub chunk: Option<u64>,
    /// What `-` writes.
    pub stdout: fn() -> Box<dyn Write + Send>,
    /// Where layouts' blobs are, if not in the layouts.
    pub shared_blobs: Option<&'a Path>,
    /// How a docker daemon is reached: `unix:///run/docker.sock`, `tcp://HOST:PORT`.
    pub daemon_host: Option<&'a str>,
    /// More names for it, where an image may have several.
    pub more_names: &'a [Reference],
}

impl<'a> Outputs<'a> {
    /// With nothing out of the ordinary.
    pub fn new(
        store: &'a Store,
        settings: &'a Settings,
        stdout: fn() -> Box<dyn Write + Send>,
    ) -> Self {
        Self {
            store,
            unpack: true,
            settings,
            mount_from: None,
            chunk: None,
            stdout,
            shared_blobs: None,
            daemon_host: None,
            more_names: &[],
        }
    }
}

/// Has `fill` put an image into a place, and makes it visible there.
pub fn into(
    place: &Place,
    outputs: &Outputs<'_>,
    fill: impl FnOnce(&dyn Sink) -> Result<Descriptor>,
) -> Result<Descriptor> {
    match place {
        Place::DockerDaemon(Held::Named(name)) => to_daemon(name, outputs, fill),
        Place::DockerDaemon(Held::Id(_)) => {
            Err(Error::usage("place", place.to_string(), "an id can't be given: name a name"))
        }
        Place::ContainersStorage(_) => Err(only_read(place)),
        Place::Store(name) => {
            let name = Reference::parse_normal(name)?.tagged();
            let sink = Keep::new(outputs.store, outputs.unpack)?;
            let root = fill(&sink)?;
            let digest = name.digest().cloned();
            if let Some(want) = digest.filter(|d| *d != root.digest) {
                let what = format!("image {name}");
                return Err(Error::Digest { what, want, got: root.digest });
            }
            let first = name.tag().map(|t| name.with_tag(t)).transpose()?;
            let names: Vec<Reference> =
                first.into_iter().chain(outputs.more_names.iter().cloned()).collect();
            sink.publish(&names)?;
            Ok(root)
        }
        Place::Registry(reference) => {
            let from = outputs.mount_from.clone();
            fill(&Push::new(outputs.settings, reference, from, outputs.chunk)?)
        }
        Place::Layout(dir, which) => {
            let sink = LayoutDir::open_with(dir, outputs.shared_blobs)?;
            let root = fill(&sink)?;
            sink.finish(named(which, place)?)?;
            Ok(root)
        }
        Place::Dir(dir) => {
            let sink = Dir::open(dir)?;
            let root = fill(&sink)?;
            sink.finish()?;
            Ok(root)
        }
        Place::OciArchive(file, which) => {
            let name = named(which, place)?;
            archive(file, Flavour::Oci, outputs, |sink| {
                let root = fill(sink)?;
                let full = name.filter(|n| n.contains(['/', ':']));
                let full = full.and_then(|n| Reference::parse_normal(n).ok());
                let names: Vec<String> = name.map(str::to_owned).into_iter().collect();
                sink.entitle_as(&names, full.as_slice())?;
                Ok(root)
            })
        }
        Place::DockerArchive(file, which) => {
            let name = named(which, place)?.map(Reference::parse_normal).transpose()?;
            if let (File::Path(path), true) = (file, file_exists(file)) {
                let name = path.display().to_string();
                let by =
                    "an earlier archive; docker-archive: can't add to one, remove it first".into();
                return Err(Error::InUse { what: "file", name, by });
            }
            archive(file, Flavour::Docker, outputs, |sink| {
                let root = fill(sink)?;
                let first = name.map(Reference::tagged);
                let names: Vec<Reference> =
                    first.into_iter().chain(outputs.more_names.iter().cloned()).collect();
                sink.entitle(&names)?;
                Ok(root)
            })
        }
    }
}

/// Places that are only left, never moved into.
/// Streams an archive into a docker daemon, which gives the image its name.
fn to_daemon(
    name: &Reference,
    outputs: &Outputs<'_>,
    fill: impl FnOnce(&dyn Sink) -> Result<Descriptor>,
) -> Result<Descriptor> {
    let daemon = Daemon::new(&host(outputs.settings, outputs.daemon_host))?;
    let title = daemon.title();
    let (mut reader, writer) = io::pipe().map_err(Error::at("make a pipe for", &title))?;
    let (written, loaded) = thread::scope(|scope| {
        let loading = scope.spawn(move || daemon.load(&mut reader));
        let out = BufWriter::with_capacity(PIECE, writer);
        let written = Archive::new(out, Path::new(&title), Flavour::Docker).and_then(|sink| {
            let root = fill(&sink)?;
            sink.entitle(std::slice::from_ref(name))?;
            sink.finish()?;
            Ok(root)
        });
        (written, loading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    match (written, loaded) {
        // It has hung up first, and knows why.
        (Err(Error::Io { source, .. }), Err(why)) if source.kind() == io::ErrorKind::BrokenPipe => {
            Err(why)
        }
        (written, loaded) => written.and_then(|root| loaded.map(|()| root)),
    }
}

fn only_read(place: &Place) -> Error {
    let hint = "it is only read from; write docker-archive: or oci-archive:, and load that there";
    Error::unsupported(format!("writing to {place}"), hint)
}

type Out = Box<dyn Write + Send>;

fn archive(
    file: &File,
    flavour: Flavour,
    outputs: &Outputs<'_>,
    fill: impl FnOnce(&Archive<Out>) -> Result<Descriptor>,
) -> Result<Descriptor> {
    to_file(file, outputs.stdout, |out, title| {
        let sink = Archive::new(out, title, flavour)?.named_in_full();
        let root = fill(&sink)?;
        sink.finish()?;
        Ok(root)
    })
}

/// Has `write` write a file, which appears whole or not at all; or stdout.
pub fn to_file<T>(
    file: &File,
    stdout: fn() -> Out,
    write: impl FnOnce(Out, &Path) -> Result<T>,
) -> Result<T> {
    let File::Path(path) = file else {
        return write(Box::new(BufWriter::with_capacity(PIECE, stdout())), Path::new("stdout"));
    };
    let special = fs::metadata(path).is_ok_and(|m| !m.is_file());
    if special {
        let out = fs::File::options().write(true).open(path).map_err(Error::at("open", path))?;
        return write(Box::new(BufWriter::with_capacity(PIECE, out)), path);
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temp = leftovers::file_in(folder)?;
    let out = temp.as_file().try_clone().map_err(Error::at("write", path))?;
    let out = BufWriter::with_capacity(PIECE, Flowing::new(out));
    let done = write(Box::new(out), path)?;
    temp.as_file().sync_data().map_err(Error::at("sync", path))?;
    temp.persist(path).map_err(|e| Error::io("create", path, e.error))?;
    Ok(done)
}

fn file_exists(file: &File) -> bool {
    matches!(file, File::Path(p) if fs::metadata(p).is_ok_and(|m| m.is_file() && m.len() > 0))
}

fn named<'a>(which: &'a Which, place: &Place) -> Result<Option<&'a str>> {
    match which {
        Which::Only => Ok(None),
        Which::Named(name) => Ok(Some(name)),
        Which::Nth(_) | Which::Of(_) => {
            Err(Error::usage("place", place.to_string(), "@ chooses among what is there, to read"))
        }
    }
}
