//! An OCI layout, in a directory or in a tar. SPEC: image-spec image-layout.md.

use std::io::{self, Read};
use std::path::PathBuf;

use super::{Document, Files, Source};
use crate::digest::{Digest, Verified};
use crate::error::{Error, Result};
use crate::manifest::{Descriptor, Index, MAX_MANIFEST};
use crate::reference::Reference;
use crate::strict;
use crate::transport::Which;

/// containerd's and docker's annotation for a full name.
pub(crate) const FULL_NAME: &str = "io.containerd.image.name";

/// One image of an OCI layout.
pub struct Layout<F> {
    files: F,
    root: Descriptor,
    names: Vec<Reference>,
}

impl<F: Files> Layout<F> {
    /// Opens one image of a layout.
    pub fn open(files: F, which: &Which) -> Result<Self> {
        let index = index(&files)?;
        let entry = choose(&index, which, &files.title())?.clone();
        Ok(Self::at(files, entry, &index))
    }

    /// The image an entry of the index names.
    pub fn at(files: F, root: Descriptor, index: &Index) -> Self {
        let same = index.manifests.iter().filter(|d| d.digest == root.digest);
        let mut names: Vec<Reference> = same.filter_map(full_name).collect();
        names.sort();
        names.dedup();
        Self { files, root, names }
    }
}

/// The layout's index; the version is checked first.
pub fn index(files: &impl Files) -> Result<Index> {
    let version: serde_json::Value =
        serde_json::from_slice(&files.read("oci-layout", 64 << 10)?)
            .map_err(|e| Error::invalid(format!("oci-layout in {}", files.title()), e))?;
    let version = version["imageLayoutVersion"].as_str().unwrap_or_default();
    if !version.starts_with("1.") {
        return Err(Error::unsupported(format!("OCI layout version {version:?}"), ""));
    }
    let what = format!("index.json in {}", files.title());
    let bytes = files.read("index.json", MAX_MANIFEST)?;
    let index = serde_json::from_slice(&bytes).map_err(|e| Error::invalid(what.as_str(), e))?;
    strict::check(&bytes).map_err(|e| Error::invalid(what, e))?;
    Ok(index)
}

/// The entry of an index that is meant.
pub(crate) fn choose<'a>(index: &'a Index, which: &Which, title: &str) -> Result<&'a Descriptor> {
    let all = &index.manifests;
    let found = match which {
        Which::Nth(n) => all.get(*n),
        Which::Of(digest) => all.iter().find(|d| d.digest == *digest),
        Which::Named(name) => {
            let normal = Reference::parse_normal(name).map(Reference::tagged).ok();
            let exact = all.iter().find(|d| d.ref_name() == Some(name));
            exact.or_else(|| all.iter().find(|d| full_name(d).is_some() && full_name(d) == normal))
        }
        Which::Only => {
            let first = all.first();
            if all.iter().any(|d| Some(&d.digest) != first.map(|f| &f.digest)) {
                let names: Vec<&str> = all.iter().filter_map(Descriptor::ref_name).collect();
                let why = format!("it holds several images; say which: {}", names.join(", "));
                return Err(Error::usage("place", title, why));
            }
            first
        }
    };
    found.ok_or_else(|| Error::NotFound {
        what: "image",
        name: format!("{which} in {title}").trim_start_matches(':').to_owned(),
        hint: match all.iter().filter_map(Descriptor::ref_name).collect::<Vec<_>>() {
            names if names.is_empty() => String::new(),
            names => format!("it has {}", names.join(", ")),
        },
    })
}

/// An entry's full name: containerd's annotation, or a ref.name that isn't a mere tag.
pub(crate) fn full_name(entry: &Descriptor) -> Option<Reference> {
    let full = entry.annotations.get(FULL_NAME).map(String::as_str);
    let name = full.or_else(|| entry.ref_name().filter(|n| n.contains(['/', ':'])))?;
    Reference::parse_normal(name).ok().map(Reference::tagged).filter(Reference::can_be_given)
}

pub(crate) fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

impl<F: Files> Source for Layout<F> {
    fn root(&self) -> Result<Document> {
        self.document(&self.root)
    }

    fn document(&self, at: &Descriptor) -> Result<Document> {
        let what = format!("manifest {} in {}", at.digest, self.files.title());
        if at.size > MAX_MANIFEST {
            return Err(Error::invalid(what, format!("it is over {MAX_MANIFEST} bytes")));
        }
        let mut bytes = Vec::new();
        self.blob(at)?.read_to_end(&mut bytes).map_err(|e| Error::from_io("read", what, e))?;
        Ok(Document { bytes, at: Descriptor::new(&at.media_type, at.digest.clone(), at.size) })
    }

    fn blob<'a>(&'a self, blob: &'a Descriptor) -> Result<Box<dyn Read + Send + 'a>> {
        let what = format!("blob {} in {}", blob.digest, self.files.title());
        if let Some(data) = blob.embedded(&what)? {
            return Ok(Box::new(io::Cursor::new(data)));
        }
        let (reader, size) = self.files.open(&blob_name(&blob.digest))?;
        // Of what is longer the beginning is read all the same: whether it has that digest tells what
        // was put behind it from what was exchanged.
        if size < blob.size {
            return Err(Error::Size { what, want: blob.size, got: size });
        }
        Ok(Box::new(Verified::new(reader, &blob.digest, blob.size, what)))
    }

    fn spooled(&self, blob: &Digest) -> Option<PathBuf> {
        self.files.spooled(blob)
    }

    fn names(&self) -> Vec<Reference> {
        self.names.clone()
    }
}

/// References to files serve as files, so that several images can share one tar.
impl<F: Files + ?Sized> Files for &F {
    fn open<'a>(&'a self, name: &str) -> Result<(Box<dyn Read + Send + 'a>, u64)> {
        (**self).open(name)
    }

    fn spooled(&self, digest: &Digest) -> Option<PathBuf> {
        (**self).spooled(digest)
    }

    fn title(&self) -> String {
        (**self).title()
    }
}
