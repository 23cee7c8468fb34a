//! Image configs, with docker's fields beside OCI's.
//!
//! SPEC: image-spec config.md. oci-spec's type drops ArgsEscaped, Healthcheck, OnBuild and
//! Shell, so this one is ours. `null` is read as absent everywhere, as Go does.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::digest::DiffId;
use crate::error::{Error, Result};
use crate::manifest::MAX_LAYERS;
use crate::platform::Platform;
use crate::strict;

/// An image's config document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// RFC 3339, as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// `amd64`, …
    #[serde(deserialize_with = "lax")]
    pub architecture: String,
    /// `v8`, …
    #[serde(deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// `linux`
    #[serde(deserialize_with = "lax")]
    pub os: String,
    /// How to run it.
    #[serde(deserialize_with = "lax")]
    pub config: RunConfig,
    /// What it is made of.
    #[serde(deserialize_with = "lax")]
    pub rootfs: RootFs,
    /// How it was made.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// Whatever else it holds, kept for writing back.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// The defaults of a container of this image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RunConfig {
    /// `user[:group]`, names or numbers.
    #[serde(deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `80/tcp`, …
    #[serde(with = "keys", skip_serializing_if = "BTreeSet::is_empty")]
    pub exposed_ports: BTreeSet<String>,
    /// `NAME=value`
    #[serde(deserialize_with = "lax", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// argv's beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// argv's default rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Paths that get a volume.
    #[serde(with = "keys", skip_serializing_if = "BTreeSet::is_empty")]
    pub volumes: BTreeSet<String>,
    /// The working directory; empty means `/`.
    #[serde(deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Free text by key.
    #[serde(deserialize_with = "lax", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// `SIGTERM`, `15`; empty means SIGTERM.
    #[serde(deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// Seconds before the kill.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// Windows: Cmd is already escaped.
    #[serde(deserialize_with = "lax", skip_serializing_if = "std::ops::Not::not")]
    pub args_escaped: bool,
    /// How to tell whether the container is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// What a build upon this image does first.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    /// What runs the shell form of RUN, CMD, ENTRYPOINT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// Whatever else it holds, kept for writing back.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// Docker's health check. Times in nanoseconds, 0 = default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]`, `["CMD-SHELL", text]`; empty inherits.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Between two checks.
    #[serde(skip_serializing_if = "zero")]
    pub interval: i64,
    /// For one check.
    #[serde(skip_serializing_if = "zero")]
    pub timeout: i64,
    /// Failures don't count so long after the start.
    #[serde(skip_serializing_if = "zero")]
    pub start_period: i64,
    /// Between two checks during the start period.
    #[serde(skip_serializing_if = "zero")]
    pub start_interval: i64,
    /// Failures in a row that make it unhealthy.
    #[serde(skip_serializing_if = "zero")]
    pub retries: i64,
}

/// The layers' identities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RootFs {
    /// `layers`
    #[serde(rename = "type", deserialize_with = "lax")]
    pub kind: String,
    /// Lowest first.
    #[serde(deserialize_with = "lax")]
    pub diff_ids: Vec<DiffId>,
}

/// One step of an image's making.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// RFC 3339, as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The command.
    #[serde(deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// Who.
    #[serde(deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// Why.
    #[serde(deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// It made no layer.
    #[serde(deserialize_with = "lax", skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

impl ImageConfig {
    /// What it runs on.
    pub fn platform(&self) -> Platform {
        Platform {
            architecture: self.architecture.clone(),
            os: self.os.clone(),
            variant: self.variant.clone(),
            ..Platform::default()
        }
    }

    /// Reads a config; `what` names it in errors.
    pub fn parse(bytes: &[u8], what: &str) -> Result<Self> {
        let config: Self = serde_json::from_slice(bytes).map_err(|e| Error::invalid(what, e))?;
        strict::check(bytes).map_err(|e| Error::invalid(what, e))?;
        if config.rootfs.diff_ids.len() > MAX_LAYERS {
            return Err(Error::invalid(what, format!("it has more than {MAX_LAYERS} layers")));
        }
        Ok(config)
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde hands a reference
fn zero(n: &i64) -> bool {
    *n == 0
}

fn lax<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(d: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or_default())
}

/// A set written as Go writes `map[string]struct{}`: `{"80/tcp":{}}`.
mod keys {
    use std::collections::{BTreeMap, BTreeSet};

    use serde::de::IgnoredAny;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<BTreeSet<String>, D::Error> {
        #[allow(clippy::zero_sized_map_values)] // only a map skips values
        let map: Option<BTreeMap<String, IgnoredAny>> = Option::deserialize(d)?;
        Ok(map.unwrap_or_default().into_keys().collect())
    }

    pub(super) fn serialize<S: Serializer>(
        set: &BTreeSet<String>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        s.collect_map(set.iter().map(|key| (key, serde_json::Map::new())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn docker_fields_and_nulls_round_trip() {
        let text = r#"{"architecture":"amd64","os":"linux","config":{"Env":null,"Cmd":["sh"],
            "Entrypoint":null,"Volumes":{"/v":{}},"ExposedPorts":{"80/tcp":null},"ArgsEscaped":true,
            "Healthcheck":{"Test":["CMD","x"],"Interval":5},"OnBuild":["RUN x"],"Shell":["/bin/ash"],
            "Image":"sha256:x"},"rootfs":{"type":"layers","diff_ids":null},"docker_version":"20"}"#;
        let c = ImageConfig::parse(text.as_bytes(), "c").unwrap();
        let back = ImageConfig::parse(&serde_json::to_vec(&c).unwrap(), "c").unwrap();
        assert_eq!(c, back);
        assert!(c.config.args_escaped && c.config.entrypoint.is_none());
        assert_eq!(c.config.healthcheck.unwrap().interval, 5);
        assert!(c.config.volumes.contains("/v") && c.config.exposed_ports.contains("80/tcp"));
        assert_eq!(c.extra["docker_version"], "20");
    }

    proptest! {
        #[test]
        fn parsing_never_panics(s in "\\PC{0,100}") {
            let _ = ImageConfig::parse(s.as_bytes(), "c");
        }
    }
}
