//! What is packed is what was unpacked.

use std::os::unix::fs::FileTypeExt;

use super::super::pack::{diff, export};
use super::overlay::overlay;
use super::*;

fn exported(layers: &[PathBuf]) -> Vec<u8> {
    let layers: Vec<RootDir> = layers.iter().rev().map(|p| RootDir::open(p).unwrap()).collect();
    let mut out = Vec::new();
    export(&layers, &mut out).unwrap();
    out
}

fn difference(upper: &Path) -> Vec<u8> {
    let mut out = Vec::new();
    diff(&[RootDir::open(upper).unwrap()], &[], &mut out).unwrap();
    out
}

/// Everything of a tree that a tar keeps, the root aside.
fn listing(root: &Path) -> Vec<String> {
    fn walk(root: &Path, dir: &Path, all: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let m = path.symlink_metadata().unwrap();
            let content = match m.file_type() {
                t if t.is_symlink() => format!("{:?}", fs::read_link(&path).unwrap()),
                t if t.is_file() => format!("{:?} links {}", fs::read(&path).unwrap(), m.nlink()),
                t if t.is_char_device() => format!("device {}", m.rdev()),
                _ => String::new(),
            };
            let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().escape_ascii();
            let (mode, uid, gid) = (m.mode(), m.uid(), m.gid());
            // A whiteout's time says nothing.
            let time =
                if m.file_type().is_char_device() { (0, 0) } else { (m.mtime(), m.mtime_nsec()) };
            all.push(format!("{name} {mode:o} {uid}:{gid} {time:?} {content}"));
            if m.is_dir() {
                walk(root, &path, all);
            }
        }
    }
    let mut all = Vec::new();
    walk(root, root, &mut all);
    all.sort();
    all
}

fn base() -> Vec<u8> {
    let long = "n".repeat(180);
    Tar::default()
        .dir("d")
        .entry("d/su", EntryType::Regular, "", b"suid", 0o4755)
        .link("d/su2", "d/su")
        .symlink("l", &"x/".repeat(40))
        .entry("fifo", EntryType::Fifo, "", b"", 0o622)
        .pax(&[("mtime", b"-1.25"), ("uid", b"3000000"), ("path", long.as_bytes())])
        .file("x", "long")
        .pax(&[("path", b"odd-\xff\n"), ("SCHILY.xattr.user.k", b"v\n\0w")])
        .file("x", "odd")
        .file("gone", "1")
        .file("e/old", "2")
        .file("big", &"z".repeat(300_000))
        .end()
}

fn top() -> Vec<u8> {
    Tar::default().file(".wh.gone", "").file("e/.wh..wh..opq", "").file("e/new", "3").dir("f").end()
}

#[test]
fn an_export_unpacks_to_the_same_tree_and_is_always_the_same() {
    let w = World::new();
    w.plain(&[base(), top()]).unwrap();
    let one = exported(&[w.root()]);
    assert_eq!(one, exported(&[w.root()]));
    let again = World::new();
    again.layer(&one, FIRST).unwrap();
    assert_eq!(listing(&w.root()), listing(&again.root()));
    assert_eq!(exported(&[again.root()]), one);
}

#[test]
fn the_merged_view_of_layers_is_what_plain_unpacking_makes() {
    let (_dir, layers) = overlay(&[base(), top()]);
    let w = World::new();
    w.plain(&[base(), top()]).unwrap();
    let merged = World::new();
    merged.layer(&exported(&layers), FIRST).unwrap();
    assert_eq!(listing(&w.root()), listing(&merged.root()));
}

#[test]
fn the_difference_of_an_upper_directory_is_a_layer() {
    let (_dir, layers) = overlay(&[base(), top()]);
    let (_dir, again) = overlay(&[base(), difference(&layers[1])]);
    assert_eq!(listing(&layers[1]), listing(&again[1]));
    assert_eq!(difference(&layers[1]), difference(&again[1]));
    let merged = (exported(&layers), exported(&again));
    assert_eq!(merged.0, merged.1);
}

#[test]
fn gnu_tar_reads_what_we_write() {
    let w = World::new();
    w.plain(&[base(), top()]).unwrap();
    let tar = w.dir.path().join("x.tar");
    fs::write(&tar, exported(&[w.root()])).unwrap();
    let to = tempfile::tempdir().unwrap();
    let ok = std::process::Command::new("tar")
        .args(["--numeric-owner", "-xpf"])
        .arg(&tar)
        .arg("-C")
        .arg(to.path())
        .status();
    assert!(ok.unwrap().success());
    assert_eq!(listing(&w.root()), listing(to.path()));
}

/// Every way in which GNU tar writes holes.
#[test]
fn sparse_files_of_gnu_tar_come_out_whole() {
    let w = World::new();
    let from = w.dir.path().join("outside/etc");
    for name in ["holes", &"n".repeat(150)] {
        let file = fs::File::create(from.join(name)).unwrap();
        for i in 0..60 {
            std::os::unix::fs::FileExt::write_all_at(&file, b"x", i * 70_000).unwrap();
        }
        file.set_len(5_000_000).unwrap();
    }
    let posix = |v| vec!["--format=posix".to_owned(), format!("--sparse-version={v}")];
    let gnu = |v: &str| vec![format!("--format={v}")];
    for format in [gnu("gnu"), gnu("oldgnu"), posix("0.0"), posix("0.1"), posix("1.0")] {
        let mut tar = std::process::Command::new("tar");
        let out = tar.args(&format).arg("-SC").arg(&from).args(["-c", "."]).output().unwrap();
        assert!(out.status.success() && out.stdout.len() < 1_000_000, "{format:?}");
        let to = World::new();
        to.layer(&out.stdout, FIRST).unwrap();
        for name in ["holes", &"n".repeat(150)] {
            let same =
                fs::read(from.join(name)).unwrap() == fs::read(to.root().join(name)).unwrap();
            assert!(same, "{format:?}");
            assert!(to.root().join(name).metadata().unwrap().blocks() < 1000, "{format:?}");
        }
    }
}
