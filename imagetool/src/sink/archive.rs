//! Into a tar, written as it comes: an OCI layout, and for docker and podman a
//! `manifest.json` beside it. Blobs go in as they are; both flavours keep the manifests.

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::{Part, Signatures, Sink};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::manifest::{self, Descriptor, Index, Parsed, REF_NAME};
use crate::reference::Reference;
use crate::source::{Document, FULL_NAME, blob_name};

/// Which readers an archive is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// `docker load`, `podman load`, skopeo's `docker-archive:`, and OCI readers as well.
    Docker,
    /// OCI readers only.
    Oci,
}

/// Writes images into one tar.
pub struct Archive<W: Write + Send> {
    flavour: Flavour,
    /// Names as docker spells them: `busybox:1`.
    short: bool,
    state: Mutex<State<W>>,
}

struct State<W: Write> {
    tar: tar::Builder<W>,
    title: String,
    written: HashSet<Digest>,
    index: Index,
    entries: Vec<Entry>,
    top: Option<Document>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

impl<W: Write + Send> Archive<W> {
    /// An archive written to `out`; `title` names it in errors.
    pub fn new(out: W, title: &Path, flavour: Flavour) -> Result<Self> {
        let mut state = State {
            tar: tar::Builder::new(out),
            title: title.display().to_string(),
            written: HashSet::new(),
            index: Index::default(),
            entries: Vec::new(),
            top: None,
        };
        state.add("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok(Self { flavour, short: true, state: Mutex::new(state) })
    }

    /// With names in full, as skopeo and podman write them: docker reads both, and podman takes a
    /// short one for one of its own.
    #[must_use]
    pub fn named_in_full(mut self) -> Self {
        self.short = false;
        self
    }

    /// The image that has just been copied gets its names.
    pub fn entitle(&self, names: &[Reference]) -> Result<()> {
        let texts: Vec<String> = names.iter().map(ToString::to_string).collect();
        self.entitle_as(&texts, names)
    }

    /// As [`Archive::entitle`], with the `ref.name`s given apart.
    pub fn entitle_as(&self, ref_names: &[String], names: &[Reference]) -> Result<()> {
        let mut state = self.state();
        let top = state.top.take().ok_or_else(|| Error::invalid("copy", "no image came"))?;
        if self.flavour == Flavour::Docker {
            let what = format!("manifest {}", top.at.digest);
            let Parsed::Manifest(m) = manifest::parse(&top.bytes, &top.at.media_type, &what)?
            else {
                return Err(Error::unsupported(
                    "a list of several platforms in a docker archive",
                    "choose one with --platform, or use oci-archive",
                ));
            };
            // Docker's own spelling: `busybox:1`, `quay.io/a/b:1`.
            let short = self.short;
            let spelled = |n: &Reference| if short { n.familiar() } else { n.to_string() };
            let entry = Entry {
                config: blob_name(&m.config.digest),
                repo_tags: names.iter().map(spelled).collect(),
                layers: m.layers.iter().map(|l| blob_name(&l.digest)).collect(),
            };
            state.entries.push(entry);
        }
        let add = |ref_name: Option<&String>, name: Option<&Reference>| {
            let mut at = top.at.clone();
            at.annotations.extend(ref_name.map(|n| (REF_NAME.to_owned(), n.clone())));
            at.annotations.extend(name.map(|n| (FULL_NAME.to_owned(), n.to_string())));
            at
        };
        if ref_names.is_empty() {
            state.index.manifests.push(add(None, names.first()));
        }
        for (i, ref_name) in ref_names.iter().enumerate() {
            let entry = add(Some(ref_name), names.get(i));
            state.index.manifests.push(entry);
        }
        Ok(())
    }

    /// Writes the index and the archive's end; what it was written to.
    pub fn finish(self) -> Result<W> {
        let mut state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let json = |e| Error::invalid("archive index", e);
        let index = serde_json::to_vec(&state.index).map_err(json)?;
        state.add("index.json", &index)?;
        if self.flavour == Flavour::Docker {
            let entries = serde_json::to_vec(&state.entries).map_err(json)?;
            state.add("manifest.json", &entries)?;
        }
        let mut out = state.tar.into_inner().map_err(Error::at("write", &state.title))?;
        out.flush().map_err(Error::at("write", &state.title))?;
        Ok(out)
    }

    fn state(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Write> State<W> {
    fn add(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut header = header(bytes.len() as u64);
        let added = self.tar.append_data(&mut header, name, bytes);
        added.map_err(|e| Error::from_io("write", &self.title, e))
    }

    fn stream(&mut self, blob: &Descriptor, from: impl std::io::Read) -> Result<()> {
        let mut header = header(blob.size);
        let added = self.tar.append_data(&mut header, blob_name(&blob.digest), from);
        added.map_err(|e| Error::from_io("write", &self.title, e))
    }
}

/// A regular file with nothing in it that differs from run to run.
fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    header
}

impl<W: Write + Send> Sink for Archive<W> {
    fn signatures(&self) -> Signatures {
        Signatures::Refused("an archive")
    }

    fn images_only(&self) -> bool {
        self.flavour == Flavour::Docker
    }

    /// The same image is the same tar.
    fn in_turn(&self) -> bool {
        true
    }

    fn put(&self, part: Part<'_>) -> Result<&'static str> {
        let mut state = self.state();
        if state.written.insert(part.blob.digest.clone()) {
            let from = (part.open)()?;
            state.stream(part.blob, from)?;
        }
        Ok("written")
    }

    fn document(&self, document: &Document, top: bool) -> Result<()> {
        let mut state = self.state();
        if state.written.insert(document.at.digest.clone()) {
            state.add(&blob_name(&document.at.digest), &document.bytes)?;
        }
        if top {
            state.top = Some(document.clone());
        }
        Ok(())
    }
}
