//! Places an image can be, named as skopeo names them: `docker://REF`, `oci:DIR[:NAME]`,
//! `oci-archive:FILE[:NAME]`, `docker-archive:FILE[:NAME|:@N]`, `dir:DIR`, `docker-daemon:NAME|ID`,
//! `containers-storage:[[STORE]]NAME|@ID`, and without a prefix the store. The file `-` is stdin or
//! stdout.
//!
//! SPEC: containers-transports(5). An OCI layout's image can be chosen by `:@DIGEST`, too.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::digest::{Algorithm, Digest};
use crate::error::{Error, Result};
use crate::reference::Reference;

/// A place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The store: a name or an id.
    Store(String),
    /// A registry.
    Registry(Reference),
    /// An OCI layout in a directory.
    Layout(PathBuf, Which),
    /// An image's files in a directory, as skopeo lays them.
    Dir(PathBuf),
    /// An OCI layout in a tar.
    OciArchive(File, Which),
    /// What `docker save` writes.
    DockerArchive(File, Which),
    /// What a docker daemon has.
    DockerDaemon(Held),
    /// What podman, buildah and CRI-O have; the text after the transport, as it was typed.
    ContainersStorage(String),
}

/// An image of a daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// By its name, with a tag or a digest.
    Named(Reference),
    /// By its id, a config's digest.
    Id(Digest),
}

/// Which of several images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The only one.
    Only,
    /// The one of this name.
    Named(String),
    /// The Nth, from 0.
    Nth(usize),
    /// The one of this digest.
    Of(Digest),
}

/// A file, or stdin or stdout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum File {
    /// `-`
    Std,
    /// A path.
    Path(PathBuf),
}

impl File {
    /// `-` or a path.
    pub fn new(text: &str) -> Self {
        if text == "-" { Self::Std } else { Self::Path(text.into()) }
    }
}

impl Place {
    /// Whether reading from it needs the store: for what is there, or to lay an archive's parts in.
    pub fn is_read_by_store(&self) -> bool {
        match self {
            Self::Store(_)
            | Self::OciArchive(..)
            | Self::DockerArchive(..)
            | Self::DockerDaemon(_) => true,
            Self::Registry(_) | Self::Layout(..) | Self::Dir(_) | Self::ContainersStorage(_) => {
                false
            }
        }
    }
}

impl FromStr for Place {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some((transport, rest)) = text.split_once(':') else {
            return Ok(Self::Store(text.to_owned()));
        };
        let bad = |why: String| invalid_name(text, why);
        Ok(match transport {
            "docker" => {
                let Some(name) = rest.strip_prefix("//") else {
                    // A repository may be called docker, but a tag never begins with a slash.
                    if rest.starts_with('/') {
                        return Err(bad("write docker://NAME".into()));
                    }
                    return Ok(Self::Store(text.to_owned()));
                };
                Self::Registry(Reference::parse_normal(name)?.tagged())
            }
            "oci" => {
                let (path, which) = split(rest).map_err(bad)?;
                layout_name(&which).map_err(bad)?;
                Self::Layout(path.into(), which)
            }
            "oci-archive" => {
                let (path, which) = split(rest).map_err(bad)?;
                layout_name(&which).map_err(bad)?;
                Self::OciArchive(File::new(path), which)
            }
            "docker-archive" => {
                let (path, which) = split(rest).map_err(bad)?;
                match &which {
                    Which::Named(name) if Reference::parse_normal(name)?.digest().is_some() => {
                        return Err(bad("a docker archive's names have tags, no digests".into()));
                    }
                    Which::Of(_) => return Err(bad("after @ comes a number".into())),
                    _ => {}
                }
                Self::DockerArchive(File::new(path), which)
            }
            "dir" if rest.is_empty() => return Err(bad("the path lacks".into())),
            "dir" => Self::Dir(rest.into()),
            "docker-daemon" => Self::DockerDaemon(held(rest).map_err(bad)?),
            "containers-storage" if rest.is_empty() => return Err(bad("the name lacks".into())),
            "containers-storage" => Self::ContainersStorage(rest.to_owned()),
            "atomic" | "ostree" | "sif" | "tarball" => {
                return Err(Error::unsupported(
                    format!("the transport {transport}:"),
                    "use docker://, oci:, oci-archive:, docker-archive:, dir:, docker-daemon:, containers-storage:, or a name in the store",
                ));
            }
            _ => Self::Store(text.to_owned()),
        })
    }
}

/// The transport that a text begins with, which can't be read as a name.
pub(crate) fn prefix(text: &str) -> Option<&str> {
    let (transport, _) = text.split_once(':')?;
    let known = [
        "docker",
        "oci",
        "oci-archive",
        "docker-archive",
        "dir",
        "docker-daemon",
        "containers-storage",
    ];
    known.contains(&transport).then_some(transport)
}

/// skopeo's words for it, which scripts look for.
fn invalid_name(text: &str, why: impl fmt::Display) -> Error {
    Error::usage("image name", text, why)
}

/// `PATH[:NAME|:@N|:@DIGEST]`
fn split(text: &str) -> Result<(&str, Which), String> {
    let (path, name) = text.split_once(':').unwrap_or((text, ""));
    if path.is_empty() {
        return Err("the path lacks".into());
    }
    let which = match name.strip_prefix('@') {
        None if name.is_empty() => Which::Only,
        None => Which::Named(name.to_owned()),
        Some(digest) if digest.contains(':') => {
            Which::Of(digest.parse().map_err(|e: Error| e.to_string())?)
        }
        Some(number) => Which::Nth(number.parse().map_err(|_| "after @ comes a number")?),
    };
    Ok((path, which))
}

/// SPEC: image-spec annotations.md: `org.opencontainers.image.ref.name`, with `@` as skopeo
/// takes it.
fn layout_name(which: &Which) -> Result<(), String> {
    let Which::Named(name) = which else { return Ok(()) };
    let separator = |s: &str| matches!(s, "-" | "." | "_" | ":" | "@" | "+" | "--");
    let fits = name.split('/').all(|part| {
        let ends = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
        ends(part.bytes().next())
            && ends(part.bytes().last())
            && part
                .split(|c: char| c.is_ascii_alphanumeric())
                .all(|between| between.is_empty() || separator(between))
    });
    if fits { Ok(()) } else { Err(format!("Invalid image {name}")) }
}

/// `NAME:TAG`, `NAME@DIGEST` or a digest.
fn held(text: &str) -> Result<Held, String> {
    if let Ok(id) = text.parse::<Digest>() {
        if id.algorithm() != Algorithm::Sha256 {
            return Err("an id is a sha256".into());
        }
        return Ok(Held::Id(id));
    }
    let name = Reference::parse_normal(text).map_err(|e| e.to_string())?;
    if name.familiar_name() == "sha256" {
        return Err("sha256 is the name of whole digests".into());
    }
    match (name.tag(), name.digest()) {
        (None, None) => Err("the name has neither a tag nor a digest".into()),
        (Some(_), Some(_)) => Err("a tag and a digest are too much".into()),
        _ => Ok(Held::Named(name)),
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(name) => f.write_str(name),
            Self::Registry(reference) => write!(f, "docker://{reference}"),
            Self::Layout(path, which) => write!(f, "oci:{}{which}", path.display()),
            Self::Dir(path) => write!(f, "dir:{}", path.display()),
            Self::OciArchive(file, which) => write!(f, "oci-archive:{file}{which}"),
            Self::DockerArchive(file, which) => write!(f, "docker-archive:{file}{which}"),
            Self::DockerDaemon(Held::Named(name)) => {
                write!(f, "docker-daemon:{}", name.familiar())
            }
            Self::DockerDaemon(Held::Id(id)) => write!(f, "docker-daemon:{id}"),
            Self::ContainersStorage(rest) => write!(f, "containers-storage:{rest}"),
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Only => Ok(()),
            Self::Named(name) => write!(f, ":{name}"),
            Self::Nth(n) => write!(f, ":@{n}"),
            Self::Of(digest) => write!(f, ":@{digest}"),
        }
    }
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Std => f.write_str("-"),
            Self::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn places_are_read_as_skopeo_reads_them() {
        for (text, place) in [
            ("busybox:1", Place::Store("busybox:1".into())),
            ("127.0.0.1:5000/a:b", Place::Store("127.0.0.1:5000/a:b".into())),
            ("oci:/d/x:y:1", Place::Layout("/d/x".into(), Which::Named("y:1".into()))),
            ("dir:/d/a:b", Place::Dir("/d/a:b".into())),
            ("oci-archive:-", Place::OciArchive(File::Std, Which::Only)),
            (
                "docker-archive:f.tar:@1",
                Place::DockerArchive(File::Path("f.tar".into()), Which::Nth(1)),
            ),
            ("oci:d:@3", Place::Layout("d".into(), Which::Nth(3))),
            (
                "docker-daemon:busybox:1",
                Place::DockerDaemon(Held::Named(Reference::parse_normal("busybox:1").unwrap())),
            ),
            ("containers-storage:[/s]a:b@c", Place::ContainersStorage("[/s]a:b@c".into())),
            ("docker:1", Place::Store("docker:1".into())),
        ] {
            assert_eq!(text.parse::<Place>().unwrap(), place);
            assert_eq!(place.to_string(), text);
        }
        assert!(matches!("docker://busybox".parse::<Place>(), Ok(Place::Registry(_))));
        for bad in [
            "docker://",
            "oci:",
            "oci::x",
            "docker-archive:f:@x",
            "dir:",
            "ostree:/x",
            "docker://A/b/C",
            "docker:/x",
            "oci:d:a b",
            "oci:d:@-1",
            "docker-archive:f:a@sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "docker-daemon:busybox",
            "docker-daemon:sha256:0",
            "containers-storage:",
        ] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }

    #[test]
    fn layouts_find_by_digest_and_daemons_by_id() {
        let d = Digest::of(b"");
        let text = format!("oci:x:@{d}");
        assert_eq!(text.parse::<Place>().unwrap(), Place::Layout("x".into(), Which::Of(d.clone())));
        let text = format!("docker-daemon:{d}");
        assert_eq!(text.parse::<Place>().unwrap(), Place::DockerDaemon(Held::Id(d)));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(s in "\\PC{0,40}|(oci|docker|docker-archive|docker-daemon):\\PC{0,30}") {
            let _ = s.parse::<Place>();
        }
    }
}
