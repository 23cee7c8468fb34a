//! Whiteouts: how a layer says that something of the layers below is gone.
//!
//! SPEC: image-spec layer.md §whiteouts (aufs' form, in archives); KERNEL:
//! overlayfs.rst §whiteouts and opaque directories (a 0:0 character device; the
//! attribute trusted.overlay.opaque = "y", or user.overlay.opaque).

use std::ffi::CStr;

use super::entry::invalid;
use super::name::{Name, join, split};
use crate::error::Result;

/// The prefix of a whiteout's name in an archive.
pub(crate) const PREFIX: &[u8] = b".wh.";
/// The name that makes a directory opaque.
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";
/// The overlay attribute that makes a directory opaque.
///
/// KERNEL: overlayfs.rst §userxattr: who is root in a user namespace alone sets no `trusted.` ones.
pub(crate) fn opaque_xattr() -> &'static CStr {
    if crate::rootless::is_confined() { c"user.overlay.opaque" } else { c"trusted.overlay.opaque" }
}

/// The attribute by which fuse-overlayfs makes a directory opaque.
pub(crate) const FUSE_OPAQUE: &CStr = c"user.fuseoverlayfs.opaque";

/// Whether a name in an upper directory is fuse-overlayfs' own: beside the attribute, a directory
/// that is opaque has two files that say it.
pub(crate) fn is_fuse_mark(base: &[u8]) -> bool {
    base == OPAQUE || base == b".wh..opq"
}

/// What a name in an archive stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Itself.
    None,
    /// Nothing: aufs' own bookkeeping.
    Skip,
    /// This directory is opaque.
    Opaque(Name),
    /// This path is gone.
    Whiteout(Name),
}

/// Reads a cleaned name.
pub(super) fn mark(name: &Name) -> Result<Mark> {
    let path = name.as_bytes();
    if !path.windows(PREFIX.len()).any(|w| w == PREFIX) {
        return Ok(Mark::None);
    }
    let (dir, base) = split(path);
    match dir.split(|&b| b == b'/').find(|p| p.starts_with(PREFIX)) {
        Some(part) if part.starts_with(b".wh..wh.") => return Ok(Mark::Skip),
        Some(_) => return Err(invalid("a directory's name starts with .wh., which is reserved")),
        None => {}
    }
    match base.strip_prefix(PREFIX) {
        None => Ok(Mark::None),
        Some(_) if base == OPAQUE => Ok(Mark::Opaque(Name::trusted(dir))),
        Some(rest) if rest.starts_with(PREFIX) => Ok(Mark::Skip),
        Some(b"" | b"." | b"..") => Err(invalid("it is a whiteout of no file's name")),
        Some(rest) => Ok(Mark::Whiteout(Name::trusted(join(dir, rest)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> Result<Mark> {
        mark(&Name::clean(path.as_bytes()).unwrap())
    }

    fn name(path: &str) -> Name {
        Name::clean(path.as_bytes()).unwrap()
    }

    #[test]
    fn marks() {
        assert_eq!(of("a/b").unwrap(), Mark::None);
        assert_eq!(of("a/x.wh.b").unwrap(), Mark::None);
        assert_eq!(of("a/.wh.b").unwrap(), Mark::Whiteout(name("a/b")));
        assert_eq!(of(".wh.b").unwrap(), Mark::Whiteout(name("b")));
        assert_eq!(of("a/.wh..wh..opq").unwrap(), Mark::Opaque(name("a")));
        assert_eq!(of(".wh..wh..opq").unwrap(), Mark::Opaque(name("")));
        assert_eq!(of(".wh..wh.plnk/12.34").unwrap(), Mark::Skip);
        assert_eq!(of(".wh..wh.aufs").unwrap(), Mark::Skip);
    }

    #[test]
    fn a_whiteout_of_dot_or_dotdot_is_refused() {
        assert!(of("a/.wh...").is_err());
        assert!(of("a/.wh..").is_err());
        assert!(of("a/.wh.").is_err());
        assert!(of("a/.wh.b/c").is_err());
    }
}
