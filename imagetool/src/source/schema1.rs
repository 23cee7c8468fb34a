//! Docker's manifests of schema 1, retired in 2017, read as what they became: a manifest of schema
//! 2 and a config. They name neither the sizes of layers nor what is in them, so each layer is
//! read once to learn it, and again when it is copied.
//!
//! SPEC: distribution's manifest-v2-1.md.

use std::io::{self, Read};
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Document, Source};
use crate::digest::{Algorithm, Digest, Hashing};
use crate::error::{Error, Result};
use crate::layer::compress::inflate;
use crate::manifest::{
    DOCKER_CONFIG, DOCKER_LAYER_GZIP, DOCKER_MANIFEST, Descriptor, MAX_LAYERS, Manifest,
};
use crate::reference::Reference;
use crate::snapshot::side_by_side;
use crate::trust::Signature;

/// A document of this schema.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Schema1 {
    schema_version: u32,
    fs_layers: Vec<Sum>,
    history: Vec<Compatibility>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sum {
    blob_sum: Digest,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Compatibility {
    v1_compatibility: String,
}

/// What a layer's own record says.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Record {
    created: Option<String>,
    author: Option<String>,
    comment: Option<String>,
    container_config: Option<Command>,
    throwaway: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Command {
    cmd: Option<Vec<String>>,
}

/// Whether a document is of this schema.
pub(crate) fn is(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        schema_version: u32,
    }
    serde_json::from_slice::<Version>(bytes).is_ok_and(|v| v.schema_version == 1)
}

/// A document's digest as registries have it: without its own signatures, if it is signed.
pub fn digest(bytes: &[u8]) -> Digest {
    payload(bytes).map_or_else(|| Digest::of(bytes), |signed| Digest::of(&signed))
}

/// What is signed: all up to where the signatures were put in, and what came after.
pub(crate) fn payload(bytes: &[u8]) -> Option<Vec<u8>> {
    if !is(bytes) {
        return None;
    }
    let document: Value = serde_json::from_slice(bytes).ok()?;
    let protected = document["signatures"].as_array()?.first()?["protected"].as_str()?;
    let protected: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(protected).ok()?).ok()?;
    let length = usize::try_from(protected["formatLength"].as_u64()?).ok()?;
    let tail = URL_SAFE_NO_PAD.decode(protected["formatTail"].as_str()?).ok()?;
    Some([bytes.get(..length)?, &tail].concat())
}

/// An image of this schema, as one of schema 2.
pub(crate) struct Upgraded<'a> {
    inner: &'a dyn Source,
    config: (Descriptor, Vec<u8>),
    manifest: Document,
}

impl<'a> Upgraded<'a> {
    /// Reads each layer to learn what it is.
    pub(crate) fn new(inner: &'a dyn Source, old: &Document) -> Result<Self> {
        let what = format!("manifest {}", old.at.digest);
        let (layers, records, top) = read(&old.bytes, &what)?;
        let learned = side_by_side(&layers, |digest| learn(inner, digest))?;
        let diff_ids: Vec<&Digest> = learned.iter().map(|(_, diff_id)| diff_id).collect();
        let config = config(top, &records, &diff_ids);
        let config = serde_json::to_vec(&config).map_err(|e| Error::invalid(&what, e))?;
        let about = Descriptor::of(DOCKER_CONFIG, &config);
        let manifest = Manifest {
            schema_version: 2,
            media_type: DOCKER_MANIFEST.to_owned(),
            config: about.clone(),
            layers: learned.iter().map(|(layer, _)| layer.clone()).collect(),
            annotations: std::collections::BTreeMap::new(),
        };
        let bytes = serde_json::to_vec(&manifest).map_err(|e| Error::invalid(what, e))?;
        let at = Descriptor::of(DOCKER_MANIFEST, &bytes);
        Ok(Self { inner, config: (about, config), manifest: Document { bytes, at } })
    }
}

/// The layers, lowest first, all records, and the topmost one whole.
type Contents = (Vec<Digest>, Vec<Record>, Map<String, Value>);

fn read(bytes: &[u8], what: &str) -> Result<Contents> {
    let bad = |e: &dyn std::fmt::Display| Error::invalid(what, e);
    let old: Schema1 = serde_json::from_slice(bytes).map_err(|e| bad(&e))?;
    let count = old.fs_layers.len();
    if old.schema_version != 1 || count == 0 || count != old.history.len() || count > MAX_LAYERS {
        return Err(bad(&"its layers and its history don't fit"));
    }
    let top = serde_json::from_str(&old.history[0].v1_compatibility).map_err(|e| bad(&e))?;
    let record = |h: &Compatibility| serde_json::from_str(&h.v1_compatibility);
    let records: Vec<Record> =
        old.history.iter().rev().map(record).collect::<Result<_, _>>().map_err(|e| bad(&e))?;
    // A record without files has a layer all the same, an empty one.
    let all = old.fs_layers.into_iter().rev().map(|l| l.blob_sum).zip(&records);
    let layers = all.filter(|(_, record)| !record.throwaway).map(|(sum, _)| sum).collect();
    Ok((layers, records, top))
}

/// The topmost record, without what only schema 1 knew, and with what only schema 2 knows.
fn config(mut top: Map<String, Value>, records: &[Record], diff_ids: &[&Digest]) -> Value {
    for old in ["id", "parent", "Size", "parent_id", "layer_id", "throwaway"] {
        top.remove(old);
    }
    let step = |record: &Record| {
        let command = record.container_config.as_ref().and_then(|c| c.cmd.as_ref());
        let mut step = Map::new();
        let texts = [
            ("created", record.created.clone()),
            ("author", record.author.clone()),
            ("created_by", command.map(|c| c.join(" "))),
            ("comment", record.comment.clone()),
        ];
        for (key, text) in texts {
            step.extend(text.filter(|t| !t.is_empty()).map(|t| (key.to_owned(), t.into())));
        }
        if record.throwaway {
            step.insert("empty_layer".into(), true.into());
        }
        Value::Object(step)
    };
    top.insert("rootfs".into(), json!({ "type": "layers", "diff_ids": diff_ids }));
    top.insert("history".into(), records.iter().map(step).collect());
    Value::Object(top)
}

/// A layer's size, and the digest of its plain tar.
fn learn(inner: &dyn Source, digest: &Digest) -> Result<(Descriptor, Digest)> {
    let size = inner.size(digest)?;
    let mut layer = Descriptor::new(DOCKER_LAYER_GZIP, digest.clone(), size);
    let what = format!("layer {digest}");
    let failed = |e| Error::from_io("read", &what, e);
    let mut from = inner.blob(&layer)?;
    let (packed, plain) = inflate(&mut from)?;
    let mut plain = Hashing::new(plain, Algorithm::Sha256);
    io::copy(&mut plain, &mut io::sink()).map_err(failed)?;
    let (_, diff_id, _) = plain.finish();
    io::copy(&mut from, &mut io::sink()).map_err(failed)?;
    drop(from);
    layer.media_type = crate::recode::layer_type("", packed, crate::recode::Kind::Docker);
    Ok((layer, diff_id))
}

impl Source for Upgraded<'_> {
    fn root(&self) -> Result<Document> {
        Ok(self.manifest.clone())
    }

    fn document(&self, at: &Descriptor) -> Result<Document> {
        Err(Error::invalid(format!("manifest {}", at.digest), "schema 1 has no lists"))
    }

    fn blob<'a>(&'a self, blob: &'a Descriptor) -> Result<Box<dyn Read + Send + 'a>> {
        if blob.digest == self.config.0.digest {
            return Ok(Box::new(&self.config.1[..]));
        }
        self.inner.blob(blob)
    }

    fn spooled(&self, blob: &Digest) -> Option<PathBuf> {
        self.inner.spooled(blob)
    }

    fn signatures(&self, _of: &Digest) -> Result<Vec<Signature>> {
        Ok(Vec::new())
    }

    fn names(&self) -> Vec<Reference> {
        self.inner.names()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn manifest() -> Vec<u8> {
        let sum = |text: &str| json!({ "blobSum": Digest::of(text.as_bytes()) });
        let old = |text: &str| json!({ "v1Compatibility": text });
        let top = r#"{"id":"b","parent":"a","os":"linux","architecture":"amd64","throwaway":true,
            "config":{"Cmd":["sh"]},"container_config":{"Cmd":["x","y"]},"created":"2001-01-01T00:00:00Z"}"#;
        let document = json!({ "schemaVersion": 1, "fsLayers": [sum("top"), sum("low")],
            "history": [old(top), old(r#"{"id":"a","author":"me"}"#)] });
        serde_json::to_vec(&document).unwrap()
    }

    #[test]
    fn what_it_became() {
        assert!(is(&manifest()) && !is(br#"{"schemaVersion":2}"#));
        let (layers, records, top) = read(&manifest(), "m").unwrap();
        assert_eq!(layers, [Digest::of(b"low")]);
        let plain = Digest::of(b"plain");
        let config = config(top, &records, &[&plain]);
        assert_eq!(config["rootfs"]["diff_ids"][0], plain.to_string());
        assert_eq!(config["history"][0], json!({ "author": "me" }));
        assert_eq!(config["history"][1]["created_by"], "x y");
        assert_eq!(config["history"][1]["empty_layer"], true);
        assert!(config.get("id").is_none() && config.get("throwaway").is_none());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let text = String::from_utf8(manifest()).unwrap();
        for (from, to) in [("sha256:", "sha256:.."), ("\"fsLayers\":[", "\"fsLayers\":[],\"x\":[")]
        {
            assert!(read(text.replacen(from, to, 1).as_bytes(), "m").is_err(), "{to}");
        }
        assert_eq!(digest(&manifest()), Digest::of(&manifest()));
    }

    proptest! {
        #[test]
        fn reading_never_panics(s in "\\PC{0,80}", n in any::<u64>(), p in "[a-zA-Z0-9_-]{0,40}") {
            let _ = (read(s.as_bytes(), "m"), is(s.as_bytes()));
            let inner = json!({ "formatLength": n, "formatTail": p }).to_string();
            let protected = URL_SAFE_NO_PAD.encode(inner);
            let signed = json!({ "schemaVersion": 1, "signatures": [{ "protected": protected }] });
            let _ = digest(signed.to_string().as_bytes());
        }
    }
}
