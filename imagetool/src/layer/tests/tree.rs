//! Trees that are copied: written by `tree`, unpacked by `extract`.

use std::os::unix::fs::{FileExt, symlink};

use super::super::compare::{ChangeKind, changes};
use super::super::extract::extract;
use super::super::pack::{Tree, tree};
use super::*;
use crate::Error;

fn packed(dir: &Path, base: &str, name: &str, holes: bool) -> Vec<u8> {
    let root = RootDir::open(dir).unwrap();
    let what = Tree { root: &root, base: base.as_bytes(), name: name.as_bytes(), holes };
    let mut out = Vec::new();
    tree(&what, &mut out).unwrap();
    out
}

fn unpacked(tar: &[u8], into: &Path) -> Result<Applied> {
    let scratch = tempfile::tempdir().unwrap();
    let mut entries = Entries::new(tar, Limits::default()).literal();
    let root = RootDir::open(into).unwrap();
    extract(&root, &mut entries, Owner::Maker, Journal::new(scratch.path()))
}

fn names(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap().map(|e| e.unwrap());
    entries.map(|e| String::from_utf8_lossy(&e.path_bytes()).into_owned()).collect()
}

#[test]
fn a_tree_takes_the_name_it_is_given() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("a/b")).unwrap();
    fs::write(dir.path().join("a/b/c"), "x").unwrap();
    let all = |base, name| names(&packed(dir.path(), base, name, false));
    assert_eq!(all("a", "new"), ["new/", "new/b/", "new/b/c"]);
    assert_eq!(all("a", "."), ["./", "./b/", "./b/c"]);
    assert_eq!(all("", "/"), ["/", "/a/", "/a/b/", "/a/b/c"]);
    assert_eq!(all("a/b/c", "d"), ["d"]);
}

#[test]
fn holes_and_names_like_whiteouts_come_back() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = fs::File::create(from.path().join("holes")).unwrap();
    file.write_all_at(b"data", 1 << 20).unwrap();
    file.set_len(5 << 20).unwrap();
    fs::write(from.path().join(".wh.x"), "y").unwrap();
    let tar = packed(from.path(), "", ".", true);
    assert!(tar.len() < 1 << 20, "{}", tar.len());
    unpacked(&tar, to.path()).unwrap();
    let read = |dir: &Path| fs::read(dir.join("holes")).unwrap();
    assert!(read(from.path()) == read(to.path()));
    assert_eq!(fs::read(to.path().join(".wh.x")).unwrap(), b"y");
}

#[test]
fn files_and_directories_never_replace_each_other() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(from.path().join("x"), "new").unwrap();
    fs::create_dir_all(to.path().join("x/full")).unwrap();
    let error = unpacked(&packed(from.path(), "x", "x", false), to.path()).unwrap_err();
    assert!(
        matches!(&error, Error::Overwrite { path, directory: true } if path == b"x"),
        "{error}"
    );
    let error = unpacked(&packed(to.path(), "x", "x", false), from.path()).unwrap_err();
    assert!(matches!(error, Error::Overwrite { directory: false, .. }), "{error}");
    assert!(to.path().join("x/full").is_dir());
}

#[test]
fn links_in_the_destination_lead_no_further_than_it() {
    let (to, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    symlink(outside.path(), to.path().join("d")).unwrap();
    symlink(outside.path().join("f"), to.path().join("f")).unwrap();
    let tar = Tar::default().file("d/x", "in").file("f", "mine").end();
    unpacked(&tar, to.path()).unwrap();
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert_eq!(fs::read(to.path().join("f")).unwrap(), b"mine");
}

#[test]
fn changes_are_sorted_and_say_what_became_of_each() {
    let (upper, lower) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for dir in [&upper, &lower] {
        fs::create_dir_all(dir.path().join("d/e")).unwrap();
        fs::write(dir.path().join("d/same"), "same").unwrap();
    }
    let time = fs::metadata(lower.path().join("d/same")).unwrap().modified().unwrap();
    let file = fs::File::options().write(true).open(upper.path().join("d/same")).unwrap();
    file.set_modified(time).unwrap();
    fs::write(lower.path().join("d/changed"), "old").unwrap();
    fs::write(upper.path().join("d/changed"), "longer").unwrap();
    fs::write(upper.path().join("d/e/new"), "").unwrap();
    let layers = [&upper, &lower].map(|dir| RootDir::open(dir.path()).unwrap());
    let all = changes(&layers).unwrap();
    let said: Vec<_> =
        all.iter().map(|c| (c.path.escape_ascii().to_string(), c.kind, c.hollow)).collect();
    let want = [
        ("/d", ChangeKind::Within, true),
        ("/d/changed", ChangeKind::Modified, false),
        ("/d/e", ChangeKind::Within, true),
        ("/d/e/new", ChangeKind::Added, true),
    ];
    assert_eq!(said, want.map(|(path, kind, hollow)| (path.to_owned(), kind, hollow)));
}
