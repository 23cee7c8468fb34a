//! `-v`, `--volumes-from`.

use std::path::Path;

use super::{PROPAGATION, clean, target};
use crate::error::{Error, Result};

/// One `-v`, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Host path (absolute), volume name, or nothing for an anonymous volume.
    pub source: Option<String>,
    /// In the container, absolute.
    pub target: String,
    /// Options as typed, `ro,z`.
    pub mode: String,
    /// Mounted read-only.
    pub read_only: bool,
    /// Mount propagation, empty for the default.
    pub propagation: String,
    /// The image's files are not copied in.
    pub no_copy: bool,
}

impl Volume {
    /// The source is a path of the host.
    pub fn is_bind(&self) -> bool {
        self.source.as_deref().is_some_and(|s| s.starts_with('/'))
    }
}

/// What the words after the last colon say.
#[derive(Debug, Default)]
struct Mode {
    read_only: bool,
    propagation: String,
    no_copy: bool,
}

impl Mode {
    /// Of each kind one word at most, and no word that is of no kind.
    fn parse(text: &str) -> Option<Self> {
        let mut mode = Self::default();
        let mut kinds = Vec::new();
        for word in text.split(',').filter(|_| !text.is_empty()) {
            let kind = match word {
                "ro" | "rw" => {
                    mode.read_only = word == "ro";
                    0
                }
                // SELinux labels: nothing to do on a machine without the LSM.
                "z" | "Z" => 1,
                "nocopy" => {
                    mode.no_copy = true;
                    2
                }
                // Hints to other systems than Linux.
                "consistent" | "cached" | "delegated" => 3,
                word if PROPAGATION.contains(&word) => {
                    word.clone_into(&mut mode.propagation);
                    4
                }
                _ => return None,
            };
            if kinds.contains(&kind) {
                return None;
            }
            kinds.push(kind);
        }
        Some(mode)
    }
}

/// `[SRC:]DST[:OPTIONS]`; a source with a slash is a path, `.` and `..` relative to `cwd`.
pub fn volume(text: &str, cwd: &Path) -> Result<Volume> {
    let unreadable = |why: &str| Error::usage(format!("invalid spec: {text}: {why}"));
    let invalid =
        |why: String| Error::conflict(format!("invalid volume specification: '{text}'{why}"));
    let parts: Vec<&str> = text.split(':').collect();
    if text.is_empty() {
        return Err(Error::usage("invalid empty volume spec"));
    } else if parts.iter().any(|part| part.is_empty()) {
        return Err(unreadable("empty section between colons"));
    }
    let (source, inside, mode) = match parts[..] {
        [inside] => (None, inside, ""),
        // A mode without a source is no volume.
        [_, mode] if Mode::parse(mode).is_some() => return Err(invalid(String::new())),
        [source, inside] => (Some(source), inside, ""),
        [source, inside, mode] => (Some(source), inside, mode),
        _ => return Err(unreadable("too many colons")),
    };
    let source = source.map(|source| absolute(source, cwd)).transpose()?;
    let kind =
        if source.as_deref().is_some_and(|s| s.starts_with('/')) { "bind" } else { "volume" };
    let config =
        |why: String| invalid(format!(": invalid mount config for type \"{kind}\": {why}"));
    let settled = target(inside).map_err(config)?;
    let read = Mode::parse(mode).ok_or_else(|| Error::conflict(format!("invalid mode: {mode}")))?;
    if kind == "volume" && !read.propagation.is_empty() {
        return Err(config(
            "field BindOptions must not be specified; propagation is for host paths".into(),
        ));
    }
    if kind == "bind" && read.no_copy {
        return Err(config(
            "field VolumeOptions must not be specified; nocopy is for volumes".into(),
        ));
    }
    if let Some(name) = source.as_deref().filter(|_| kind == "volume") {
        crate::store::check_volume_name(name)?;
    }
    Ok(Volume {
        source,
        target: settled,
        mode: mode.to_owned(),
        read_only: read.read_only,
        propagation: read.propagation,
        no_copy: read.no_copy,
    })
}

fn absolute(source: &str, cwd: &Path) -> Result<String> {
    if source.starts_with('/') {
        return Ok(clean(source));
    }
    if source.starts_with('.') {
        let joined = cwd.join(source);
        let text = joined.to_str();
        let text = text.ok_or_else(|| {
            Error::usage("--volume: the current directory's name is not UTF-8; give a full path")
        })?;
        return Ok(clean(text));
    }
    Ok(source.to_owned())
}

/// `CONTAINER[:ro]` → the container, and whether its volumes may be written to.
pub fn from(text: &str) -> Result<(&str, bool)> {
    let (name, mode) = text.split_once(':').unwrap_or((text, ""));
    if name.is_empty() {
        return Err(Error::conflict("volumes-from specification cannot be an empty string"));
    }
    match Mode::parse(mode) {
        Some(read) if read.propagation.is_empty() && !read.no_copy => Ok((name, !read.read_only)),
        _ => Err(Error::conflict(format!(
            "invalid mode: {mode}; --volumes-from takes ro, rw, z or Z"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Volume> {
        volume(text, Path::new("/here"))
    }

    #[test]
    fn volumes_read_as_docker_reads_them() {
        for (text, source, target, ro) in [
            ("/a", None, "/a", false),
            ("/a:/b", Some("/a"), "/b", false),
            ("/a:/b/:ro", Some("/a"), "/b", true),
            ("./a:/b:ro,z", Some("/here/a"), "/b", true),
            ("..:/b", Some("/"), "/b", false),
            (".hidden:/b", Some("/here/.hidden"), "/b", false),
            ("data:/b:nocopy", Some("data"), "/b", false),
            ("/a:/b:rslave", Some("/a"), "/b", false),
            ("/a:/b:rshared,Z,rw,delegated", Some("/a"), "/b", false),
        ] {
            let got = parse(text).unwrap();
            assert_eq!(got.source.as_deref(), source, "{text}");
            assert_eq!((got.target.as_str(), got.read_only), (target, ro), "{text}");
        }
    }

    #[test]
    fn volumes_that_docker_refuses_are_refused_in_its_words() {
        for (bad, words) in [
            ("", "invalid empty volume spec"),
            ("a", "invalid mount path: 'a' mount path must be absolute"),
            ("/a:ro", "invalid volume specification: '/a:ro'"),
            ("/a:b", "invalid mount config for type \"bind\": invalid mount path: 'b'"),
            ("/a:/", "invalid specification: destination can't be '/'"),
            (":/b", "empty section between colons"),
            ("/a:/b:", "empty section between colons"),
            ("/a:/b:xx", "invalid mode: xx"),
            ("/a:/b:ro:ro", "too many colons"),
            ("/a:/b:ro,rw", "invalid mode: ro,rw"),
            ("/a:/b:nocopy", "field VolumeOptions must not be specified"),
            ("data:/b:rslave", "field BindOptions must not be specified"),
            ("x/y:/b", "includes invalid characters for a local volume name"),
            ("~/y:/b", "If you intended to pass a host directory, use absolute path"),
            ("a:/b", "create a: volume name is too short"),
        ] {
            let said = parse(bad).unwrap_err().message;
            assert!(said.contains(words), "{bad}: {said}");
        }
    }

    #[test]
    fn volumes_from_take_read_only() {
        assert_eq!(from("a:ro").unwrap(), ("a", false));
        assert_eq!(from("a").unwrap(), ("a", true));
        for bad in ["", "a:rslave", "a:nocopy", "a:x"] {
            assert!(from(bad).is_err(), "{bad}");
        }
    }
}
