//! The JSON that is signed, the same in both kinds of signatures but for its type.
//!
//! SPEC: containers-signature(5), "JSON data format".

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::json::Json;
use crate::digest::Digest;

/// The type in a sigstore payload.
pub const SIGSTORE: &str = "cosign container image signature";
/// The type in a simple signature's payload.
pub const SIMPLE: &str = "atomic container signature";

/// What somebody claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// This manifest…
    pub manifest: Digest,
    /// …is what this name means.
    pub name: String,
    /// Who wrote the claim down: a program.
    pub creator: Option<String>,
    /// When, in seconds since 1970.
    pub time: Option<i64>,
}

impl Payload {
    /// Reads a claim of this type.
    pub fn parse(bytes: &[u8], kind: &str) -> Result<Self, String> {
        let mut whole = Json::parse(bytes)?.fields("a signature's payload")?;
        let mut critical = whole.need("critical")?.fields("\"critical\"")?;
        let (mut creator, mut time) = (None, None);
        match whole.need("optional")? {
            // cosign's, without annotations of the user.
            Json::Null if kind == SIGSTORE => {}
            other => {
                let mut optional = other.fields("\"optional\"")?;
                creator = optional.text("creator")?;
                time = match optional.take("timestamp") {
                    None => None,
                    Some(Json::Integer(n)) => Some(n),
                    #[allow(clippy::cast_possible_truncation)] // whole, and checked to be
                    Some(Json::Float(n))
                        if n.fract().abs() < f64::MIN_POSITIVE && n.abs() < 9e15 =>
                    {
                        Some(n as i64)
                    }
                    Some(_) => return Err("\"timestamp\" is no whole number".into()),
                };
            }
        }
        whole.end()?;
        let found = critical.need_text("type")?;
        if found != kind {
            return Err(format!("its type is {found:?}, not {kind:?}"));
        }
        let mut image = critical.need("image")?.fields("\"image\"")?;
        let mut identity = critical.need("identity")?.fields("\"identity\"")?;
        critical.end()?;
        let manifest = image.need_text("docker-manifest-digest")?;
        let manifest = manifest.parse().map_err(|e: crate::error::Error| e.to_string())?;
        let name = identity.need_text("docker-reference")?;
        image.end()?;
        identity.end()?;
        Ok(Self { manifest, name, creator, time })
    }

    /// Writes a claim down.
    pub fn write(kind: &str, manifest: &Digest, name: &str) -> Vec<u8> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let value = json!({
            "critical": {
                "identity": { "docker-reference": name },
                "image": { "docker-manifest-digest": manifest.to_string() },
                "type": kind,
            },
            "optional": {
                "creator": concat!("dhow-image ", env!("CARGO_PKG_VERSION")),
                "timestamp": now,
            },
        });
        value.to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_claim_is_read_as_it_is_written() {
        let (digest, name) = (Digest::of(b"x"), "a.io/b:1");
        let read = Payload::parse(&Payload::write(SIMPLE, &digest, name), SIMPLE).unwrap();
        assert_eq!((read.manifest, read.name.as_str()), (digest.clone(), "a.io/b:1"));
        assert!(Payload::parse(&Payload::write(SIMPLE, &digest, name), SIGSTORE).is_err());
    }

    #[test]
    fn a_claim_with_anything_else_in_it_is_refused() {
        let d = Digest::of(b"");
        let image = format!(r#"{{"docker-manifest-digest":"{d}"}}"#);
        let critical = |kind: &str, more: &str| {
            format!(
                r#"{{"type":"{kind}","image":{image},"identity":{{"docker-reference":"a"}}{more}}}"#
            )
        };
        let claim = |critical: &str, optional: &str| {
            format!(r#"{{"critical":{critical},"optional":{optional}}}"#)
        };
        let good = critical(SIGSTORE, "");
        let read = |text: String| Payload::parse(text.as_bytes(), SIGSTORE);
        assert!(read(claim(&good, "null")).is_ok());
        assert!(read(claim(&good, r#"{"creator":"c","timestamp":1.0,"more":[1]}"#)).is_ok());
        assert!(Payload::parse(claim(&critical(SIMPLE, ""), "null").as_bytes(), SIMPLE).is_err());
        for bad in [
            claim(&critical("x", ""), "{}"),
            claim(&critical(SIGSTORE, r#","x":1"#), "{}"),
            claim(&critical(SIGSTORE, r#","type":"x""#), "{}"),
            claim(&good, r#"{"timestamp":1.5}"#),
            claim(&good, r#"{"timestamp":"1"}"#),
            claim(&good, "[]"),
            format!(r#"{{"critical":{good}}}"#),
            format!(r#"{{"critical":{good},"optional":{{}},"x":1}}"#),
            claim(&good, "{}").replace("sha256:", "sha256:x"),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "\\PC{0,80}") {
            let _ = Payload::parse(text.as_bytes(), SIGSTORE);
        }
    }
}
