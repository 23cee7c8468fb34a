//! Image references by docker's rules: `busybox` means `docker.io/library/busybox`.
//!
//! SPEC: distribution/reference grammar; the length and case rules are docker's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::Digest;
use crate::error::{Error, Result};

const HUB: &str = "docker.io";
const HUB_OLD: &str = "index.docker.io";
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// A normal (full) reference: domain, path, and a tag, a digest, both or neither.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Reads what a user types: familiar or full. Adds no tag; see [`Reference::tagged`].
    pub fn parse_normal(input: &str) -> Result<Self> {
        parse(input).map_err(|why| {
            let shown: String = input.chars().take(300).collect();
            Error::usage("reference", shown, why)
        })
    }

    /// The registry: `docker.io`, `localhost:5000`, `[::1]:5000`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within the registry: `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Domain and path.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The tag, if one was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was given.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The whole reference as docker prints it: `busybox:latest`.
    pub fn familiar(&self) -> String {
        format!("{}{}", self.familiar_name(), self.suffix())
    }

    /// The name as docker prints it: `busybox`.
    pub fn familiar_name(&self) -> String {
        if self.domain != HUB {
            return self.name();
        }
        match self.path.strip_prefix("library/") {
            Some(short) if !short.contains('/') => short.to_owned(),
            _ => self.path.clone(),
        }
    }

    /// Whether an image can be given this name: a digest is no name but a promise about
    /// the content, and what reads like an id would stand for another image.
    pub fn can_be_given(&self) -> bool {
        self.digest.is_none() && !matches!(self.familiar_name().as_str(), "sha256" | "sha512")
    }

    /// With the tag `latest` if it has neither tag nor digest.
    #[must_use]
    pub fn tagged(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some("latest".to_owned());
        }
        self
    }

    /// The same name with this tag and no digest. The tag must be valid.
    pub fn with_tag(&self, tag: &str) -> Result<Self> {
        if !valid_tag(tag) {
            return Err(Error::usage(
                "tag",
                tag,
                "it must match [A-Za-z0-9_][A-Za-z0-9_.-]{0,127}",
            ));
        }
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same name with this digest and no tag.
    #[must_use]
    pub fn with_digest(&self, digest: &Digest) -> Self {
        Self { tag: None, digest: Some(digest.clone()), ..self.clone() }
    }

    fn suffix(&self) -> String {
        let tag = self.tag.as_ref().map(|t| format!(":{t}")).unwrap_or_default();
        let digest = self.digest.as_ref().map(|d| format!("@{d}")).unwrap_or_default();
        tag + &digest
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.domain, self.path, self.suffix())
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        Self::parse_normal(s)
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

fn parse(input: &str) -> Result<Reference, String> {
    if input.is_empty() {
        return Err("it is empty".into());
    }
    if input.len() == 64 && input.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err("a name can't be 64 hexadecimal digits: that is an image id".into());
    }
    let (rest, digest) = match input.split_once('@') {
        Some((rest, d)) => (rest, Some(d.parse::<Digest>().map_err(|e| e.to_string())?)),
        None => (input, None),
    };
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    if let Some(tag) = tag
        && !valid_tag(tag)
    {
        return Err("the tag must match [A-Za-z0-9_][A-Za-z0-9_.-]{0,127}".into());
    }
    let (domain, path) = split_domain(name);
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        let library = if domain == HUB && !path.contains('/') { "library/" } else { "" };
        return Err(format!("repository name ({library}{path}) must be lowercase"));
    }
    if !valid_domain(domain) {
        return Err(malformed(name, "the registry's name is malformed"));
    }
    let official = domain == HUB && !path.contains('/');
    let path = if official { format!("library/{path}") } else { path.to_owned() };
    if !path.split('/').all(valid_component) {
        return Err(malformed(name, "the repository name is malformed"));
    }
    if domain.len() + 1 + path.len() > MAX_NAME {
        return Err("the repository name is longer than 255 characters".into());
    }
    Ok(Reference { domain: domain.to_owned(), path, tag: tag.map(str::to_owned), digest })
}

/// Why it is no name: it may be meant as a place.
fn malformed(name: &str, why: &str) -> String {
    match crate::transport::prefix(name) {
        Some(transport) => format!("a name is wanted here, not a place such as {transport}:"),
        None => why.to_owned(),
    }
}

/// A first part is a registry if it has a dot, a colon or a capital, or is `localhost`.
fn split_domain(name: &str) -> (&str, &str) {
    let (domain, path) = match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (HUB, name),
    };
    (if domain == HUB_OLD { HUB } else { domain }, path)
}

fn valid_domain(domain: &str) -> bool {
    let (host, port) = if domain.starts_with('[') {
        match domain.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, rest)) => (host, rest.strip_prefix(':').or(Some(""))),
            None => return false,
        }
    } else {
        domain.split_once(':').map_or((domain, None), |(h, p)| (h, Some(p)))
    };
    if port.is_some_and(|p| p.parse::<u16>().is_err() || p.starts_with('+')) {
        return false;
    }
    if let Some(v6) = host.strip_prefix('[') {
        return v6.parse::<std::net::Ipv6Addr>().is_ok();
    }
    host.split('.').all(|part| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    })
}

/// `[a-z0-9]+` parts joined by `.`, `_`, `__` or any number of `-`.
fn valid_component(part: &str) -> bool {
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else { return false };
    alnum(first)
        && alnum(last)
        && part
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|sep| matches!(sep, "" | "." | "_" | "__") || sep.bytes().all(|b| b == b'-'))
}

fn valid_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= MAX_TAG
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normal(s: &str) -> String {
        Reference::parse_normal(s).unwrap().to_string()
    }

    #[test]
    fn familiar_names_become_normal() {
        assert_eq!(normal("busybox"), "docker.io/library/busybox");
        assert_eq!(normal("a/b:c"), "docker.io/a/b:c");
        assert_eq!(normal("index.docker.io/busybox"), "docker.io/library/busybox");
        assert_eq!(normal("localhost/x"), "localhost/x");
        assert_eq!(normal("localhost:5000/x:1"), "localhost:5000/x:1");
        assert_eq!(normal("127.0.0.1:5000/a/b__c.d--e"), "127.0.0.1:5000/a/b__c.d--e");
        assert_eq!(normal("[::1]:5000/x"), "[::1]:5000/x");
        assert_eq!(normal("EXAMPLE/x"), "EXAMPLE/x");
    }

    #[test]
    fn normal_names_become_familiar() {
        for (long, short) in [
            ("docker.io/library/busybox:1", "busybox:1"),
            ("docker.io/a/b", "a/b"),
            ("quay.io/a/b:c", "quay.io/a/b:c"),
            ("docker.io/library/a/b", "library/a/b"),
        ] {
            assert_eq!(Reference::parse_normal(long).unwrap().familiar(), short);
        }
    }

    #[test]
    fn a_place_where_a_name_is_wanted_is_called_so() {
        for place in
            ["oci:d:t", "oci:/d", "dir:/x", "docker-archive:x.tar:y", "containers-storage:[x]y:z"]
        {
            let said = Reference::parse_normal(place).unwrap_err().to_string();
            let (transport, _) = place.split_once(':').unwrap();
            assert!(said.contains(&format!("not a place such as {transport}:")), "{said}");
        }
        assert!(Reference::parse_normal("oci:t").is_ok(), "a repository may be called so");
        assert!(!Reference::parse_normal("x/A:y").unwrap_err().to_string().contains("place"));
    }

    #[test]
    fn malformed_references_are_refused() {
        let id = "a".repeat(64);
        let long = format!("x/{}", "a".repeat(300));
        for bad in [
            "",
            ":tag",
            "Busybox",
            "a//b",
            "a/",
            "/a",
            "a b",
            "a:",
            "a:-x",
            "a@sha256:zz",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a._b",
            "x.y:99999/a",
            "x.y:/a",
            "[::g]/a",
            "[::1/a",
            "../a",
            &id,
            &long,
            "a@",
            "http://x/y",
            "x.-y/a",
            "a:b:c/d",
            "é",
        ] {
            assert!(Reference::parse_normal(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tag_and_digest_may_both_be_there() {
        let d = Digest::of(b"");
        let r = Reference::parse_normal(&format!("busybox:1@{d}")).unwrap();
        assert_eq!((r.tag(), r.digest()), (Some("1"), Some(&d)));
        assert_eq!(r.clone().tagged(), r);
    }

    proptest! {
        #[test]
        fn parsing_never_panics(s in "\\PC{0,60}") {
            let _ = Reference::parse_normal(&s);
        }

        #[test]
        fn what_parses_round_trips(s in "([a-zA-Z0-9.-]{1,9}(:[0-9]{1,5})?/)?[a-z0-9._/-]{1,20}(:[a-zA-Z0-9._-]{1,9})?") {
            if let Ok(r) = Reference::parse_normal(&s) {
                prop_assert_eq!(&Reference::parse_normal(&r.to_string()).unwrap(), &r);
                prop_assert_eq!(&Reference::parse_normal(&r.familiar()).unwrap(), &r);
            }
        }
    }
}
