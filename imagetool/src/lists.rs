//! Manifest lists in the making: kept in `ROOT/manifests`, put together from images of a
//! registry, and pushed there. Nothing of the images themselves is fetched.

mod format;

use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::ImageConfig;
use crate::digest::{Digest, Verified};
use crate::error::{Error, Result};
use crate::manifest::{self, DOCKER_LIST, Descriptor, MAX_CONFIG, OCI_INDEX, OCI_MANIFEST, Parsed};
use crate::reference::Reference;
use crate::registry::{Access, Client, Settings, first_of};
use crate::source::{Remote as Origin, Source};
use crate::store::{Store, make_dir};

pub use format::{Platform, indent};

/// One image of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where it is.
    pub reference: Reference,
    /// Its manifest's.
    pub media_type: String,
    /// Its manifest's.
    pub digest: Digest,
    /// Its manifest's.
    pub size: u64,
    /// What it is for; may be changed.
    pub platform: Option<Platform>,
    /// Its manifest, byte for byte.
    pub raw: String,
}

/// A list in the making.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// What it will be called.
    pub reference: Reference,
    /// Its images, by name.
    pub entries: Vec<Entry>,
}

/// What a reference leads to in a registry.
#[allow(clippy::large_enum_variant)] // there is one at a time
#[derive(Clone, Debug)]
pub enum Remote {
    /// An image.
    Image(Entry),
    /// A list, with its images.
    List(Vec<Entry>),
}

/// The lists of a store.
#[derive(Clone, Debug)]
pub struct Lists {
    store: Store,
}

/// An operating system and its architectures, as docker knows them.
const KNOWN: [(&str, &str); 10] = [
    ("darwin", "386 amd64 arm arm64"),
    ("dragonfly", "amd64"),
    ("freebsd", "386 amd64 arm"),
    ("linux", "386 amd64 arm arm64 loong64 mips64 mips64le ppc64le riscv64 s390x"),
    ("netbsd", "386 amd64 arm"),
    ("openbsd", "386 amd64 arm"),
    ("plan9", "386 amd64"),
    ("solaris", "amd64"),
    ("wasip1", "wasm"),
    ("windows", "386 amd64 arm64"),
];

impl Platform {
    /// Whether there is such a machine.
    pub fn is_known(&self) -> bool {
        let same = |(os, all): &(&str, &str)| {
            *os == self.os && all.split(' ').any(|a| a == self.architecture)
        };
        KNOWN.iter().any(same)
    }
}

impl Lists {
    /// The lists of a store; nothing is opened yet.
    pub fn new(store: &Store) -> Self {
        Self { store: store.clone() }
    }

    /// The list of this name, if there is one.
    pub fn get(&self, reference: &Reference) -> Result<Option<List>> {
        let path = self.path(reference);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|e| Error::invalid(path.display().to_string(), e)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("read", path, e)),
        }
    }

    /// Changes a list, or makes one; others wait meanwhile.
    pub fn change(
        &self,
        reference: &Reference,
        change: impl FnOnce(Option<List>) -> Result<List>,
    ) -> Result<()> {
        let path = self.path(reference);
        make_dir(&self.dir())?;
        let _lock = self.store.lock()?;
        let mut list = change(self.get(reference)?)?;
        list.entries.sort_by(|a, b| a.reference.cmp(&b.reference));
        let bytes = serde_json::to_vec(&list).map_err(|e| Error::invalid("manifest list", e))?;
        self.store.replace(&path, &bytes)
    }

    /// Forgets a list.
    pub fn remove(&self, reference: &Reference) -> Result<()> {
        let path = self.path(reference);
        match fs::remove_file(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(missing(reference)),
            other => other.map_err(Error::at("remove", path)),
        }
    }

    fn dir(&self) -> PathBuf {
        self.store.root().join("manifests")
    }

    fn path(&self, reference: &Reference) -> PathBuf {
        // A name may be longer than a file's: its digest never is.
        self.dir().join(Digest::of(reference.to_string().as_bytes()).hex())
    }
}

/// There is no such list or image.
pub fn missing(reference: &Reference) -> Error {
    Error::NotFound { what: "manifest", name: reference.to_string(), hint: String::new() }
}

/// What a reference leads to in its registry.
pub fn remote(settings: &Settings, reference: &Reference) -> Result<Remote> {
    let places = Client::sources(settings, reference)?;
    let (n, (bytes, at)) = first_of(&places, |c| c.manifest(reference))?;
    let client = &places[n];
    let what = format!("manifest {reference}");
    match manifest::parse(&bytes, &at.media_type, &what)? {
        Parsed::Manifest(m) => {
            let platform = platform(client, &m.config)?;
            entry(reference.clone(), &m.media_type, &at, platform, bytes).map(Remote::Image)
        }
        Parsed::Index(index) => {
            let one = |child: &Descriptor| {
                let own = reference.with_digest(&child.digest);
                let (bytes, at) = client.manifest(&own)?;
                let Parsed::Manifest(m) = manifest::parse(&bytes, &child.media_type, &what)? else {
                    return Err(Error::invalid(&what, "a list within a list"));
                };
                let platform = child.platform.clone().map(|p| Platform::of(&p, &child.extra));
                entry(own, &m.media_type, &at, platform, bytes)
            };
            index.manifests.iter().map(one).collect::<Result<_>>().map(Remote::List)
        }
    }
}

fn entry(
    reference: Reference,
    media_type: &str,
    at: &Descriptor,
    platform: Option<Platform>,
    bytes: Vec<u8>,
) -> Result<Entry> {
    let raw =
        String::from_utf8(bytes).map_err(|e| Error::invalid(format!("manifest {reference}"), e))?;
    let (media_type, digest, size) = (media_type.to_owned(), at.digest.clone(), at.size);
    Ok(Entry { reference, media_type, digest, size, platform, raw })
}

/// What an image's config says it runs on.
fn platform(client: &Client, blob: &Descriptor) -> Result<Option<Platform>> {
    if !manifest::is_image_config(&blob.media_type) {
        return Ok(None);
    }
    let what = format!("image config {}", blob.digest);
    if blob.size > MAX_CONFIG {
        return Err(Error::invalid(what, format!("it is over {MAX_CONFIG} bytes")));
    }
    let mut bytes = Vec::new();
    let mut reader = Verified::new(client.blob(blob, 0)?, &blob.digest, blob.size, &what);
    reader.read_to_end(&mut bytes).map_err(|e| Error::from_io("read", &what, e))?;
    let config = ImageConfig::parse(&bytes, &what)?;
    Ok(Some(Platform::of(&config.platform(), &config.extra)))
}

/// The document of a list of these images, as docker writes it to the byte.
pub fn document(reference: &Reference, entries: &[Entry]) -> Result<(String, &'static str)> {
    for entry in entries {
        let (have, want) = (entry.reference.domain(), reference.domain());
        if have != want {
            return Err(Error::Conflict(format!(
                "cannot use source images from a different registry than the target image: {have} != {want}"
            )));
        }
    }
    let oci = entries.first().is_some_and(|e| e.media_type == OCI_MANIFEST);
    let media_type = if oci { OCI_INDEX } else { DOCKER_LIST };
    Ok((format::list(media_type, entries)?, media_type))
}

/// Pushes a list. Images of other repositories of the registry are mounted into the list's own
/// first; `told` hears of each.
pub fn push(
    settings: &Settings,
    list: &List,
    mut told: impl FnMut(&Reference, &Digest),
) -> Result<Digest> {
    for entry in &list.entries {
        let whole = |p: &Platform| !p.os.is_empty() && !p.architecture.is_empty();
        if !entry.platform.as_ref().is_some_and(whole) {
            return Err(Error::Conflict(format!(
                "manifest {} must have an OS and Architecture to be pushed to a registry",
                entry.reference
            )));
        }
    }
    let (text, media_type) = document(&list.reference, &list.entries)?;
    let client = Client::new(settings, &list.reference, Access::Push)?;
    for entry in &list.entries {
        if entry.reference.path() == list.reference.path() {
            continue;
        }
        let what = format!("manifest {}", entry.reference);
        let bytes = entry.raw.as_bytes();
        let got = Digest::of(bytes);
        if got != entry.digest {
            return Err(Error::Digest { what, want: entry.digest.clone(), got });
        }
        let Parsed::Manifest(m) = manifest::parse(bytes, &entry.media_type, &what)? else {
            return Err(Error::invalid(what, "it is a list, not an image"));
        };
        let from = entry.reference.path();
        let source = Origin::new(settings, &entry.reference)?;
        for blob in m.layers.iter().chain([&m.config]) {
            // Where it can't be mounted it is carried over.
            client.push_blob(blob, Some(from), None, &|| source.blob(blob))?;
        }
        client.put_manifest(&entry.digest.to_string(), bytes, &entry.media_type)?;
        told(&list.reference.with_digest(&entry.digest), &entry.digest);
    }
    let digest = Digest::of(text.as_bytes());
    let name = list.reference.tag().map_or_else(|| digest.to_string(), str::to_owned);
    client.put_manifest(&name, text.as_bytes(), media_type)?;
    Ok(digest)
}
