//! Places an image can be, named as skopeo names them: `docker://REF`, `oci:DIR[:NAME]`,
//! `oci-archive:FILE[:NAME]`, `docker-archive:FILE[:NAME|:@N]`, `dir:DIR`, and without a
//! prefix the store. The file `-` is stdin or stdout.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

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

impl FromStr for Place {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |why: &str| Error::usage("place", text, why);
        if let Some(rest) = text.strip_prefix("docker://") {
            return Ok(Self::Registry(Reference::parse_normal(rest)?.tagged()));
        }
        let Some((transport, rest)) = text.split_once(':') else {
            return Ok(Self::Store(text.to_owned()));
        };
        let split = || {
            let (path, name) = rest.split_once(':').unwrap_or((rest, ""));
            if path.is_empty() {
                return Err(bad("the path lacks"));
            }
            let which = match (name, name.strip_prefix('@').map(str::parse)) {
                ("", _) => Which::Only,
                (_, Some(Ok(n))) => Which::Nth(n),
                (_, Some(Err(_))) => return Err(bad("after @ comes a number")),
                (name, None) => Which::Named(name.to_owned()),
            };
            Ok((path, which))
        };
        Ok(match transport {
            "oci" => split().map(|(p, w)| Self::Layout(p.into(), w))?,
            "oci-archive" => split().map(|(p, w)| Self::OciArchive(File::new(p), w))?,
            "docker-archive" => split().map(|(p, w)| Self::DockerArchive(File::new(p), w))?,
            "dir" if rest.is_empty() => return Err(bad("the path lacks")),
            "dir" => Self::Dir(rest.into()),
            "containers-storage" | "docker-daemon" | "ostree" | "sif" | "tarball" => {
                return Err(Error::unsupported(
                    format!("the transport {transport}:"),
                    "use docker://, oci:, oci-archive:, docker-archive:, dir:, or a name in the store",
                ));
            }
            _ => Self::Store(text.to_owned()),
        })
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
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Only => Ok(()),
            Self::Named(name) => write!(f, ":{name}"),
            Self::Nth(n) => write!(f, ":@{n}"),
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
        ] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(s in "\\PC{0,40}") {
            let _ = s.parse::<Place>();
        }
    }
}
