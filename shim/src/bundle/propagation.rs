//! Whether a bind's source can be seen to change from the other side.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::mounted;

/// Whether mounts made in the container are to be seen on the host.
pub fn is_shared(mode: &str) -> bool {
    matches!(mode, "shared" | "rshared")
}

/// `shared` needs a source on a shared mount, `slave` one on a shared or slave mount.
pub fn check(source: &Path, mode: &str) -> Result<()> {
    let slave = matches!(mode, "slave" | "rslave");
    if !slave && !is_shared(mode) {
        return Ok(());
    }
    let real = std::fs::canonicalize(source).map_err(|e| Error::io("find", source, e))?;
    let Some((place, tags)) = mount_of(&mounted::table()?, &real) else { return Ok(()) };
    let has = |tag: &str| tags.iter().any(|t| t.starts_with(tag));
    if has("shared:") || slave && has("master:") {
        return Ok(());
    }
    let kind = if slave { "shared or slave" } else { "shared" };
    let (source, place) = (source.display(), place.display());
    Err(Error::engine(format!(
        "path {source} is mounted on {place} but it is not a {kind} mount; \
         'mount --make-rshared {place}' makes it one"
    )))
}

/// The mount that `path` lies on, and its optional fields (proc_pid_mountinfo(5)).
fn mount_of(table: &[u8], path: &Path) -> Option<(PathBuf, Vec<String>)> {
    let mut best: Option<(PathBuf, Vec<String>)> = None;
    for line in table.split(|&b| b == b'\n') {
        let mut fields = line.split(|&b| b == b' ').skip(4);
        let Some(place) = fields.next() else { continue };
        let place = mounted::unescape(place);
        let fields = fields.map(String::from_utf8_lossy).map(std::borrow::Cow::into_owned);
        let tags = fields.skip(1).take_while(|f| f != "-").collect();
        // The last of those at the same place is the one on top.
        let deeper = best.as_ref().is_none_or(|(b, _)| place.starts_with(b));
        if path.starts_with(&place) && deeper {
            best = Some((place, tags));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_and_topmost_mount_counts() {
        let table = b"1 0 8:1 / / rw shared:1 - ext4 a rw\n\
            2 1 8:1 / /a\\040b rw - tmpfs b rw\n\
            3 1 8:1 / /a\\040b rw master:2 - tmpfs c rw\n";
        assert_eq!(mount_of(table, Path::new("/x")).unwrap().1, ["shared:1"]);
        let (place, tags) = mount_of(table, Path::new("/a b/c")).unwrap();
        assert_eq!((place, tags), (PathBuf::from("/a b"), vec!["master:2".to_owned()]));
    }
}
