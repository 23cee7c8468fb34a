//! Layers for overlayfs: whiteouts in the kernel's form, debts to the layers below.

use dhow_kernel::xattr;

use super::super::settle::settle;
use super::*;

/// An overlay layer above others, settled.
pub(super) fn overlay(tars: &[Vec<u8>]) -> (TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    let mut layers: Vec<PathBuf> = Vec::new();
    for (i, tar) in tars.iter().enumerate() {
        let path = dir.path().join(i.to_string());
        fs::create_dir(&path).unwrap();
        let (_, journal) = unpack(&path, tar, Sink::Overlay).unwrap();
        let lowers: Vec<RootDir> = layers.iter().rev().map(|p| RootDir::open(p).unwrap()).collect();
        settle(&RootDir::open(&path).unwrap(), &journal, &lowers).unwrap();
        layers.push(path);
    }
    (dir, layers)
}

fn is_opaque(path: PathBuf) -> bool {
    let dir = fs::File::open(path).unwrap();
    xattr::get(&dir, c"trusted.overlay.opaque").unwrap().is_some()
}

fn is_whiteout(path: PathBuf) -> bool {
    path.symlink_metadata().is_ok_and(|m| m.file_type().is_char_device() && m.rdev() == 0)
}

#[test]
fn overlay_whiteouts_take_the_kernels_form() {
    let base = Tar::default().dir("d").file("d/x", "").file("gone", "").dir("redone").end();
    let top = Tar::default()
        .file("d/.wh..wh..opq", "")
        .file(".wh.gone", "")
        .file(".wh.never", "")
        .file(".wh.redone", "")
        .file("redone/new", "")
        .end();
    let (_dir, layers) = overlay(&[base, top]);
    let top = &layers[1];
    assert!(is_opaque(top.join("d")) && is_whiteout(top.join("gone")));
    assert!(!is_whiteout(top.join("never")), "a whiteout of nothing is dropped");
    assert!(is_opaque(top.join("redone")) && top.join("redone/new").exists());
}

#[test]
fn overlay_attributes_of_the_archive_are_dropped() {
    let tar = Tar::default()
        .pax(&[("SCHILY.xattr.trusted.overlay.opaque", b"y"), ("SCHILY.xattr.trusted.x", b"1")])
        .dir("d")
        .pax(&[("SCHILY.xattr.user.overlay.opaque", b"y"), ("SCHILY.xattr.security.selinux", b"l")])
        .dir("e")
        .end();
    let (_dir, layers) = overlay(&[tar]);
    let names = |d: &str| xattr::list(fs::File::open(layers[0].join(d)).unwrap()).unwrap();
    assert_eq!(names("d"), [c"trusted.x".to_owned()]);
    assert!(names("e").is_empty());
}

#[test]
fn what_depends_on_the_layers_below_is_settled() {
    let base = Tar::default()
        .entry("d", EntryType::Directory, "", b"", 0o2750)
        .entry("d/tool", EntryType::Regular, "", b"tool", 0o4711)
        .file("d/old", "renamed")
        .end();
    let top = Tar::default()
        .link("d/tool2", "d/tool")
        .link("other/tool3", "d/tool2")
        .link("d/new", "d/old")
        .file("d/.wh.old", "")
        .end();
    let (_dir, layers) = overlay(&[base, top]);
    let stat = |p: &str| layers[1].join(p).symlink_metadata().unwrap();
    assert_eq!(stat("d").permissions().mode() & 0o7777, 0o2750);
    assert_eq!(stat("d").mtime(), 1_000_000_000);
    assert_eq!((stat("d/tool").nlink(), stat("d/tool").permissions().mode() & 0o7777), (3, 0o4711));
    assert_eq!(stat("d/tool").ino(), stat("other/tool3").ino());
    assert_eq!(fs::read(layers[1].join("d/new")).unwrap(), b"renamed");
    assert!(is_whiteout(layers[1].join("d/old")));
    assert_eq!(stat("other").mtime(), 0);
}

#[test]
fn a_link_that_no_layer_answers_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (_, journal) =
        unpack(dir.path(), &Tar::default().link("a", "b").end(), Sink::Overlay).unwrap();
    let error = settle(&RootDir::open(dir.path()).unwrap(), &journal, &[]).unwrap_err();
    assert!(error.to_string().contains("which isn't there"), "{error}");
}

#[test]
fn directories_of_every_mode_get_their_mode_owner_and_time() {
    let modes = [0o755, 0o700, 0o777, 0o1777, 0o2755, 0o4711, 0o3770, 0o500, 0o000, 0o055];
    let mut tar = Tar::default();
    for mode in modes {
        let name = format!("d{mode:o}");
        tar = tar.entry(&name, EntryType::Directory, "", b"", mode);
        tar = tar.entry(&format!("{name}/below"), EntryType::Directory, "", b"", mode);
        tar = tar.file(&format!("{name}/below/file"), "x");
    }
    let tar = tar
        .pax(&[("uid", b"7"), ("gid", b"8"), ("mtime", b"5.25")])
        .dir("foreign")
        .dir("again")
        .file("again/file", "x")
        .entry("again", EntryType::Directory, "", b"", 0o711)
        .dir("gone")
        .symlink("gone", "again")
        .dir("file")
        .file("file", "x")
        .end();
    let (_dir, layers) = overlay(&[tar]);
    let stat = |p: &str| layers[0].join(p).symlink_metadata().unwrap();
    let said = |p: &str| (stat(p).permissions().mode(), stat(p).mtime(), stat(p).mtime_nsec());
    for mode in modes {
        let wanted = (0o40000 | mode, 1_000_000_000, 0);
        assert_eq!(said(&format!("d{mode:o}")), wanted, "{mode:o}");
        assert_eq!(said(&format!("d{mode:o}/below")), wanted, "{mode:o}");
    }
    assert_eq!((stat("foreign").uid(), stat("foreign").gid()), (7, 8));
    assert_eq!(said("foreign"), (0o40755, 5, 250_000_000));
    assert_eq!(said("again"), (0o40711, 1_000_000_000, 0));
    assert_eq!(said("gone"), (0o120_777, 1_000_000_000, 0));
    assert_eq!(said("file"), (0o100_644, 1_000_000_000, 0));
}
