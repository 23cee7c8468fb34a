//! A file or a tree of the host's becomes a layer that puts it somewhere in an image, or a layer
//! takes something away.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::walk::Walk;
use crate::error::{Error, Result};
use crate::layer::at::is_dir;
use crate::layer::{Adjust, Closed, Delta, Packed, RootDir};

/// What whiteouts begin with.
const WHITEOUT: &[u8] = b".wh.";

/// A path in an image, without what leads nowhere or up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(Vec<u8>);

impl Target {
    /// Reads it; a name of it that means a whiteout is refused.
    pub fn new(text: &str) -> Result<Self> {
        let bad = |why: &str| Error::usage("path", text, why);
        if text.is_empty() {
            return Err(bad("it is empty"));
        }
        if text.contains('\0') {
            return Err(bad("it has a NUL"));
        }
        let mut names: Vec<&[u8]> = Vec::new();
        for part in Path::new(text).components() {
            match part {
                Component::Normal(name) => names.push(name.as_bytes()),
                // Nothing is above the image's root.
                Component::ParentDir => drop(names.pop()),
                _ => {}
            }
        }
        if names.iter().any(|name| name.starts_with(WHITEOUT)) {
            return Err(bad("a name that begins with .wh. means a whiteout in a layer"));
        }
        Ok(Self(names.join(&b'/')))
    }

    /// As an archive has it.
    fn name(&self) -> &[u8] {
        if self.0.is_empty() { b"." } else { &self.0 }
    }
}

/// Writes a layer that puts `from`, with all below it, at a path. With `opaque` nothing stays of
/// what a directory there had before. Links are put as links.
pub fn insert(
    from: &Path,
    to: &Target,
    opaque: bool,
    adjust: Adjust<'_>,
    out: &mut dyn Write,
) -> Result<Packed> {
    let at = |e| Error::io("read", from, e);
    if !from.symlink_metadata().map_err(at)?.is_dir() {
        return file(from, to, adjust, out);
    }
    let root = RootDir::open(from)?;
    let mut walk = Walk::new(&root, Closed::default())?;
    let mut delta = Delta::new(&root, adjust, out).renamed(b"", to.name());
    if opaque {
        delta.opaque(&to.0)?;
    }
    let (top, stat) = (walk.list(b"")?.0, walk.top()?);
    delta.put_root(&top, &stat)?;
    drop(top);
    below(&mut walk, &mut delta, b"")?;
    walk.close()?;
    delta.finish()
}

/// A directory's entries, then what is below them: none is held open meanwhile.
fn below<W: Write>(walk: &mut Walk<'_>, delta: &mut Delta<'_, W>, path: &[u8]) -> Result<()> {
    let (dir, names) = walk.list(path)?;
    let mut deeper = Vec::new();
    for base in names.iter() {
        let whole = if path.is_empty() { base.to_vec() } else { [path, b"/", base].concat() };
        // What vanishes meanwhile was never there.
        let Some(stat) = walk.look(&dir, base, &whole)? else { continue };
        delta.put(&dir, base, &whole, &stat)?;
        if is_dir(&stat) {
            deeper.push(whole);
        }
    }
    drop((dir, names));
    deeper.iter().try_for_each(|path| below(walk, delta, path))
}

/// Something that is no directory.
fn file(from: &Path, to: &Target, adjust: Adjust<'_>, out: &mut dyn Write) -> Result<Packed> {
    let lacks = || Error::usage("path", from.display().to_string(), "it has no name");
    let base = from.file_name().ok_or_else(lacks)?.as_bytes();
    if to.0.is_empty() {
        let why = "only a directory can stand for the image's root";
        return Err(Error::usage("path", from.display().to_string(), why));
    }
    let parent = match from.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let root = RootDir::open(parent)?;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let fail = |e| root.error("read", base, e);
    let dir = openat(&root, ".", flags, Mode::empty()).map_err(fail)?;
    let mut delta = Delta::new(&root, adjust, out).renamed(base, to.name());
    let stat = Walk::new(&root, Closed::default())?.stat(&dir, base, base)?;
    delta.put(&dir, base, base, &stat)?;
    delta.finish()
}

/// Writes a layer that takes away what is at a path.
pub fn whiteout(path: &Target, adjust: Adjust<'_>, out: &mut dyn Write) -> Result<Packed> {
    if path.0.is_empty() {
        return Err(Error::usage("path", "/", "the image's root can't be taken away"));
    }
    let root = RootDir::open("/")?;
    let mut delta = Delta::new(&root, adjust, out);
    delta.gone(&path.0)?;
    delta.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Manner;
    use proptest::prelude::*;

    fn names(tar: &[u8]) -> Vec<String> {
        let mut archive = tar::Archive::new(tar);
        let entries = archive.entries().unwrap().map(|e| e.unwrap());
        entries.map(|e| e.path().unwrap().display().to_string()).collect()
    }

    #[test]
    fn a_tree_lies_at_its_target_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("d/e")).unwrap();
        std::fs::write(dir.path().join("d/e/f"), "x").unwrap();
        std::os::unix::fs::symlink("d", dir.path().join("link")).unwrap();
        let manner = Manner::default();
        let of = |from: &str, to: &str, opaque| {
            let mut tar = Vec::new();
            let to = Target::new(to).unwrap();
            let adjust = Adjust::new(&manner, Some(1));
            insert(&dir.path().join(from), &to, opaque, adjust, &mut tar).map(|_| names(&tar))
        };
        assert_eq!(of("d", "/a/../b//c/", false).unwrap(), ["b/c/", "b/c/e/", "b/c/e/f"]);
        assert_eq!(of("d", "/", true).unwrap(), [".wh..wh..opq", "./", "./e/", "./e/f"]);
        assert_eq!(of("d/e/f", "../../x", true).unwrap(), ["x"]);
        assert_eq!(of("link", "l", true).unwrap(), ["l"]);
        assert!(of("d/e/f", "/", false).is_err() && of("none", "/x", false).is_err());
        std::fs::write(dir.path().join("d/.wh.x"), "").unwrap();
        assert!(of("d", "/x", false).is_err());
        let gone = |path: &str| {
            let mut tar = Vec::new();
            let adjust = Adjust::new(&manner, None);
            whiteout(&Target::new(path)?, adjust, &mut tar).map(|_| names(&tar))
        };
        assert_eq!(gone("/a/b").unwrap(), ["a/.wh.b"]);
        assert!(gone("/").is_err() && gone("/a/.wh.b").is_err() && gone("").is_err());
    }

    proptest! {
        #[test]
        fn a_target_never_leads_out(text in "[a-z./]{0,20}") {
            if let Ok(target) = Target::new(&text) {
                let parts: Vec<&[u8]> = target.0.split(|b| *b == b'/').collect();
                prop_assert!(!parts.contains(&&b".."[..]) && !target.0.starts_with(b"/"));
            }
        }
    }
}
