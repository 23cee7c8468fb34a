//! `signedIdentity`: which names a signature may speak of.

use super::json::Json;
use super::origin::Origin;
use crate::reference::Reference;

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The very name that was asked for.
    Exact,
    /// The very name; asked for by digest, any name of that repository.
    RepoDigestOrExact,
    /// Any name of the repository.
    Repository,
    /// This name, whatever was asked for.
    ExactReference(Reference),
    /// Any name of this repository, whatever was asked for.
    ExactRepository(Reference),
    /// As `RepoDigestOrExact`, after one prefix has been replaced by another.
    Remap {
        /// What the name begins with.
        prefix: String,
        /// What signatures have in its place.
        signed: String,
    },
}

impl Identity {
    /// Reads a rule.
    pub fn parse(json: Json) -> Result<Self, String> {
        let mut fields = json.fields("signedIdentity")?;
        let kind = fields.need_text("type")?;
        let rule = match kind.as_str() {
            "matchExact" => Self::Exact,
            "matchRepoDigestOrExact" => Self::RepoDigestOrExact,
            "matchRepository" => Self::Repository,
            "exactReference" => {
                let text = fields.need_text("dockerReference")?;
                let name = reference(&text, "dockerReference")?;
                if is_bare(&name) {
                    return Err(format!("dockerReference {text:?} has neither a tag nor a digest"));
                }
                Self::ExactReference(name)
            }
            "exactRepository" => {
                let text = fields.need_text("dockerRepository")?;
                Self::ExactRepository(reference(&text, "dockerRepository")?)
            }
            "remapIdentity" => {
                let prefix = prefix(fields.need_text("prefix")?)?;
                let signed = self::prefix(fields.need_text("signedPrefix")?)?;
                Self::Remap { prefix, signed }
            }
            other => return Err(format!("unknown signedIdentity type {other:?}")),
        };
        fields.end()?;
        Ok(rule)
    }

    /// Whether a signature that speaks of `signed` is one of what was asked for.
    pub fn accepts(&self, origin: &Origin, signed: &str) -> bool {
        let Ok(signed) = Reference::parse_normal(signed) else { return false };
        let asked = origin.name.as_ref();
        match self {
            Self::Exact => asked.is_some_and(|a| !is_bare(a) && !is_bare(&signed) && *a == signed),
            Self::RepoDigestOrExact => asked.is_some_and(|a| by_tag_or_repository(a, &signed)),
            Self::Repository => asked.is_some_and(|a| a.name() == signed.name()),
            Self::ExactReference(wanted) => !is_bare(&signed) && *wanted == signed,
            Self::ExactRepository(wanted) => wanted.name() == signed.name(),
            Self::Remap { prefix, signed: by } => asked
                .and_then(|a| remapped(a, prefix, by))
                .is_some_and(|a| by_tag_or_repository(&a, &signed)),
        }
    }
}

/// The digest itself is compared with the manifest by whoever verifies the signature.
fn by_tag_or_repository(asked: &Reference, signed: &Reference) -> bool {
    match (asked.tag(), asked.digest()) {
        _ if is_bare(signed) => false,
        (Some(_), _) => asked == signed,
        (None, Some(_)) => asked.name() == signed.name(),
        (None, None) => false,
    }
}

fn remapped(asked: &Reference, prefix: &str, by: &str) -> Option<Reference> {
    let name = asked.name();
    let Some(rest) = name.strip_prefix(prefix).filter(|r| r.is_empty() || r.starts_with('/'))
    else {
        return Some(asked.clone());
    };
    let text = format!("{by}{rest}{}", &asked.to_string()[name.len()..]);
    // What is not in full form would mean another host than it seems to.
    Reference::parse_normal(&text).ok().filter(|r| r.to_string() == text)
}

fn is_bare(name: &Reference) -> bool {
    name.tag().is_none() && name.digest().is_none()
}

fn reference(text: &str, key: &str) -> Result<Reference, String> {
    Reference::parse_normal(text).map_err(|e| format!("{key}: {e}"))
}

/// A host, or a host with a path: lower case parts, no tag, no digest.
fn prefix(text: String) -> Result<String, String> {
    let whole = if text.contains('/') { text.clone() } else { format!("{text}/x") };
    // A dot or a port makes any first part a host to the parser; a host may lack both here.
    let (host, rest) = whole.split_once('/').unwrap_or((&whole, "x"));
    let (name, port) = host.split_once(':').map_or((host, None), |(n, p)| (n, Some(p)));
    let dotted = match port {
        Some(port) => format!("{name}.x:{port}/{rest}"),
        None => format!("{name}.x/{rest}"),
    };
    let host_only = if host.starts_with('[') { &whole } else { &dotted };
    match Reference::parse_normal(host_only) {
        Ok(name) if is_bare(&name) => Ok(text),
        _ => Err(format!("prefix {text:?} is not valid")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(json: &str) -> Identity {
        Identity::parse(Json::parse(json.as_bytes()).unwrap()).unwrap()
    }

    fn check(json: &str, asked: &str, signed: &str) -> bool {
        let mut origin = Origin::registry(&"x".parse().unwrap());
        origin.name = (!asked.is_empty()).then(|| asked.parse().unwrap());
        rule(json).accepts(&origin, signed)
    }

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn exact_means_the_very_name() {
        let json = r#"{"type":"matchExact"}"#;
        assert!(check(json, "a.io/b:1", "a.io/b:1"));
        assert!(check(json, "busybox:latest", "docker.io/library/busybox:latest"));
        for (asked, signed) in [
            ("a.io/b:1", "a.io/b:2"),
            ("a.io/b:1", "a.io/b"),
            ("a.io/b", "a.io/b"),
            ("", "a.io/b:1"),
            ("a.io/b:1", "UPPER"),
        ] {
            assert!(!check(json, asked, signed), "{asked} {signed}");
        }
        assert!(!check(json, &format!("a.io/b@{DIGEST}"), "a.io/b:1"));
    }

    #[test]
    fn by_digest_any_tag_of_the_repository_will_do() {
        let json = r#"{"type":"matchRepoDigestOrExact"}"#;
        assert!(check(json, "a.io/b:1", "a.io/b:1"));
        assert!(!check(json, "a.io/b:1", "a.io/b:2"));
        assert!(check(json, &format!("a.io/b@{DIGEST}"), "a.io/b:2"));
        assert!(!check(json, &format!("a.io/b@{DIGEST}"), "a.io/b"));
        assert!(!check(json, &format!("a.io/b@{DIGEST}"), "a.io/c:2"));
        assert!(!check(json, "", "a.io/b:1"));
    }

    #[test]
    fn repositories_and_fixed_names_match() {
        assert!(check(r#"{"type":"matchRepository"}"#, "a.io/b:1", "a.io/b:2"));
        assert!(!check(r#"{"type":"matchRepository"}"#, "", "a.io/b:2"));
        let exact = r#"{"type":"exactReference","dockerReference":"a.io/b:1"}"#;
        assert!(check(exact, "", "a.io/b:1"));
        assert!(!check(exact, "a.io/b:2", "a.io/b:2"));
        let repository = r#"{"type":"exactRepository","dockerRepository":"a.io/b"}"#;
        assert!(check(repository, "", "a.io/b:7"));
        assert!(!check(repository, "", "a.io/c:7"));
    }

    #[test]
    fn a_prefix_is_replaced_at_a_slash_only() {
        let json =
            r#"{"type":"remapIdentity","prefix":"mirror:5000/ns","signedPrefix":"vendor.io"}"#;
        assert!(check(json, "mirror:5000/ns/x:1", "vendor.io/x:1"));
        assert!(!check(json, "mirror:5000/nsx/y:1", "vendor.io/x/y:1"));
        assert!(check(json, "other.io/x:1", "other.io/x:1"));
        assert!(!check(json, "mirror:5000/ns/x:1", "mirror:5000/ns/x:1"));
        assert!(check(json, &format!("mirror:5000/ns/x@{DIGEST}"), "vendor.io/x:3"));
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for bad in [
            "{}",
            r#"{"type":"other"}"#,
            r#"{"type":"matchExact","x":1}"#,
            r#"{"type":"exactReference"}"#,
            r#"{"type":"exactReference","dockerReference":"a.io/b"}"#,
            r#"{"type":"exactRepository","dockerRepository":"A"}"#,
            r#"{"type":"remapIdentity","prefix":"a.io"}"#,
            r#"{"type":"remapIdentity","prefix":"a.io/b:1","signedPrefix":"c.io"}"#,
            r#"{"type":"remapIdentity","prefix":"","signedPrefix":"c.io"}"#,
            r#"{"type":"remapIdentity","prefix":"a.io/","signedPrefix":"c.io"}"#,
            r#""matchExact""#,
        ] {
            assert!(Identity::parse(Json::parse(bad.as_bytes()).unwrap()).is_err(), "{bad}");
        }
        for good in ["a.io", "a.io:5000", "a.io/b/c", "localhost", "localhost:1/x", "[::1]:5000/a"]
        {
            assert_eq!(prefix(good.into()).unwrap(), good);
        }
    }

    proptest! {
        #[test]
        fn what_matches_exactly_matches_by_all_wider_rules(
            asked in "[a-z]{1,3}\\.io/[a-z]{1,3}:[a-z]{1,3}", signed in "[a-z]{1,3}\\.io/[a-z]{1,3}:[a-z]{1,3}"
        ) {
            let mut origin = Origin::registry(&"x".parse().unwrap());
            origin.name = Some(asked.parse().unwrap());
            let exact = Identity::Exact.accepts(&origin, &signed);
            prop_assert_eq!(exact, asked == signed);
            prop_assert_eq!(Identity::RepoDigestOrExact.accepts(&origin, &signed), exact);
            if exact {
                prop_assert!(Identity::Repository.accepts(&origin, &signed));
            }
        }
    }
}
