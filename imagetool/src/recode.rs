//! An image in another form: its layers packed otherwise, its manifest docker's or OCI's. The
//! same image makes the same bytes. Layers' plain tars, and so the image's id and its files,
//! stay what they are.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::{DiffId, Hashing};
use crate::error::{Error, Result};
use crate::layer::compress::inflate;
use crate::layer::squeeze::Squeeze;
use crate::manifest::{
    Compression, DOCKER_CONFIG, DOCKER_LAYER_GZIP, DOCKER_LIST, DOCKER_MANIFEST, Descriptor, Index,
    OCI_CONFIG, OCI_INDEX, OCI_MANIFEST,
};

const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
const BUFFER: usize = 256 << 10;

/// Whose manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The image-spec's.
    Oci,
    /// Docker's, schema 2.
    Docker,
}

/// How layers are to be packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    /// As they are.
    #[default]
    AsTheyAre,
    /// All of them so.
    All(Compression),
    /// Those so that aren't packed at all.
    Plain(Compression),
}

/// What form an image is to have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recode {
    /// Whose manifests; those of the source if `None`.
    pub kind: Option<Kind>,
    /// The packing of its layers.
    pub packing: Packing,
    /// How hard to compress.
    pub level: Option<i32>,
    /// The destination's habit only, not what somebody asked for: a signed image stays as it is.
    pub habit: bool,
}

impl Recode {
    /// The form in which images are pushed: plain layers as gzip, as docker, podman and skopeo
    /// send them; all else as it is.
    pub fn pushed() -> Self {
        Self { packing: Packing::Plain(Compression::Gzip), habit: true, ..Self::default() }
    }

    /// Whether it can be done.
    pub fn check(&self) -> Result<()> {
        let wanted = match self.packing {
            Packing::All(c) | Packing::Plain(c) => c,
            Packing::AsTheyAre => Compression::None,
        };
        if self.kind == Some(Kind::Docker) && wanted == Compression::Zstd {
            return Err(Error::unsupported(
                "zstd in docker's manifests",
                "docker's kind knows gzip only: take --format oci",
            ));
        }
        let (least, most) = match wanted {
            Compression::None => return Ok(()),
            Compression::Gzip => (-1, 9),
            Compression::Zstd => (1, 22),
        };
        match self.level {
            Some(n) if n < least || n > most => {
                let why = format!("it goes from {least} to {most}");
                Err(Error::usage("compression level", n.to_string(), why))
            }
            _ => Ok(()),
        }
    }

    /// The kind that a manifest or an index of this type becomes.
    pub fn kind_of(&self, media_type: &str) -> Kind {
        let have = match media_type {
            DOCKER_MANIFEST | DOCKER_LIST => Kind::Docker,
            _ => Kind::Oci,
        };
        self.kind.unwrap_or(have)
    }

    /// How a layer is to be packed anew; `None` if it stays, or isn't a layer of files.
    pub fn repack(&self, layer: &Descriptor, kind: Kind) -> Option<Compression> {
        let have = Compression::of_layer(&layer.media_type)?;
        let wanted = match self.packing {
            Packing::All(wanted) => wanted,
            Packing::Plain(wanted) if have == Compression::None => wanted,
            _ => have,
        };
        // Docker's kind has no name for zstd.
        let wanted = match (kind, wanted) {
            (Kind::Docker, Compression::Zstd) => Compression::Gzip,
            _ => wanted,
        };
        (wanted != have).then_some(wanted)
    }
}

/// What a layer of any type is called in OCI's manifests, packed as it is.
pub fn as_oci(media_type: &str) -> Result<String> {
    let packed = Compression::of_layer(media_type).ok_or_else(|| {
        let what = format!("a layer of type {media_type:?}");
        Error::unsupported(what, "OCI has no type for it")
    })?;
    Ok(layer_type(media_type, packed, Kind::Oci))
}

/// What a layer is called that is packed so; a layer that isn't to be spread stays one.
pub fn layer_type(old: &str, packed: Compression, kind: Kind) -> String {
    let foreign = old.contains(".foreign.") || old.contains(".nondistributable.");
    match (kind, packed, foreign) {
        (Kind::Oci, packed, false) => packed.oci_layer().into(),
        (Kind::Oci, packed, true) => {
            let end = match packed {
                Compression::None => "",
                Compression::Gzip => "+gzip",
                Compression::Zstd => "+zstd",
            };
            format!("application/vnd.oci.image.layer.nondistributable.v1.tar{end}")
        }
        (Kind::Docker, Compression::None, false) => DOCKER_LAYER.into(),
        (Kind::Docker, Compression::None, true) => {
            "application/vnd.docker.image.rootfs.foreign.diff.tar".into()
        }
        (Kind::Docker, _, true) => {
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".into()
        }
        (Kind::Docker, _, false) => DOCKER_LAYER_GZIP.into(),
    }
}

/// A layer's descriptor in a manifest of another kind, its bytes the same.
pub fn layer_as(layer: &Descriptor, kind: Kind) -> Descriptor {
    let mut new = layer.clone();
    if let Some(packed) = Compression::of_layer(&layer.media_type) {
        new.media_type = layer_type(&layer.media_type, packed, kind);
    }
    if kind == Kind::Docker {
        new.annotations.clear();
    }
    new
}

/// A config's descriptor in a manifest of another kind, its bytes the same.
pub fn config_as(config: &Descriptor, kind: Kind) -> Descriptor {
    let mut new = config.clone();
    match (kind, config.media_type.as_str()) {
        (Kind::Oci, DOCKER_CONFIG) => OCI_CONFIG.clone_into(&mut new.media_type),
        (Kind::Docker, OCI_CONFIG) => DOCKER_CONFIG.clone_into(&mut new.media_type),
        _ => {}
    }
    if kind == Kind::Docker {
        new.annotations.clear();
    }
    new
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    artifact_type: String,
    config: Descriptor,
    layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<Value>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    #[serde(flatten)]
    extra: BTreeMap<String, Value>,
}

/// The manifest of the image in its new form; what doesn't change is kept.
pub fn manifest(
    old: &[u8],
    kind: Kind,
    config: Descriptor,
    layers: Vec<Descriptor>,
    what: &str,
) -> Result<Vec<u8>> {
    let bad = |e| Error::invalid(what, e);
    let mut new: Written = serde_json::from_slice(old).map_err(bad)?;
    (new.config, new.layers) = (config, layers);
    match kind {
        Kind::Oci => OCI_MANIFEST.clone_into(&mut new.media_type),
        Kind::Docker => {
            if !new.artifact_type.is_empty() || new.subject.is_some() {
                let what = format!("{what} as docker's manifest");
                return Err(Error::unsupported(what, "docker's kind has no artifacts"));
            }
            DOCKER_MANIFEST.clone_into(&mut new.media_type);
            new.annotations.clear();
            new.extra.clear();
        }
    }
    serde_json::to_vec(&new).map_err(bad)
}

/// The index over images in their new forms.
pub fn index(
    old: &Index,
    kind: Kind,
    manifests: Vec<Descriptor>,
) -> Result<(Vec<u8>, &'static str)> {
    let media_type = match kind {
        Kind::Oci => OCI_INDEX,
        Kind::Docker => DOCKER_LIST,
    };
    let mut new = Index { manifests, media_type: media_type.to_owned(), ..old.clone() };
    if kind == Kind::Docker {
        new.annotations.clear();
        new.manifests.iter_mut().for_each(|m| m.annotations.clear());
        new.extra.clear();
    }
    let bytes = serde_json::to_vec(&new).map_err(|e| Error::invalid("index", e))?;
    Ok((bytes, media_type))
}

/// Reads a layer, however it is packed, to its end, and writes it packed anew. `diff_id` is what it must be
/// unpacked, where its source doesn't see to that.
pub fn squeeze(
    mut from: &mut dyn Read,
    to: &mut dyn Write,
    packed: Compression,
    level: Option<i32>,
    diff_id: Option<&DiffId>,
    what: &str,
) -> Result<()> {
    let mut plain = inflate(&mut from)?.1;
    let mut squeeze = Squeeze::by(packed, to, level);
    let got = match diff_id {
        None => {
            pour(&mut plain, &mut squeeze, what)?;
            drop(plain);
            None
        }
        Some(want) => {
            let mut plain = Hashing::new(plain, want.algorithm());
            pour(&mut plain, &mut squeeze, what)?;
            Some(plain.finish().1)
        }
    };
    squeeze.finish().map_err(|e| Error::from_io("write", what, e))?;
    // What comes after a stream's end is read, too: only then the source has checked all.
    pour(&mut from, &mut io::sink(), what)?;
    match (diff_id, got) {
        (Some(want), Some(got)) if *want != got => {
            let what = format!("{what}, unpacked,");
            Err(Error::Digest { what, want: want.clone(), got })
        }
        _ => Ok(()),
    }
}

fn pour(from: &mut dyn Read, to: &mut dyn Write, what: &str) -> Result<()> {
    let mut buf = vec![0; BUFFER];
    loop {
        let n = match from.read(&mut buf) {
            Ok(0) => return Ok(()),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::from_io("read", what, e)),
        };
        to.write_all(&buf[..n]).map_err(|e| Error::from_io("write", what, e))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::manifest::{OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD};

    fn packed(from: &[u8], how: Compression, want: &Digest) -> Result<Vec<u8>> {
        let (mut from, mut to) = (from, Vec::new());
        squeeze(&mut from, &mut to, how, None, Some(want), "layer").map(|()| to)
    }

    #[test]
    fn a_layer_goes_round_all_packings_and_is_checked() {
        let plain = b"some tar, or what stands for one".repeat(5000);
        let id = Digest::of(&plain);
        let gzip = packed(&plain, Compression::Gzip, &id).unwrap();
        let zstd = packed(&gzip, Compression::Zstd, &id).unwrap();
        assert_eq!(packed(&zstd, Compression::None, &id).unwrap(), plain);
        assert_eq!(packed(&zstd, Compression::Gzip, &id).unwrap(), gzip, "same in, same out");
        assert!(packed(&zstd, Compression::Gzip, &Digest::of(b"x")).is_err());
        assert!(packed(&gzip[..gzip.len() - 1], Compression::None, &id).is_err());
    }

    #[test]
    fn names_of_layers_go_round_both_kinds() {
        for old in [OCI_LAYER, OCI_LAYER_GZIP] {
            let layer = Descriptor::new(old, Digest::of(b""), 0);
            let docker = layer_as(&layer, Kind::Docker);
            assert!(docker.media_type.contains("docker"));
            assert_eq!(layer_as(&docker, Kind::Oci), layer);
        }
        let recode = Recode { kind: Some(Kind::Docker), ..Recode::default() };
        let zstd = Descriptor::new(OCI_LAYER_ZSTD, Digest::of(b""), 0);
        assert_eq!(recode.repack(&zstd, Kind::Docker), Some(Compression::Gzip));
        assert_eq!(recode.repack(&zstd, Kind::Oci), None);
    }

    #[test]
    fn what_a_manifest_says_besides_is_kept() {
        let d = Descriptor::new("x", Digest::of(b""), 0);
        let text = serde_json::json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "artifactType": "a/b", "config": d, "layers": [], "annotations": {"k": "v"}, "new": 1 });
        let old = serde_json::to_vec(&text).unwrap();
        let new = manifest(&old, Kind::Oci, d.clone(), vec![d.clone()], "m").unwrap();
        let new: Value = serde_json::from_slice(&new).unwrap();
        assert_eq!((&new["annotations"]["k"], &new["new"]), (&"v".into(), &1.into()));
        assert_eq!(new["layers"].as_array().unwrap().len(), 1);
        assert!(manifest(&old, Kind::Docker, d, vec![], "m").is_err());
    }

    #[test]
    fn levels_are_bounded_and_docker_has_no_zstd() {
        let recode = |packing, level, kind| Recode { packing, level, kind, habit: false };
        assert!(recode(Packing::All(Compression::Gzip), Some(10), None).check().is_err());
        assert!(recode(Packing::All(Compression::Zstd), Some(19), None).check().is_ok());
        let zstd = Packing::All(Compression::Zstd);
        assert!(recode(zstd, None, Some(Kind::Docker)).check().is_err());
    }
}
