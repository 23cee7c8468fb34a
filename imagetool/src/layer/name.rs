//! Names inside a layer: cleaned once, bytes (never assumed to be UTF-8), relative,
//! without `.`, `..`, empty components or NULs.

use std::fmt;

use crate::error::{Error, Result};

/// The longest path an entry may have. KERNEL: PATH_MAX, path_resolution(7).
pub(crate) const MAX_PATH: usize = 4095;
/// The deepest. Whoever walks the tree may then keep a descriptor a level.
const MAX_DEPTH: usize = 512;

/// A cleaned path below the root; empty for the root itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Vec<u8>);

impl Name {
    /// Cleans a path as found in an archive: leading slashes and `.` go, `a/../b` is `b`,
    /// and a path that climbs above the root is refused.
    pub fn clean(raw: &[u8]) -> Result<Self> {
        let bad = |why: &str| Error::invalid(format!("path {}", show(raw)), why);
        if raw.contains(&0) {
            return Err(bad("it contains a NUL"));
        }
        let mut clean = Vec::with_capacity(raw.len());
        for part in raw.split(|&b| b == b'/') {
            match part {
                b"" | b"." => {}
                b".." if clean.is_empty() => return Err(bad("it climbs out of the root")),
                b".." => clean.truncate(last_slash(&clean).unwrap_or(0)),
                part => {
                    if !clean.is_empty() {
                        clean.push(b'/');
                    }
                    clean.extend_from_slice(part);
                }
            }
        }
        if clean.len() > MAX_PATH {
            return Err(bad("it is longer than 4095 bytes"));
        }
        if depth(&clean) > MAX_DEPTH {
            return Err(bad("it is deeper than 512 directories"));
        }
        Ok(Self(clean))
    }

    /// A path that is clean by construction (read from a directory, or a part of a clean one).
    pub(crate) fn trusted(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The path's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The parent's path and the last component. The root's are both empty.
    pub fn split(&self) -> (&[u8], &[u8]) {
        split(&self.0)
    }

    /// This path with one more component.
    #[must_use]
    pub fn join(&self, base: &[u8]) -> Self {
        Self(join(&self.0, base))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show(&self.0))
    }
}

/// Splits a clean path at its last slash.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match last_slash(path) {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&[], path),
    }
}

/// Joins a clean path and one component.
pub(crate) fn join(dir: &[u8], base: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(dir.len() + 1 + base.len());
    path.extend_from_slice(dir);
    if !dir.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(base);
    path
}

/// How many components a clean path has.
pub(crate) fn depth(path: &[u8]) -> usize {
    if path.is_empty() { 0 } else { path.split(|&b| b == b'/').count() }
}

/// The path and each of its ancestors, without the root, longest first.
pub(crate) fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(path), |p| Some(split(p).0)).take_while(|p| !p.is_empty())
}

fn last_slash(path: &[u8]) -> Option<usize> {
    path.iter().rposition(|&b| b == b'/')
}

/// Foreign bytes for an error's line: quoted, escaped, cut.
pub(crate) fn show(raw: &[u8]) -> String {
    let cut = &raw[..raw.len().min(200)];
    let text = match std::str::from_utf8(cut) {
        Ok(text) => text.escape_debug().to_string(),
        Err(_) => cut.escape_ascii().to_string(),
    };
    format!("\"{text}{}\"", if raw.len() > cut.len() { "…" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn clean(raw: &str) -> Option<String> {
        Name::clean(raw.as_bytes()).ok().map(|n| String::from_utf8(n.0).unwrap())
    }

    #[test]
    fn names_are_cleaned_and_never_climb() {
        assert_eq!(clean("./a//b/./c/").as_deref(), Some("a/b/c"));
        assert_eq!(clean("/etc/passwd").as_deref(), Some("etc/passwd"));
        assert_eq!(clean("a/../b").as_deref(), Some("b"));
        assert_eq!(clean("a/b/../../c").as_deref(), Some("c"));
        assert_eq!(clean("./").as_deref(), Some(""));
        assert_eq!(clean(".."), None);
        assert_eq!(clean("a/../../b"), None);
        assert_eq!(clean("/.."), None);
        assert_eq!(clean("a\0b"), None);
        assert_eq!(clean(&"x/".repeat(3000)), None);
    }

    #[test]
    fn ancestors_and_depth() {
        let all: Vec<&[u8]> = ancestors(b"a/b/c").collect();
        assert_eq!(all, [b"a/b/c".as_slice(), b"a/b", b"a"]);
        assert_eq!(ancestors(b"").count(), 0);
        assert_eq!((depth(b""), depth(b"a"), depth(b"a/b")), (0, 1, 2));
    }

    proptest! {
        #[test]
        fn a_clean_name_has_only_plain_components(raw in proptest::collection::vec(
            prop_oneof![Just(b'.'), Just(b'/'), any::<u8>()], 0..64)) {
            if let Ok(name) = Name::clean(&raw) {
                for part in name.as_bytes().split(|&b| b == b'/') {
                    prop_assert!(name.is_root() || !matches!(part, b"" | b"." | b".."));
                    prop_assert!(!part.contains(&0));
                }
            }
        }
    }
}
