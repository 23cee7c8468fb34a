//! What is known about an image in any place, as `skopeo inspect` tells it.

use std::collections::BTreeMap;
use std::io::Read;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use crate::digest::{Algorithm, Digest, Hasher, Verified};
use crate::error::{Error, Result};
use crate::manifest::{self, Descriptor, MAX_CONFIG, Manifest, Parsed};
use crate::platform::Platform;
use crate::source::schema1::{self, Upgraded};
use crate::source::{Document, Source};

/// Lists within lists end here.
const MAX_DEPTH: u8 = 3;

/// An image, as far as it is looked at.
pub struct Looked {
    /// What the name leads to: a manifest or a list.
    pub root: Document,
    /// The manifest for the platform.
    pub manifest: Manifest,
    /// The same, byte for byte.
    pub chosen: Document,
    source_config: Vec<u8>,
}

/// What the name leads to, and nothing else.
pub fn raw(source: &dyn Source) -> Result<Document> {
    source.recorded()
}

/// Looks at an image.
pub fn look(source: &dyn Source, platform: Option<&Platform>) -> Result<Looked> {
    let root = source.recorded()?;
    if schema1::is(&root.bytes) {
        let upgraded = Upgraded::new(source, &root)?;
        let Looked { manifest, chosen, source_config, .. } = look(&upgraded, platform)?;
        return Ok(Looked { root, manifest, chosen, source_config });
    }
    let (chosen, manifest) = one(source, root.clone(), platform)?;
    let config = &manifest.config;
    if !manifest::is_image_config(&config.media_type) {
        let what = format!("inspecting an artifact of type {:?}", config.media_type);
        return Err(Error::unsupported(what, "it is no container image; --raw prints it"));
    }
    let source_config = document(source, config)?;
    Ok(Looked { root, manifest, chosen, source_config })
}

/// The manifest of one platform.
fn one(
    source: &dyn Source,
    mut at: Document,
    platform: Option<&Platform>,
) -> Result<(Document, Manifest)> {
    let wanted = platform.cloned().unwrap_or_else(Platform::host);
    let what = format!("manifest {}", at.at.digest);
    for _ in 0..MAX_DEPTH {
        match manifest::parse(&at.bytes, &at.at.media_type, &what)? {
            Parsed::Manifest(manifest) => {
                at.at.media_type.clone_from(&manifest.media_type);
                return Ok((at, manifest));
            }
            Parsed::Index(index) => {
                let chosen = manifest::choose(&index, &wanted, &what);
                at = source.document(chosen.map_err(|_| no_instance(&wanted))?)?;
            }
        }
    }
    Err(Error::invalid(what, "lists within lists"))
}

/// skopeo's words, quoted as its log quotes them: scripts look for them so.
fn no_instance(wanted: &Platform) -> Error {
    let Platform { os, architecture, variant, .. } = wanted;
    let text = format!(
        "Error parsing manifest for image: choosing image instance: no image found in manifest list for architecture {architecture:?}, variant {variant:?}, OS {os:?}"
    );
    Error::Conflict(format!("{text:?}"))
}

fn document(source: &dyn Source, at: &Descriptor) -> Result<Vec<u8>> {
    let what = format!("image config {}", at.digest);
    if at.size > MAX_CONFIG {
        return Err(Error::invalid(what, format!("it is over {MAX_CONFIG} bytes")));
    }
    let mut bytes = Vec::new();
    Verified::new(source.blob(at)?, &at.digest, at.size, &what)
        .read_to_end(&mut bytes)
        .map_err(|e| Error::from_io("read", &what, e))?;
    Ok(bytes)
}

/// skopeo's page about an image.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Page {
    /// The repository, if the place has one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    digest: String,
    /// All tags of the repository.
    pub repo_tags: Vec<String>,
    created: Option<String>,
    docker_version: String,
    labels: Option<BTreeMap<String, String>>,
    architecture: String,
    os: String,
    layers: Vec<String>,
    layers_data: Vec<LayerData>,
    env: Option<Vec<String>>,
}

#[derive(Serialize)]
struct LayerData {
    #[serde(rename = "MIMEType")]
    mime_type: String,
    #[serde(rename = "Digest")]
    digest: Digest,
    #[serde(rename = "Size")]
    size: u64,
    #[serde(rename = "Annotations")]
    annotations: Option<BTreeMap<String, String>>,
}

impl Looked {
    /// The config, byte for byte.
    pub fn config_bytes(&self) -> &[u8] {
        &self.source_config
    }

    /// The config as the image-spec has it.
    pub fn config(&self) -> Result<Image> {
        let what = format!("image config {}", self.manifest.config.digest);
        serde_json::from_slice(&self.source_config).map_err(|e| Error::invalid(what, e))
    }

    /// skopeo's page; the digest is of the config's algorithm, or of the one that is said.
    pub fn page(&self, algorithm: Option<Algorithm>) -> Result<Page> {
        let config = self.config()?;
        let algorithm = algorithm.unwrap_or_else(|| self.manifest.config.digest.algorithm());
        let mut hash = Hasher::new(algorithm);
        hash.update(schema1::payload(&self.root.bytes).as_ref().unwrap_or(&self.root.bytes));
        let layers = &self.manifest.layers;
        let data = |l: &Descriptor| LayerData {
            mime_type: l.media_type.clone(),
            digest: l.digest.clone(),
            size: l.size,
            annotations: Some(l.annotations.clone()).filter(|a| !a.is_empty()),
        };
        Ok(Page {
            name: String::new(),
            digest: hash.finish().to_string(),
            repo_tags: Vec::new(),
            created: config.created,
            docker_version: config.docker_version,
            labels: config.config.labels,
            architecture: config.architecture,
            os: config.os,
            layers: layers.iter().map(|l| l.digest.to_string()).collect(),
            layers_data: layers.iter().map(data).collect(),
            env: Some(config.config.env).filter(|e| !e.is_empty()),
        })
    }
}

impl Page {
    /// What a template sees.
    pub fn fields(&self) -> Value {
        json!({
            "Name": self.name, "Tag": "", "Digest": self.digest, "RepoTags": self.repo_tags,
            "Created": go_time(self.created.as_deref()), "DockerVersion": self.docker_version,
            "Labels": self.labels.clone().unwrap_or_default(), "Architecture": self.architecture,
            "Os": self.os, "Layers": self.layers, "LayersData": self.layers_data,
            "Env": self.env.clone().unwrap_or_default(),
        })
    }
}

/// An image config's fields in Go's order, as `skopeo inspect --config` prints them.
///
/// SPEC: image-spec config.md.
#[derive(Deserialize, Serialize)]
#[serde(default)]
#[derive(Default)]
pub struct Image {
    #[serde(deserialize_with = "time", skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    author: String,
    #[serde(deserialize_with = "lax")]
    architecture: String,
    #[serde(deserialize_with = "lax")]
    os: String,
    #[serde(
        rename = "os.version",
        deserialize_with = "lax",
        skip_serializing_if = "String::is_empty"
    )]
    os_version: String,
    #[serde(
        rename = "os.features",
        deserialize_with = "lax",
        skip_serializing_if = "Vec::is_empty"
    )]
    os_features: Vec<String>,
    #[serde(deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    variant: String,
    #[serde(deserialize_with = "lax")]
    config: Run,
    #[serde(deserialize_with = "lax")]
    rootfs: Root,
    #[serde(deserialize_with = "lax", skip_serializing_if = "Vec::is_empty")]
    history: Vec<Step>,
    #[serde(deserialize_with = "lax", skip_serializing)]
    docker_version: String,
}

/// Go's `map[string]struct{}`.
type Keys = BTreeMap<String, Value>;

#[derive(Default, Deserialize, Serialize)]
#[serde(default, rename_all = "PascalCase")]
struct Run {
    #[serde(deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    user: String,
    #[serde(deserialize_with = "keys", skip_serializing_if = "BTreeMap::is_empty")]
    exposed_ports: Keys,
    #[serde(deserialize_with = "lax", skip_serializing_if = "Vec::is_empty")]
    env: Vec<String>,
    #[serde(deserialize_with = "lax", skip_serializing_if = "Vec::is_empty")]
    entrypoint: Vec<String>,
    #[serde(deserialize_with = "lax", skip_serializing_if = "Vec::is_empty")]
    cmd: Vec<String>,
    #[serde(deserialize_with = "keys", skip_serializing_if = "BTreeMap::is_empty")]
    volumes: Keys,
    #[serde(deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    working_dir: String,
    #[serde(skip_serializing_if = "nothing")]
    labels: Option<BTreeMap<String, String>>,
    #[serde(deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    stop_signal: String,
    #[serde(deserialize_with = "lax", skip_serializing_if = "std::ops::Not::not")]
    args_escaped: bool,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Root {
    #[serde(rename = "type", deserialize_with = "lax")]
    kind: String,
    diff_ids: Option<Vec<String>>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Step {
    #[serde(deserialize_with = "time", skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    created_by: String,
    #[serde(deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    author: String,
    #[serde(deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    comment: String,
    #[serde(deserialize_with = "lax", skip_serializing_if = "std::ops::Not::not")]
    empty_layer: bool,
}

impl Image {
    /// What a template sees: Go's names.
    pub fn fields(&self) -> Value {
        let run = &self.config;
        let step = |s: &Step| {
            json!({ "Created": go_time(s.created.as_deref()), "CreatedBy": s.created_by,
                "Author": s.author, "Comment": s.comment, "EmptyLayer": s.empty_layer })
        };
        json!({
            "Created": go_time(self.created.as_deref()), "Author": self.author,
            "Architecture": self.architecture, "OS": self.os, "OSVersion": self.os_version,
            "OSFeatures": self.os_features, "Variant": self.variant,
            "Config": {
                "User": run.user, "ExposedPorts": run.exposed_ports, "Env": run.env,
                "Entrypoint": run.entrypoint, "Cmd": run.cmd, "Volumes": run.volumes,
                "WorkingDir": run.working_dir, "Labels": run.labels.clone().unwrap_or_default(),
                "StopSignal": run.stop_signal, "ArgsEscaped": run.args_escaped,
            },
            "RootFS": { "Type": self.rootfs.kind,
                "DiffIDs": self.rootfs.diff_ids.clone().unwrap_or_default() },
            "History": self.history.iter().map(step).collect::<Vec<_>>(),
        })
    }
}

#[allow(clippy::ref_option)] // serde hands a reference
fn nothing(map: &Option<BTreeMap<String, String>>) -> bool {
    map.as_ref().is_none_or(BTreeMap::is_empty)
}

fn lax<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(d: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or_default())
}

fn keys<'de, D: Deserializer<'de>>(d: D) -> Result<Keys, D::Error> {
    let map: Option<BTreeMap<String, Value>> = Option::deserialize(d)?;
    Ok(map.unwrap_or_default().into_keys().map(|k| (k, json!({}))).collect())
}

/// A time as Go's time.Time writes what it has read: RFC 3339 without a fraction's last zeros.
fn time<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    let text: Option<String> = Option::deserialize(d)?;
    let Some(text) = text else { return Ok(None) };
    if text.parse::<jiff::Timestamp>().is_err() {
        return Err(serde::de::Error::custom(format!("{text:?} is no RFC 3339 time")));
    }
    Ok(Some(trimmed(&text)))
}

fn trimmed(text: &str) -> String {
    let text = text.strip_suffix("+00:00").map_or_else(|| text.to_owned(), |t| format!("{t}Z"));
    let Some((whole, rest)) = text.split_once('.') else { return text };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    match rest[..end].trim_end_matches('0') {
        "" => format!("{whole}{}", &rest[end..]),
        fraction => format!("{whole}.{fraction}{}", &rest[end..]),
    }
}

/// A time as Go prints it: `2001-09-09 01:46:40 +0000 UTC`.
fn go_time(text: Option<&str>) -> Value {
    let Some(text) = text else { return Value::Null };
    let zone = text.rfind(['Z', '+']).or_else(|| text.rfind('-').filter(|at| *at > 10));
    let Some((clock, zone)) = zone.map(|at| text.split_at(at)) else { return text.into() };
    let zone = match zone.replace(':', "") {
        z if z == "Z" => "+0000 UTC".to_owned(),
        z => format!("{z} {z}"),
    };
    format!("{} {zone}", clock.replacen('T', " ", 1)).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_gos() {
        for (text, json, plain) in [
            ("2001-09-09T01:46:40Z", "2001-09-09T01:46:40Z", "2001-09-09 01:46:40 +0000 UTC"),
            (
                "2001-09-09T01:46:40.500Z",
                "2001-09-09T01:46:40.5Z",
                "2001-09-09 01:46:40.5 +0000 UTC",
            ),
            (
                "2001-09-09T01:46:40.0+00:00",
                "2001-09-09T01:46:40Z",
                "2001-09-09 01:46:40 +0000 UTC",
            ),
            (
                "2001-09-09T01:46:40+02:00",
                "2001-09-09T01:46:40+02:00",
                "2001-09-09 01:46:40 +0200 +0200",
            ),
        ] {
            assert_eq!(trimmed(text), json);
            assert_eq!(go_time(Some(json)), plain);
        }
    }

    #[test]
    fn fields_come_in_gos_order_and_empty_ones_not_at_all() {
        let text = r#"{"os":"linux","architecture":"amd64","docker_version":"1","config":{"Labels":
            {},"Cmd":null,"Volumes":{"/v":null},"Healthcheck":{}},"rootfs":{"type":"layers"}}"#;
        let image: Image = serde_json::from_str(text).unwrap();
        assert_eq!(
            serde_json::to_string(&image).unwrap(),
            r#"{"architecture":"amd64","os":"linux","config":{"Volumes":{"/v":{}}},"rootfs":{"type":"layers","diff_ids":null}}"#
        );
        assert_eq!(image.docker_version, "1");
    }

    proptest! {
        #[test]
        fn configs_never_panic(s in "\\PC{0,80}", t in "[0-9TZ:.+-]{0,30}") {
            let _ = serde_json::from_str::<Image>(&s);
            let _ = (trimmed(&t), go_time(Some(&t)));
        }
    }
}
