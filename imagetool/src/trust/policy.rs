//! `policy.json`: which images may come in, and by whose word.
//!
//! SPEC: containers-policy.json(5). An unknown or repeated key makes the whole file invalid,
//! and with an invalid file nothing comes in.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::json::Json;
use super::origin::{Origin, STORE};
use super::requirement::Requirement;
use crate::digest::Digest;
use crate::error::{Error, Result};

/// No policy is larger.
const MAX_POLICY: u64 = 4 << 20;

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    path: PathBuf,
    default: Vec<Requirement>,
    transports: BTreeMap<String, BTreeMap<String, Vec<Requirement>>>,
}

impl Policy {
    /// Reads a policy's file.
    pub fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::at("open", path))?;
        let mut bytes = Vec::new();
        file.take(MAX_POLICY + 1).read_to_end(&mut bytes).map_err(Error::at("read", path))?;
        if bytes.len() as u64 > MAX_POLICY {
            return Err(broken(path, format!("it is over {MAX_POLICY} bytes")));
        }
        Self::parse(&bytes, path)
    }

    /// Reads a policy's text; `path` names it in errors.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        policy(bytes, path).map_err(|why| broken(path, why))
    }

    /// What holds for an image: the requirements of the narrowest scope that fits, and no others.
    ///
    /// The store is asked about only if it has a section of its own: what lies there has been
    /// judged when it came in.
    pub fn requirements(&self, origin: &Origin) -> &[Requirement] {
        let Some(scopes) = self.transports.get(origin.transport) else {
            return if origin.transport == STORE { &[Requirement::Accept] } else { &self.default };
        };
        let mut fitting = origin.scopes.iter().map(String::as_str).chain([""]);
        fitting.find_map(|scope| scopes.get(scope)).unwrap_or(&self.default)
    }

    /// Where it was read.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn policy(bytes: &[u8], path: &Path) -> Result<Policy, String> {
    let mut fields = Json::parse(bytes)?.fields("a policy")?;
    let default = requirements(fields.need("default")?)?;
    let mut transports = BTreeMap::new();
    if let Some(json) = fields.take("transports") {
        for (transport, json) in json.fields("\"transports\"")?.rest() {
            let mut scopes = BTreeMap::new();
            for (scope, json) in json.fields("a transport")?.rest() {
                check_scope(&transport, &scope)?;
                scopes.insert(scope, requirements(json)?);
            }
            transports.insert(transport, scopes);
        }
    }
    fields.end()?;
    Ok(Policy { path: path.to_owned(), default, transports })
}

fn requirements(json: Json) -> Result<Vec<Requirement>, String> {
    match json {
        Json::List(list) if !list.is_empty() => list.into_iter().map(Requirement::parse).collect(),
        Json::List(_) => Err("a list of policy requirements must not be empty".into()),
        _ => Err("policy requirements must be a list".into()),
    }
}

/// A scope that can never fit is a mistake, where the transport's scopes are known.
fn check_scope(transport: &str, scope: &str) -> Result<(), String> {
    let bad = |why: &str| Err(format!("invalid scope {scope:?} of {transport}: {why}"));
    match transport {
        _ if scope.is_empty() => Ok(()),
        "dir" | "oci" | "oci-archive" | "sif" => match scope {
            "/" => bad("use \"\", the transport's own"),
            path if !path.starts_with('/') => bad("it must be an absolute path"),
            path if !is_clean(path) => bad("it must have no \".\", \"..\", nor two slashes"),
            _ => Ok(()),
        },
        "docker-archive" | "tarball" => bad("only \"\" is possible"),
        "docker-daemon" if scope.parse::<Digest>().is_ok() => bad("an id is no namespace"),
        _ => Ok(()),
    }
}

fn is_clean(path: &str) -> bool {
    path[1..].split('/').all(|part| !matches!(part, "" | "." | ".."))
}

fn broken(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::invalid(format!("trust policy {}", path.display()), why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Policy> {
        Policy::parse(text.as_bytes(), Path::new("p"))
    }

    const ACCEPT: &str = r#"[{"type":"insecureAcceptAnything"}]"#;
    const REJECT: &str = r#"[{"type":"reject"}]"#;

    #[test]
    fn the_narrowest_scope_holds_and_no_other() {
        let text = format!(
            r#"{{"default":{REJECT},"transports":{{
              "docker":{{"*.example.com":{ACCEPT},"a.example.com":{REJECT},"a.example.com/n":{ACCEPT},"a.example.com/n/r:1":{REJECT}}},
              "oci":{{"":{ACCEPT}}}}}}}"#
        );
        let policy = parse(&text).unwrap();
        for (name, accepted) in [
            ("a.example.com/n/r:1", false),
            ("a.example.com/n/r:2", true),
            ("a.example.com/m/r:1", false),
            ("b.example.com/m/r:1", true),
            ("b.example.com:5000/m/r:1", true),
            ("example.com/x", false),
            ("busybox", false),
        ] {
            let origin = Origin::registry(&name.parse().unwrap());
            let wanted = if accepted { Requirement::Accept } else { Requirement::Reject };
            assert_eq!(policy.requirements(&origin), [wanted], "{name}");
        }
        let with = |place: &str| policy.requirements(&Origin::of(&place.parse().unwrap()));
        assert_eq!(with("oci:/x"), [Requirement::Accept]);
        assert_eq!(with("dir:/x"), [Requirement::Reject]);
        assert_eq!(with("busybox"), [Requirement::Accept], "what is in the store came in once");
        let own = parse(&format!(
            r#"{{"default":{ACCEPT},"transports":{{"dhow":{{"docker.io":{REJECT}}}}}}}"#
        ));
        let origin = Origin::of(&"busybox".parse().unwrap());
        assert_eq!(own.unwrap().requirements(&origin), [Requirement::Reject]);
    }

    #[test]
    fn every_requirement_is_read() {
        for good in [
            r#"{"type":"signedBy","keyType":"GPGKeys","keyPath":"/k"}"#,
            r#"{"type":"signedBy","keyType":"GPGKeys","keyPaths":["/k","/l"],"signedIdentity":{"type":"matchExact"}}"#,
            r#"{"type":"signedBy","keyType":"GPGKeys","keyData":"AAAA"}"#,
            r#"{"type":"signedBaseLayer","baseLayerIdentity":{"type":"matchExact"}}"#,
            r#"{"type":"sigstoreSigned","keyPath":"/k"}"#,
            r#"{"type":"sigstoreSigned","keyDatas":["AAAA"],"rekorPublicKeyPath":"/r"}"#,
            r#"{"type":"sigstoreSigned","fulcio":{"caPath":"/c","oidcIssuer":"i","subjectEmail":"e"},"rekorPublicKeyData":"AAAA"}"#,
            r#"{"type":"sigstoreSigned","pki":{"caRootsPath":"/c","subjectHostname":"h"}}"#,
        ] {
            parse(&format!(r#"{{"default":[{good}]}}"#)).unwrap();
        }
    }

    #[test]
    fn what_is_no_policy_is_refused_whole() {
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"default":[]}"#,
            r#"{"default":null}"#,
            r#"{"default":[{"type":"reject"}],"default":[{"type":"reject"}]}"#,
            r#"{"default":[{"type":"reject"}],"Default":[]}"#,
            r#"{"default":[{"type":"reject"}],"x":1}"#,
            r#"{"default":[{"type":"reject","x":1}]}"#,
            r#"{"default":[{"type":"reject","type":"reject"}]}"#,
            r#"{"default":[{"type":"Reject"}]}"#,
            r#"{"default":[{}]}"#,
            r#"{"default":[{"type":"signedBy","keyType":"GPGKeys"}]}"#,
            r#"{"default":[{"type":"signedBy","keyType":"x","keyPath":"/k"}]}"#,
            r#"{"default":[{"type":"signedBy","keyType":"GPGKeys","keyPath":"/k","keyData":"AAAA"}]}"#,
            r#"{"default":[{"type":"signedBy","keyType":"GPGKeys","keyPath":""}]}"#,
            r#"{"default":[{"type":"signedBy","keyType":"GPGKeys","keyPaths":[]}]}"#,
            r#"{"default":[{"type":"signedBy","keyType":"GPGKeys","keyData":"?"}]}"#,
            r#"{"default":[{"type":"sigstoreSigned"}]}"#,
            r#"{"default":[{"type":"sigstoreSigned","keyPath":"/k","keyPaths":["/l"]}]}"#,
            r#"{"default":[{"type":"sigstoreSigned","keyPath":"/k","fulcio":{"caPath":"/c","oidcIssuer":"i","subjectEmail":"e"},"rekorPublicKeyPath":"/r"}]}"#,
            r#"{"default":[{"type":"sigstoreSigned","fulcio":{"caPath":"/c","oidcIssuer":"i","subjectEmail":"e"}}]}"#,
            r#"{"default":[{"type":"sigstoreSigned","fulcio":{"caPath":"/c","oidcIssuer":"i"},"rekorPublicKeyPath":"/r"}]}"#,
            r#"{"default":[{"type":"sigstoreSigned","pki":{"caRootsPath":"/c"}}]}"#,
            r#"{"default":[{"type":"sigstoreSigned","pki":{"caRootsPath":"/c","subjectEmail":"e"},"rekorPublicKeyPath":"/r"}]}"#,
            r#"{"default":[{"type":"reject"}],"transports":{"docker":{"a":[]}}}"#,
            r#"{"default":[{"type":"reject"}],"transports":{"dir":{"/":[{"type":"reject"}]}}}"#,
            r#"{"default":[{"type":"reject"}],"transports":{"dir":{"a":[{"type":"reject"}]}}}"#,
            r#"{"default":[{"type":"reject"}],"transports":{"oci":{"/a/../b":[{"type":"reject"}]}}}"#,
            r#"{"default":[{"type":"reject"}],"transports":{"docker-archive":{"x":[{"type":"reject"}]}}}"#,
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "\\PC{0,80}") {
            let _ = parse(&text);
        }

        // Whatever is broken of a good file, it is refused or means what it says.
        #[test]
        fn a_damaged_policy_never_accepts(at in 0usize..200, byte: u8) {
            let text = format!(r#"{{"default":{REJECT},"transports":{{"docker":{{"a.io":{REJECT}}}}}}}"#);
            let mut bytes = text.into_bytes();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(policy) = Policy::parse(&bytes, Path::new("p")) {
                let origin = Origin::registry(&"a.io/x".parse().unwrap());
                prop_assert_eq!(policy.requirements(&origin), &[Requirement::Reject]);
            }
        }
    }
}
