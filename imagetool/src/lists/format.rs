//! JSON as docker writes it: keys in its order, its indentation.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Entry;
use crate::error::{Error, Result};
use crate::manifest::OCI_MANIFEST;

/// A platform in a list, in docker's order of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Platform {
    /// `amd64`, …
    pub architecture: String,
    /// `linux`
    pub os: String,
    /// A Windows build.
    #[serde(rename = "os.version", skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    /// `win32k`
    #[serde(rename = "os.features", skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// `v8`, …
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl Platform {
    /// From what an index or a config says; `more` is whatever else it holds.
    pub(super) fn of(known: &crate::platform::Platform, more: &BTreeMap<String, Value>) -> Self {
        let text = |key: &str| more.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let features = more.get("os.features").and_then(Value::as_array);
        let features = features.into_iter().flatten().filter_map(Value::as_str);
        let features = features.map(str::to_owned).chain(known.os_features.clone());
        Self {
            architecture: known.architecture.clone(),
            os: known.os.clone(),
            os_version: if known.os_version.is_empty() {
                text("os.version")
            } else {
                known.os_version.clone()
            },
            os_features: features.collect(),
            variant: known.variant.clone(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    schema_version: u32,
    media_type: &'a str,
    manifests: Vec<Child<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Child<'a> {
    media_type: &'a str,
    size: u64,
    digest: String,
    platform: Platform,
}

impl Entry {
    /// All that is known of an image, as JSON in docker's order. Every line but the first
    /// begins with `prefix`.
    pub fn described(&self, prefix: &str) -> String {
        let text = |value: &str| Value::from(value).to_string();
        let platform = self.platform.as_ref().and_then(|p| serde_json::to_string(p).ok());
        let platform = platform.map(|p| format!(",\"platform\":{p}")).unwrap_or_default();
        let oci = self.media_type == OCI_MANIFEST;
        let kind = if oci { "OCIManifest" } else { "SchemaV2Manifest" };
        let whole = format!(
            "{{\"Ref\":{},\"Descriptor\":{{\"mediaType\":{},\"digest\":{},\"size\":{}{platform}}},\"Raw\":{},\"{kind}\":{}}}",
            text(&self.reference.to_string()),
            text(&self.media_type),
            text(&self.digest.to_string()),
            self.size,
            text(&STANDARD.encode(&self.raw)),
            self.raw
        );
        indent(&whole, "\t", prefix)
    }
}

/// A list's document.
pub(super) fn list(media_type: &str, entries: &[Entry]) -> Result<String> {
    let child = |e: &'_ Entry| (e.digest.to_string(), e.platform.clone().unwrap_or_default());
    let manifests = entries.iter().map(|e| {
        let (digest, platform) = child(e);
        Child { media_type: &e.media_type, size: e.size, digest, platform }
    });
    let written = Written { schema_version: 2, media_type, manifests: manifests.collect() };
    let text = serde_json::to_string(&written).map_err(|e| Error::invalid("manifest list", e))?;
    Ok(indent(&text, "   ", ""))
}

/// A JSON text laid out anew, its keys in the order they have, as Go's `json.Indent`.
/// Every line but the first begins with `prefix`.
pub fn indent(text: &str, step: &str, prefix: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0;
    let (mut quoted, mut escaped, mut opened) = (false, false, false);
    for c in text.chars() {
        if quoted {
            out.push(c);
            (quoted, escaped) = (escaped || c != '"', !escaped && c == '\\');
            continue;
        }
        if matches!(c, ' ' | '\t' | '\r' | '\n') {
            continue;
        }
        let closing = matches!(c, ']' | '}');
        if closing {
            depth -= 1;
        }
        // An empty object or array stays on its line.
        if opened != closing && (opened || closing) {
            line(&mut out, step, prefix, depth);
        }
        opened = matches!(c, '[' | '{');
        if opened {
            depth += 1;
        }
        quoted = c == '"';
        out.push(c);
        match c {
            ',' => line(&mut out, step, prefix, depth),
            ':' => out.push(' '),
            _ => {}
        }
    }
    out
}

fn line(out: &mut String, step: &str, prefix: &str, depth: i32) {
    out.push('\n');
    out.push_str(prefix);
    for _ in 0..depth.max(0) {
        out.push_str(step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_laid_out_as_go_does() {
        let text = r#"{"a":[1, {"b":"x,\"{"}],"c":{},"d":[ ]}"#;
        assert_eq!(
            indent(text, "\t", ""),
            "{\n\t\"a\": [\n\t\t1,\n\t\t{\n\t\t\t\"b\": \"x,\\\"{\"\n\t\t}\n\t],\n\t\"c\": {},\n\t\"d\": []\n}"
        );
        assert_eq!(indent("[1]", " ", ">"), "[\n> 1\n>]");
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics_and_json_stays_what_it_is(text in "[\\[\\]{}:,\"a\\\\ 1]{0,40}") {
            let laid = indent(&text, " ", "");
            if let Ok(value) = serde_json::from_str::<Value>(&text) {
                proptest::prop_assert_eq!(value, serde_json::from_str::<Value>(&laid).unwrap());
            }
        }
    }
}
