//! Whose files a store has: root's, those of a user with ranges of ids, or those of one id.
//!
//! `ROOT/kind` is written with the store. The kinds never mix: to another kind, owners are not the
//! image's, and what it writes is nobody's.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::Value;

use super::Store;
use crate::error::{Error, Result};
use crate::rootless;

const FILE: &str = "kind";

/// Whose ids the files of our layers have, and which overlay attributes.
pub(crate) fn ours() -> (&'static str, &'static str) {
    match (rootless::is_confined(), rootless::is_single()) {
        (false, _) => ("native", "trusted"),
        (true, false) => ("mapped", "user"),
        (true, true) => ("xattr", "user"),
    }
}

/// What `ROOT/kind` says of us: the word, and of a user's ranges where they begin. Nothing of who
/// is no root at all, and so unpacks nothing.
fn line() -> Option<String> {
    let kind = ours().0;
    match rootless::inside() {
        None if !nix::unistd::geteuid().is_root() => None,
        None => Some(kind.to_owned()),
        Some(inside) => Some(match inside.uids.outside(1) {
            Some(first) => format!("{kind} {first}"),
            None => kind.to_owned(),
        }),
    }
}

/// Whether files of the one are what the other takes them for. Where ranges begin is compared if
/// both say it.
fn fit(a: &str, b: &str) -> bool {
    let parts = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        (words.next(), words.next())
    };
    let ((a, from), (b, other)) = (parts(a), parts(b));
    a == b && (from.is_none() || other.is_none() || from == other)
}

fn word(line: &str) -> String {
    match line.split_once(' ') {
        Some(("mapped", first)) => format!("a user's with ids from {first} on"),
        _ => match line {
            "native" => "root's".to_owned(),
            "mapped" => "a user's with ranges of ids".to_owned(),
            "xattr" => "a user's with one id".to_owned(),
            other => format!("of a kind {other:?}, of a newer dhow"),
        },
    }
}

impl Store {
    /// Refuses to use a store of another kind: see [`suits`].
    pub fn suits(&self) -> Result<()> {
        suits(&self.root)
    }

    /// Says in a new store whose it is.
    pub(super) fn be_ours(&self) -> Result<()> {
        let path = self.root.join(FILE);
        line().map_or(Ok(()), |line| self.born(&path, line.as_bytes()))
    }
}

/// Refuses to use the store at `root` if it is of another kind than what this process makes. One
/// that doesn't say it, an older dhow's, is what its layers are; without any it may be ours.
pub fn suits(root: &Path) -> Result<()> {
    let Some(ours) = line() else { return Ok(()) };
    let path = root.join(FILE);
    let theirs = match fs::read_to_string(&path) {
        Ok(text) => text.trim().to_owned(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => match of_layers(root) {
            Some(kind) => kind,
            None => return Ok(()),
        },
        Err(e) => return Err(Error::io("read", path, e)),
    };
    if fit(&theirs, &ours) {
        return Ok(());
    }
    Err(Error::Conflict(format!(
        "the store {} is {}, and this is {}: its files would have other owners; choose another --root",
        root.display(),
        word(&theirs),
        word(&ours)
    )))
}

fn of_layers(root: &Path) -> Option<String> {
    let mut layers = fs::read_dir(root.join("layers")).ok()?.flatten();
    layers.find_map(|layer| {
        let record: Value =
            serde_json::from_slice(&fs::read(layer.path().join("layer.json")).ok()?).ok()?;
        Some(record.get("owner")?.as_str()?.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_fit_themselves_and_ranges_those_that_begin_there() {
        for (a, b, fits) in [
            ("native", "native", true),
            ("native", "xattr", false),
            ("mapped", "xattr", false),
            ("mapped 100000", "mapped 100000", true),
            ("mapped 100000", "mapped", true),
            ("mapped 100000", "mapped 165536", false),
            ("", "native", false),
        ] {
            assert_eq!((fit(a, b), fit(b, a)), (fits, fits), "{a} {b}");
        }
        assert_eq!(word("mapped 7"), "a user's with ids from 7 on");
    }

    #[test]
    fn a_store_of_another_kind_is_refused_in_one_line_and_an_older_one_by_its_layers() {
        if !nix::unistd::geteuid().is_root() {
            return; // of no kind
        }
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.suits().unwrap();
        let other = if ours().0 == "xattr" { "mapped" } else { "xattr" };
        fs::write(dir.path().join(FILE), other).unwrap();
        let said = store.suits().unwrap_err().to_string();
        assert!(said.contains("choose another --root") && !said.contains('\n'), "{said}");
        assert!(store.lease().is_err());
        fs::remove_file(dir.path().join(FILE)).unwrap();
        store.suits().unwrap();
        fs::create_dir(dir.path().join("layers/x")).unwrap();
        let record = format!("{{\"owner\": \"{other}\"}}");
        fs::write(dir.path().join("layers/x/layer.json"), record).unwrap();
        assert_eq!(store.suits().unwrap_err().to_string(), said);
    }
}
