//! `--cache-from` and `--cache-to`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::csv::fields;
use super::refuse;
use crate::error::Result;
use crate::reference::Reference;

/// A place that steps' results may be taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheFrom {
    /// A registry: a cache, or an image that has one within.
    Registry(Reference),
    /// A directory.
    Local {
        /// Where it is.
        dir: PathBuf,
        /// Its tag or digest, if not `latest`.
        which: Option<String>,
    },
}

/// A place that steps' results are brought to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheTo {
    /// The image itself.
    Inline,
    /// A registry.
    Registry {
        /// Under this name.
        reference: Reference,
        /// `mode=max`: those of all stages, not of the target alone.
        all: bool,
    },
    /// A directory.
    Local {
        /// Where it is, or will be.
        dir: PathBuf,
        /// Its tag, if not `latest`.
        tag: Option<String>,
        /// As above.
        all: bool,
    },
}

/// All `--cache-from`.
pub fn from(typed: &[String]) -> Result<Vec<CacheFrom>> {
    let mut all = Vec::new();
    for mut entry in entries(typed)? {
        all.push(match entry.kind.as_str() {
            "registry" => CacheFrom::Registry(entry.reference()?),
            "local" => {
                let dir = entry.dir("src", "--cache-from")?;
                let digest = entry.attrs.remove("digest");
                CacheFrom::Local { dir, which: digest.or_else(|| entry.attrs.remove("tag")) }
            }
            other => return Err(unknown("importer", other)),
        });
        entry.end("--cache-from")?;
    }
    Ok(all)
}

/// All `--cache-to`.
pub fn to(typed: &[String]) -> Result<Vec<CacheTo>> {
    let mut all = Vec::new();
    for mut entry in entries(typed)? {
        let max = match entry.attrs.remove("mode").as_deref() {
            None | Some("min") => false,
            Some("max") => true,
            Some(other) => {
                return Err(refuse(format!("invalid cache mode {other:?}; it is min or max")));
            }
        };
        // What can't be kept fails the build, unless this says otherwise.
        if entry.attrs.remove("ignore-error").is_some_and(|v| v != "false") {
            return Err(refuse("--cache-to: ignore-error=true is not supported".into()));
        }
        all.push(match entry.kind.as_str() {
            "inline" => CacheTo::Inline,
            "registry" => CacheTo::Registry { reference: entry.reference()?, all: max },
            "local" => {
                let dir = entry.dir("dest", "--cache-to")?;
                CacheTo::Local { dir, tag: entry.attrs.remove("tag"), all: max }
            }
            other => return Err(unknown("exporter", other)),
        });
        entry.end("--cache-to")?;
    }
    Ok(all)
}

fn unknown(what: &str, kind: &str) -> crate::Error {
    refuse(format!("unknown cache {what}: {kind:?}; it is one of inline, local, registry"))
}

struct Entry {
    kind: String,
    attrs: BTreeMap<String, String>,
}

fn entries(typed: &[String]) -> Result<Vec<Entry>> {
    let mut all = Vec::new();
    for text in typed.iter().filter(|text| !text.is_empty()) {
        let found = fields(text).map_err(refuse)?;
        if !text.contains('=') {
            // Names alone, each of an image.
            all.extend(found.iter().map(|name| Entry {
                kind: "registry".into(),
                attrs: [("ref".to_owned(), name.to_string())].into(),
            }));
            continue;
        }
        let mut attrs = BTreeMap::new();
        for field in &found {
            let Some((key, value)) = field.split_once('=') else {
                return Err(refuse(format!("invalid value {field}")));
            };
            attrs.insert(key.to_ascii_lowercase(), value.to_owned());
        }
        let Some(kind) = attrs.remove("type").filter(|kind| !kind.is_empty()) else {
            return Err(refuse(format!("type required for {text:?}")));
        };
        all.push(Entry { kind, attrs });
    }
    Ok(all)
}

impl Entry {
    fn reference(&mut self) -> Result<Reference> {
        let Some(text) = self.attrs.remove("ref").filter(|text| !text.is_empty()) else {
            return Err(refuse("type=registry: ref is required, the cache's name".into()));
        };
        Ok(Reference::parse_normal(&text)?.tagged())
    }

    fn dir(&mut self, key: &str, flag: &str) -> Result<PathBuf> {
        let dir = self.attrs.remove(key).filter(|dir| !dir.is_empty());
        dir.map(PathBuf::from)
            .ok_or_else(|| refuse(format!("{flag} type=local: {key} is required, a directory")))
    }

    fn end(self, flag: &str) -> Result<()> {
        // What only says how BuildKit writes manifests, and holds here anyway.
        let mut rest = self.attrs.keys().filter(|key| {
            !matches!(key.as_str(), "image-manifest" | "oci-mediatypes" | "oci-artifact")
        });
        match rest.next() {
            None => Ok(()),
            Some(key) => {
                Err(refuse(format!("{flag} type={}: {key:?} is not supported", self.kind)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn caches_are_read_as_buildx_reads_them() {
        let name = |text: &str| Reference::parse_normal(text).unwrap().tagged();
        let froms = |text: &str| from(&[text.to_owned()]);
        let registry = |text: &str| CacheFrom::Registry(name(text));
        assert_eq!(froms("a:1,b").unwrap(), [registry("a:1"), registry("b")]);
        assert_eq!(froms("type=registry,ref=r.io/a").unwrap(), [registry("r.io/a")]);
        let local = |which: Option<&str>| CacheFrom::Local {
            dir: "d".into(),
            which: which.map(str::to_owned),
        };
        assert_eq!(froms("type=local,src=d").unwrap(), [local(None)]);
        assert_eq!(froms("type=local,src=d,tag=x").unwrap(), [local(Some("x"))]);
        let tos = |text: &str| to(&[text.to_owned()]);
        assert_eq!(tos("type=inline").unwrap(), [CacheTo::Inline]);
        assert_eq!(tos("a").unwrap(), [CacheTo::Registry { reference: name("a"), all: false }]);
        assert_eq!(
            tos("type=local,dest=d,mode=max").unwrap(),
            [CacheTo::Local { dir: "d".into(), tag: None, all: true }]
        );
        for (text, told) in [
            ("type=gha", "unknown cache exporter: \"gha\"; it is one of inline, local, registry"),
            ("type=local", "--cache-to type=local: dest is required, a directory"),
            ("type=registry", "type=registry: ref is required, the cache's name"),
            ("ref=a", "type required for \"ref=a\""),
            ("type=inline,mode=most", "invalid cache mode \"most\"; it is min or max"),
            (
                "type=inline,compression=zstd",
                "--cache-to type=inline: \"compression\" is not supported",
            ),
        ] {
            assert_eq!(tos(text).unwrap_err().to_string(), told);
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "(type=(local|registry|inline))?[a-z=,\":@.-]{0,30}|\\PC{0,30}") {
            let typed = [text];
            let _ = (from(&typed), to(&typed));
        }
    }
}
