//! Where a copy goes and what it is called there: docker's `PrepareArchiveCopy`.

use super::path::{asserts_directory, split};
use crate::error::{Error, Result};

/// The destination, links resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Absolute, with the `/` or `/.` it was typed with.
    pub path: Vec<u8>,
    /// Something is there.
    pub exists: bool,
    /// And it is a directory.
    pub is_dir: bool,
}

/// The directory to unpack into, and the copy's name in it.
pub fn place(name: &[u8], is_dir: bool, target: &Target) -> Result<(Vec<u8>, Vec<u8>)> {
    if target.exists && target.is_dir {
        return Ok((target.path.clone(), name.to_vec()));
    }
    if target.exists && is_dir {
        return Err(Error::usage("cannot copy directory"));
    }
    if !target.exists && !is_dir && asserts_directory(&target.path) {
        return Err(Error::usage("no such directory"));
    }
    Ok(split(&target.path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(name: &str, is_dir: bool, path: &str, there: Option<bool>) -> Result<String> {
        let (exists, dir) = (there.is_some(), there == Some(true));
        let target = Target { path: path.into(), exists, is_dir: dir };
        place(name.as_bytes(), is_dir, &target)
            .map(|(dir, name)| format!("{} {}", dir.escape_ascii(), name.escape_ascii()))
    }

    #[test]
    fn as_docker_places() {
        assert_eq!(placed("f", false, "/d", Some(true)).unwrap(), "/d f");
        assert_eq!(placed("s", true, "/d/", Some(true)).unwrap(), "/d/ s");
        assert_eq!(placed(".", true, "/d", Some(true)).unwrap(), "/d .");
        assert_eq!(placed("f", false, "/d/g", Some(false)).unwrap(), "/d g");
        assert_eq!(placed("f", false, "/d/new", None).unwrap(), "/d new");
        assert_eq!(placed("s", true, "/d/new/", None).unwrap(), "/d new");
        assert_eq!(placed(".", true, "/d/new", None).unwrap(), "/d new");
        assert!(placed("s", true, "/d/g", Some(false)).is_err());
        assert!(placed("f", false, "/d/new/", None).is_err());
    }
}
