//! What `docker save` writes: `manifest.json`, a config and layers by name. Its images
//! have no manifest of their own, so one is made; the same archive makes the same one.

use std::io::Read;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer};

use super::{Document, Files, Source, Tarball};
use crate::config::ImageConfig;
use crate::digest::{Algorithm, Digest, Hashing, Verified};
use crate::error::{Error, Result};
use crate::manifest::{
    Compression, Descriptor, MAX_CONFIG, MAX_LAYERS, MAX_MANIFEST, Manifest, OCI_CONFIG,
    OCI_MANIFEST,
};
use crate::reference::Reference;
use crate::strict;
use crate::transport::Which;

/// An image's entry in `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Entry {
    pub config: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub layers: Vec<String>,
}

fn null_is_empty<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or_default())
}

/// One image of a docker archive.
pub struct DockerArchive<'a> {
    tar: &'a Tarball,
    names: Vec<Reference>,
    config: (Descriptor, Vec<u8>),
    /// Each layer's blob, and its file's name.
    layers: Vec<(Descriptor, String)>,
    manifest: Document,
}

/// Reads `manifest.json`.
pub(crate) fn parse(bytes: &[u8], what: &str) -> Result<Vec<Entry>> {
    let all: Vec<Entry> = serde_json::from_slice(bytes).map_err(|e| Error::invalid(what, e))?;
    strict::check(bytes).map_err(|e| Error::invalid(what, e))?;
    if all.iter().any(|e| e.layers.len() > MAX_LAYERS) {
        return Err(Error::invalid(what, format!("an image has more than {MAX_LAYERS} layers")));
    }
    Ok(all)
}

/// The entries of an archive.
pub(crate) fn entries(tar: &Tarball) -> Result<Vec<Entry>> {
    if !tar.has("manifest.json") {
        return Err(none(tar));
    }
    let what = format!("manifest.json in {}", tar.title());
    parse(&tar.read("manifest.json", MAX_MANIFEST)?, &what)
}

/// Why this is no archive of images.
fn none(tar: &Tarball) -> Error {
    let why = if tar.has("repositories") {
        "it was written by a docker older than 1.10: load and save it with a newer one"
    } else {
        "it is neither a docker archive (manifest.json) nor an OCI one (oci-layout); to make an image of a root file system's tar, use import"
    };
    Error::invalid(tar.title(), why)
}

impl<'a> DockerArchive<'a> {
    /// Opens one image of an archive.
    pub fn open(tar: &'a Tarball, which: &Which) -> Result<Self> {
        let all = entries(tar)?;
        let title = tar.title();
        let found = match which {
            Which::Nth(n) => all.get(*n),
            Which::Of(id) => {
                return Err(Error::usage("place", id.to_string(), "choose by name or by number"));
            }
            Which::Only if all.len() > 1 => {
                let names: Vec<&str> =
                    all.iter().flat_map(|e| &e.repo_tags).map(String::as_str).collect();
                let why = format!("it holds several images; say which: {}", names.join(", "));
                return Err(Error::usage("place", title, why));
            }
            Which::Only => all.first(),
            Which::Named(name) => {
                let wanted = Reference::parse_normal(name)?.tagged();
                all.iter().find(|e| names(e).contains(&wanted))
            }
        };
        let missing = || Error::NotFound {
            what: "image",
            name: format!("{which} in {title}").trim_start_matches(':').to_owned(),
            hint: String::new(),
        };
        Self::at(tar, found.ok_or_else(missing)?)
    }

    /// The image's id.
    pub(crate) fn config_digest(&self) -> &Digest {
        &self.config.0.digest
    }

    /// The image of an entry.
    pub(crate) fn at(tar: &'a Tarball, entry: &Entry) -> Result<Self> {
        let what = format!("{} in {}", entry.config, tar.title());
        let bytes = tar.read(&entry.config, MAX_CONFIG)?;
        let diff_ids = ImageConfig::parse(&bytes, &what)?.rootfs.diff_ids;
        if diff_ids.len() != entry.layers.len() {
            let why =
                format!("it names {} layers, manifest.json {}", diff_ids.len(), entry.layers.len());
            return Err(Error::invalid(what, why));
        }
        let layers = entry.layers.iter().zip(&diff_ids);
        let layers: Vec<(Descriptor, String)> = layers
            .map(|(name, diff_id)| Ok((describe(tar, name, diff_id)?, name.clone())))
            .collect::<Result<_>>()?;
        let config = Descriptor::of(OCI_CONFIG, &bytes);
        let manifest = Manifest {
            schema_version: 2,
            media_type: OCI_MANIFEST.to_owned(),
            config: config.clone(),
            layers: layers.iter().map(|(d, _)| d.clone()).collect(),
            annotations: std::collections::BTreeMap::new(),
        };
        let document = serde_json::to_vec(&manifest).map_err(|e| Error::invalid(what, e))?;
        let at = Descriptor::of(OCI_MANIFEST, &document);
        let manifest = Document { bytes: document, at };
        Ok(Self { tar, names: names(entry), config: (config, bytes), layers, manifest })
    }
}

/// The names an entry gives its image; one that can't be read, or given, is none.
pub(crate) fn names(entry: &Entry) -> Vec<Reference> {
    let parse = |t: &String| Reference::parse_normal(t).ok().map(Reference::tagged);
    entry.repo_tags.iter().filter_map(parse).filter(Reference::can_be_given).collect()
}

/// A layer file's descriptor. A plain tar's digest is its diff id (checked when it is
/// read); a compressed one is hashed now, unless it was hashed on its way in.
fn describe(tar: &Tarball, name: &str, diff_id: &Digest) -> Result<Descriptor> {
    let (head, size) = tar.begins(name)?;
    let packed = Compression::sniff(&head);
    let media_type = packed.oci_layer();
    if packed == Compression::None {
        return Ok(Descriptor::new(media_type, diff_id.clone(), size));
    }
    if let Some(known) = tar.digest(name) {
        return Ok(Descriptor::new(media_type, known.clone(), size));
    }
    let (reader, _) = tar.open(name)?;
    let mut hashing = Hashing::new(reader, Algorithm::Sha256);
    let failed = |e| Error::from_io("read", format!("{name} in {}", tar.title()), e);
    std::io::copy(&mut hashing, &mut std::io::sink()).map_err(failed)?;
    let (_, digest, _) = hashing.finish();
    Ok(Descriptor::new(media_type, digest, size))
}

impl Source for DockerArchive<'_> {
    fn root(&self) -> Result<Document> {
        Ok(self.manifest.clone())
    }

    fn document(&self, at: &Descriptor) -> Result<Document> {
        Err(Error::invalid(format!("manifest {}", at.digest), "a docker archive has no lists"))
    }

    fn blob<'a>(&'a self, blob: &'a Descriptor) -> Result<Box<dyn Read + Send + 'a>> {
        if blob.digest == self.config.0.digest {
            return Ok(Box::new(&self.config.1[..]));
        }
        let found = self.layers.iter().find(|(d, _)| d.digest == blob.digest);
        let Some((_, name)) = found else {
            return Err(Error::invalid(format!("blob {}", blob.digest), "it isn't in the archive"));
        };
        let (reader, _) = self.tar.open(name)?;
        let what = format!("{name} in {}", self.tar.title());
        Ok(Box::new(Verified::new(reader, &blob.digest, blob.size, what)))
    }

    fn spooled(&self, blob: &Digest) -> Option<PathBuf> {
        self.tar.spooled(blob)
    }

    fn names(&self) -> Vec<Reference> {
        self.names.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nulls_are_empty_and_lists_are_bounded() {
        let all = parse(br#"[{"Config":"c","RepoTags":null,"Layers":["a"]},{"Config":"d"}]"#, "m");
        assert_eq!(all.unwrap()[0].layers, ["a"]);
        assert!(parse(br#"{"Config":"c"}"#, "m").is_err());
        let many = format!(r#"[{{"Config":"c","Layers":[{}"x"]}}]"#, "\"x\",".repeat(600));
        assert!(parse(many.as_bytes(), "m").is_err());
    }

    #[test]
    fn an_archive_promises_no_digest_and_looks_like_no_id() {
        let zeros = "0".repeat(64);
        let tags = ["x:1", &format!("x@sha256:{zeros}"), &format!("sha256:{zeros}"), "\u{1b}[0m"];
        let tags: Vec<String> = tags.map(str::to_owned).to_vec();
        let entry = Entry { config: String::new(), repo_tags: tags, layers: vec![] };
        assert_eq!(names(&entry), ["docker.io/library/x:1".parse().unwrap()]);
    }

    proptest! {
        #[test]
        fn parsing_never_panics(s in "(\\[|\\]|\\{|\\}|\"Config\"|\"Layers\"|:|,|null|1|\"x\"){0,30}") {
            let _ = parse(s.as_bytes(), "m");
        }
    }
}
