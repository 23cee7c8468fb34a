//! A sync's list of images in YAML: registries, their repositories, and which tags of them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use regex_lite::Regex;
use serde::Deserialize;

use super::{Constraint, Version};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::reference::Reference;
use crate::yaml;

/// What is wanted of one registry, and how to speak to it.
#[derive(Debug)]
pub struct Wanted {
    /// Its name.
    pub registry: String,
    /// Its repositories, as they are listed.
    pub listed: Vec<Listed>,
    /// A user and a password.
    pub credentials: Option<(String, String)>,
    /// Whether certificates are checked.
    pub tls_verify: Option<bool>,
    /// Where its certificates are.
    pub cert_dir: Option<PathBuf>,
}

/// A repository and what is wanted of it.
#[derive(Debug)]
pub struct Listed {
    /// Its name below the registry's.
    pub name: String,
    /// Which of its images.
    pub tags: Tags,
}

/// Which images of a repository.
#[derive(Debug)]
pub enum Tags {
    /// All that have tags.
    All,
    /// These tags and digests.
    These(Vec<String>),
    /// Tags that a pattern is found in.
    Matching(Regex),
    /// Tags that are versions of some kind.
    Versions(Constraint),
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "kebab-case")]
struct Section {
    images: Option<BTreeMap<String, Option<Vec<String>>>>,
    images_by_tag_regex: Option<BTreeMap<String, String>>,
    images_by_semver: Option<BTreeMap<String, String>>,
    credentials: Option<User>,
    tls_verify: Option<bool>,
    cert_dir: Option<PathBuf>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct User {
    username: String,
    password: String,
}

/// Reads such a list; `what` names it in errors.
pub fn parse(text: &str, what: &str) -> Result<Vec<Wanted>> {
    let bad = |e: &dyn std::fmt::Display| Error::invalid(what, e);
    let document = yaml::parse(text).map_err(|e| bad(&e))?;
    let all: BTreeMap<String, Option<Section>> =
        serde_json::from_value(document).map_err(|e| bad(&e))?;
    all.into_iter().map(|(name, section)| wanted(name, section.unwrap_or_default(), what)).collect()
}

fn wanted(registry: String, section: Section, what: &str) -> Result<Wanted> {
    let mut listed = Vec::new();
    for (name, tags) in section.images.unwrap_or_default() {
        let tags = tags.filter(|t| !t.is_empty()).map_or(Tags::All, Tags::These);
        listed.push(Listed { name, tags });
    }
    for (name, pattern) in section.images_by_tag_regex.unwrap_or_default() {
        let regex =
            Regex::new(&pattern).map_err(|e| Error::invalid(format!("{what}: {name}"), e))?;
        listed.push(Listed { name, tags: Tags::Matching(regex) });
    }
    for (name, text) in section.images_by_semver.unwrap_or_default() {
        let constraint =
            Constraint::parse(&text).map_err(|e| Error::invalid(format!("{what}: {name}"), e))?;
        listed.push(Listed { name, tags: Tags::Versions(constraint) });
    }
    let user = section.credentials.filter(|u| !u.username.is_empty() || !u.password.is_empty());
    Ok(Wanted {
        registry,
        listed,
        credentials: user.map(|u| (u.username, u.password)),
        tls_verify: section.tls_verify,
        cert_dir: section.cert_dir.filter(|d| !d.as_os_str().is_empty()),
    })
}

impl Listed {
    /// The repository: a name without tag and digest.
    pub fn repository(&self, registry: &str) -> Result<Reference> {
        let text = format!("{registry}/{}", self.name);
        let name = Reference::parse_normal(&text)?;
        if name.tag().is_some() || name.digest().is_some() {
            let why = "input names a reference, not a repository";
            return Err(Error::usage("repository", text, why));
        }
        Ok(name)
    }

    /// Whether the registry's tags have to be asked for.
    pub fn asks(&self) -> bool {
        !matches!(self.tags, Tags::These(_))
    }

    /// Its images; `tags` are all that the repository has. One that can't be named is an error
    /// of its own.
    pub fn images(&self, repository: &Reference, tags: &[String]) -> Vec<Result<Reference>> {
        let tagged = |tag: &String| repository.with_tag(tag);
        match &self.tags {
            Tags::These(texts) => texts
                .iter()
                .map(|text| match text.parse::<Digest>() {
                    Ok(digest) => Ok(repository.with_digest(&digest)),
                    Err(_) => tagged(text),
                })
                .collect(),
            Tags::All => tags.iter().map(tagged).collect(),
            Tags::Matching(regex) => {
                tags.iter().filter(|t| regex.is_match(t)).map(tagged).collect()
            }
            Tags::Versions(constraint) => {
                let fits = |t: &&String| Version::parse(t).is_some_and(|v| constraint.fits(&v));
                tags.iter().filter(fits).map(tagged).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIST: &str = r#"
registry.example.com:
    images:
        busybox: []
        redis:
            - "1.0"
            - "sha256:0000000000000000000000000000000011111111111111111111111111111111"
    images-by-tag-regex:
        nginx: ^1\.13\.[12]-alpine-perl$
    credentials:
        username: john
        password: this is a secret
    tls-verify: true
    cert-dir: /home/john/certs
quay.io:
    tls-verify: false
    images-by-semver:
        alpine: ">= 3.12.0"
"#;

    #[test]
    fn a_list_is_read_as_skopeo_reads_it() {
        let all = parse(LIST, "l").unwrap();
        let [quay, example] = &all[..] else { panic!() };
        assert_eq!((quay.tls_verify, example.tls_verify), (Some(false), Some(true)));
        assert_eq!(example.credentials.as_ref().unwrap().1, "this is a secret");
        let tags = ["1.13.1-alpine-perl", "1.13.3-alpine-perl", "3.12.1", "3.9"].map(String::from);
        let names = |wanted: &Wanted| -> Vec<String> {
            let images = |l: &Listed| {
                let repository = l.repository(&wanted.registry).unwrap();
                l.images(&repository, &tags).into_iter().map(|r| r.unwrap().familiar())
            };
            wanted.listed.iter().flat_map(images).collect()
        };
        assert_eq!(names(quay), ["quay.io/alpine:3.12.1"]);
        let example = names(example);
        assert_eq!(example.len(), 4 + 2 + 1, "{example:?}");
        assert!(
            example[5].ends_with(
                "@sha256:0000000000000000000000000000000011111111111111111111111111111111"
            )
        );
        assert!(example[6].ends_with("nginx:1.13.1-alpine-perl"));
    }

    #[test]
    fn nonsense_is_named() {
        for bad in [
            "- a",
            "a: {images: 3}",
            "a: {images-by-tag-regex: {x: '('}}",
            "a: {images-by-semver: {x: 'z'}}",
            "a: {tls-verify: maybe}",
        ] {
            assert!(parse(bad, "l").is_err(), "{bad}");
        }
        assert!(parse("a:\n", "l").unwrap()[0].listed.is_empty());
    }

    proptest! {
        #[test]
        fn parsing_never_panics(s in "\\PC{0,100}") {
            let _ = parse(&s, "l");
        }
    }
}
