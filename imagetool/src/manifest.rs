//! Manifests, indexes and descriptors, docker's and OCI's alike, read as hostile input.
//!
//! SPEC: image-spec manifest.md, image-index.md, descriptor.md; docker manifest v2 schema 2.
//! Our own types: a digest here is parsed, a size is never negative, unknown fields are
//! kept out of decisions. The raw bytes of a manifest are what is stored and pushed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::platform::Platform;
use crate::strict;

/// `application/vnd.oci.image.manifest.v1+json`
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// `application/vnd.oci.image.index.v1+json`
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// `application/vnd.oci.image.config.v1+json`
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// A plain tar layer.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// A gzip layer.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// A zstd layer.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Docker's manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's image config.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker's gzip layer.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// The annotation of an index entry that names it.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// No manifest is larger than this: docker and containers/image hold the same bound.
pub const MAX_MANIFEST: u64 = 4 << 20;
/// No image config is larger than this.
pub const MAX_CONFIG: u64 = 8 << 20;
/// No image has more layers than this (overlayfs takes 500).
pub const MAX_LAYERS: usize = 500;

/// What a layer's or manifest's bytes are, where they are, and how many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type, verbatim.
    #[serde(default)]
    pub media_type: String,
    /// The digest of the bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// Other places to get the bytes. Never sent credentials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Free text by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// In an index: what the manifest is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Whatever else it holds, kept for writing back.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl Descriptor {
    /// A bare descriptor of some bytes.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    /// A bare descriptor.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
            extra: BTreeMap::new(),
        }
    }

    /// The name an index entry carries.
    pub fn ref_name(&self) -> Option<&str> {
        self.annotations.get(REF_NAME).map(String::as_str)
    }

    /// The bytes themselves, if the descriptor carries them; checked.
    /// SPEC: image-spec descriptor.md, `data`.
    pub fn embedded(&self, what: &str) -> Result<Option<Vec<u8>>> {
        use base64::Engine as _;
        let Some(data) = self.extra.get("data").filter(|d| !d.is_null()) else { return Ok(None) };
        let text = data.as_str().ok_or_else(|| Error::invalid(what, "/data must be a string"))?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(text);
        let bytes = bytes.map_err(|e| Error::invalid(what, format!("/data: {e}")))?;
        if bytes.len() as u64 != self.size {
            let got = bytes.len() as u64;
            return Err(Error::Size { what: what.to_owned(), want: self.size, got });
        }
        let mut hash = crate::digest::Hasher::new(self.digest.algorithm());
        hash.update(&bytes);
        match hash.finish() {
            got if got == self.digest => Ok(Some(bytes)),
            got => Err(Error::Digest { what: what.to_owned(), want: self.digest.clone(), got }),
        }
    }

    /// Whether it names an index (manifest list).
    pub fn is_index(&self) -> bool {
        matches!(self.media_type.as_str(), OCI_INDEX | DOCKER_LIST)
    }

    /// Whether it names an image manifest.
    pub fn is_manifest(&self) -> bool {
        matches!(self.media_type.as_str(), OCI_MANIFEST | DOCKER_MANIFEST)
    }
}

/// Whether a config's media type is an image's.
pub fn is_image_config(media_type: &str) -> bool {
    // Very old pushers wrote octet-stream; the config itself is parsed anyway.
    matches!(media_type, OCI_CONFIG | DOCKER_CONFIG | "application/octet-stream" | "")
}

/// How a layer's tar is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip
    Gzip,
    /// zstd
    Zstd,
}

impl Compression {
    /// What a layer's media type says; `None` if it isn't a file system layer.
    pub fn of_layer(media_type: &str) -> Option<Self> {
        Some(match media_type {
            OCI_LAYER
            | "application/vnd.oci.image.layer.nondistributable.v1.tar"
            | "application/vnd.docker.image.rootfs.diff.tar" => Self::None,
            OCI_LAYER_GZIP
            | DOCKER_LAYER_GZIP
            | "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
            | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => Self::Gzip,
            OCI_LAYER_ZSTD
            | "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"
            | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Self::Zstd,
            _ => return None,
        })
    }

    /// OCI's media type of a layer that is packed so.
    pub fn oci_layer(self) -> &'static str {
        match self {
            Self::None => OCI_LAYER,
            Self::Gzip => OCI_LAYER_GZIP,
            Self::Zstd => OCI_LAYER_ZSTD,
        }
    }

    /// What the first bytes of a stream say.
    pub fn sniff(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// An image: one config and its layers, lowest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// The manifest's own media type.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// Where the image config is.
    pub config: Descriptor,
    /// Lowest first.
    pub layers: Vec<Descriptor>,
    /// Free text by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A list of manifests, one a platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// The index's own media type.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// The manifests.
    pub manifests: Vec<Descriptor>,
    /// Free text by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Whatever else it holds, kept for writing back.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            schema_version: 2,
            media_type: OCI_INDEX.to_owned(),
            manifests: Vec::new(),
            annotations: BTreeMap::new(),
            extra: BTreeMap::new(),
        }
    }
}

/// What a reference can lead to.
#[allow(clippy::large_enum_variant)] // there is one at a time
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// An image.
    Manifest(Manifest),
    /// A list of images.
    Index(Index),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: Option<u32>,
    #[serde(default)]
    media_type: String,
    manifests: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
    fs_layers: Option<serde::de::IgnoredAny>,
}

/// Reads a manifest or an index. `declared` is the media type the descriptor or the
/// Content-Type header gave ("" if unknown); `what` names the document in errors.
///
/// CVE: 2021-41190: a document that can be read as both is refused, and so is one whose
/// own media type contradicts how it was announced.
pub fn parse(bytes: &[u8], declared: &str, what: &str) -> Result<Parsed> {
    let bad = |why: &dyn std::fmt::Display| Error::invalid(what, why);
    let shape: Shape = serde_json::from_slice(bytes).map_err(|e| bad(&e))?;
    strict::check(bytes).map_err(|e| bad(&e))?;
    if shape.schema_version == Some(1) || shape.fs_layers.is_some() {
        return Err(Error::unsupported(
            format!("{what}: docker's manifest schema 1"),
            "it was retired in 2017; have the image pushed again with a current tool",
        ));
    }
    if shape.schema_version != Some(2) {
        return Err(bad(&"/schemaVersion must be 2"));
    }
    let (index, image) =
        (shape.manifests.is_some(), shape.layers.is_some() || shape.config.is_some());
    if index && image {
        return Err(bad(&"it has both /manifests and /layers"));
    }
    let known = |t: &str| matches!(t, OCI_INDEX | DOCKER_LIST | OCI_MANIFEST | DOCKER_MANIFEST);
    if known(declared) && !shape.media_type.is_empty() && shape.media_type != declared {
        return Err(bad(&format!(
            "/mediaType is {:?}, announced was {declared:?}",
            shape.media_type
        )));
    }
    let kind = if known(declared) { declared } else { shape.media_type.as_str() };
    match (kind, index) {
        (OCI_INDEX | DOCKER_LIST | "", true) => {
            let mut i: Index = serde_json::from_slice(bytes).map_err(|e| bad(&e))?;
            if i.media_type.is_empty() {
                OCI_INDEX.clone_into(&mut i.media_type);
            }
            Ok(Parsed::Index(i))
        }
        (OCI_MANIFEST | DOCKER_MANIFEST | "", false) => {
            let mut m: Manifest = serde_json::from_slice(bytes).map_err(|e| bad(&e))?;
            if m.layers.len() > MAX_LAYERS {
                return Err(bad(&format!("it has more than {MAX_LAYERS} layers")));
            }
            if m.media_type.is_empty() {
                let kind = if known(declared) { declared } else { OCI_MANIFEST };
                kind.clone_into(&mut m.media_type);
            }
            Ok(Parsed::Manifest(m))
        }
        (other, _) => Err(bad(&format!("the media type {other:?} is not an image's"))),
    }
}

/// The entry of an index that fits `platform` best.
pub fn choose<'a>(index: &'a Index, platform: &Platform, what: &str) -> Result<&'a Descriptor> {
    index
        .manifests
        .iter()
        .filter(|d| d.is_manifest() || d.media_type.is_empty())
        .filter_map(|d| Some((d.platform.as_ref()?.fits(platform)?, d)))
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, d)| d)
        .ok_or_else(|| {
            let all: Vec<String> = index
                .manifests
                .iter()
                .filter_map(|d| d.platform.as_ref().map(ToString::to_string))
                .filter(|p| !p.starts_with("unknown"))
                .collect();
            Error::NotFound {
                what: "manifest",
                name: format!("{what} for {platform}"),
                hint: format!("it has {}", all.join(", ")),
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn descriptor() -> String {
        format!(r#"{{"mediaType":"x","digest":"{}","size":1}}"#, Digest::of(b""))
    }

    fn image() -> String {
        format!(r#"{{"schemaVersion":2,"config":{d},"layers":[{d}]}}"#, d = descriptor())
    }

    #[test]
    fn an_image_parses_with_or_without_a_media_type() {
        assert!(matches!(parse(image().as_bytes(), "", "m"), Ok(Parsed::Manifest(_))));
        assert!(matches!(parse(image().as_bytes(), DOCKER_MANIFEST, "m"), Ok(Parsed::Manifest(_))));
    }

    #[test]
    fn type_confusion_is_refused() {
        let both = image().replace("\"layers\"", "\"manifests\":[],\"layers\"");
        assert!(parse(both.as_bytes(), "", "m").is_err());
        assert!(parse(image().as_bytes(), OCI_INDEX, "m").is_err());
        let said =
            image().replace("{\"schema", &format!("{{\"mediaType\":\"{OCI_INDEX}\",\"schema"));
        assert!(parse(said.as_bytes(), OCI_MANIFEST, "m").is_err());
    }

    #[test]
    fn hostile_values_are_refused() {
        for (from, to) in [
            ("\"size\":1", "\"size\":-1"),
            ("\"size\":1", "\"size\":1e99"),
            ("sha256:", "sha256:../"),
            ("\"schemaVersion\":2", "\"schemaVersion\":3"),
        ] {
            assert!(parse(image().replace(from, to).as_bytes(), "", "m").is_err(), "{to}");
        }
    }

    #[test]
    fn schema_1_is_named() {
        let e = parse(br#"{"schemaVersion":1,"fsLayers":[]}"#, "", "m").unwrap_err();
        assert!(e.to_string().contains("schema 1"), "{e}");
    }

    proptest! {
        #[test]
        fn parsing_never_panics(b in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&b, "", "m");
        }
    }
}
