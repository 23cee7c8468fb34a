//! repack: what was changed in a bundle becomes a layer, and nothing else does.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use e2e::{World, fixtures, tree};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

/// A layout of this world's own with one image of the fixtures as `base`.
fn layout(w: &World, image: &str) -> PathBuf {
    let to = w.path("layout");
    let from = format!("oci:{}:{image}", fixtures::layout().display());
    w.image(["copy", &from, &format!("oci:{}:base", to.display())]).ok();
    to
}

fn at(layout: &Path, tag: &str) -> String {
    format!("{}:{tag}", layout.display())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The names in an image's topmost layer.
fn top(w: &World, layout: &Path, tag: &str) -> Vec<String> {
    let index = json(&layout.join("index.json"));
    let named =
        |m: &&serde_json::Value| m["annotations"]["org.opencontainers.image.ref.name"] == *tag;
    let entry = index["manifests"].as_array().unwrap().iter().find(named).unwrap();
    let manifest = json(&blob(layout, &entry["digest"]));
    let layer = blob(layout, &manifest["layers"].as_array().unwrap().last().unwrap()["digest"]);
    w.cmd("tar").args(["-tf", text(&layer)]).run().ok().lines()
}

fn blob(layout: &Path, digest: &serde_json::Value) -> PathBuf {
    layout.join("blobs").join(digest.as_str().unwrap().replace(':', "/"))
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn history(w: &World, layout: &Path, tag: &str) -> serde_json::Value {
    let place = format!("oci:{}", at(layout, tag));
    let config = w.cmd("skopeo").args(["inspect", "--config", &place]).run().ok().out();
    serde_json::from_str::<serde_json::Value>(&config).unwrap()["history"].clone()
}

/// Changes of every kind; what the new layer must hold, sorted as in the archive.
fn change(root: &Path) -> Vec<&'static str> {
    let odd = root.join("odd");
    fs::write(odd.join("kept"), "KEPT\n").unwrap();
    fs::remove_file(odd.join("fifo")).unwrap();
    fs::remove_dir_all(odd.join("emptied")).unwrap();
    fs::create_dir(odd.join("emptied")).unwrap();
    // A directory in another's place, of another inode for sure.
    fs::create_dir(odd.join("other")).unwrap();
    fs::write(odd.join("other/fresh"), "fresh").unwrap();
    fs::remove_dir_all(odd.join("file-to-dir")).unwrap();
    fs::rename(odd.join("other"), odd.join("file-to-dir")).unwrap();
    fs::remove_file(odd.join("dir-to-file")).unwrap();
    fs::create_dir(odd.join("dir-to-file")).unwrap();
    // Written to and put back, time and all: no change.
    let note = odd.join("noted");
    let time = fs::metadata(&note).unwrap().modified().unwrap();
    fs::write(&note, "noted\n").unwrap();
    fs::File::options().append(true).open(&note).unwrap().set_modified(time).unwrap();
    // The same length and time, but other bytes: a change.
    let owned = odd.join("owned");
    fs::write(&owned, "OWNED\n").unwrap();
    let time = fs::metadata(odd.join("removed")).unwrap().modified().unwrap();
    fs::File::options().append(true).open(&owned).unwrap().set_modified(time).unwrap();
    fs::write(odd.join("sparse"), "").unwrap();
    fs::File::options().append(true).open(odd.join("sparse")).unwrap().set_len(3 << 20).unwrap();
    fs::hard_link(odd.join("sparse"), odd.join("sparse-link")).unwrap();
    symlink("/nowhere", odd.join("to")).unwrap();
    lchown(odd.join("to"), Some(7), Some(8)).unwrap();
    mknod(&odd.join("zero"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o600), makedev(1, 5))
        .unwrap();
    drop(std::os::unix::net::UnixListener::bind(odd.join("socket")).unwrap());
    fs::set_permissions(odd.join("setuid"), fs::Permissions::from_mode(0o755)).unwrap();
    vec![
        "odd/",
        "odd/dir-to-file/",
        "odd/emptied/",
        "odd/file-to-dir/",
        "odd/.wh.fifo",
        "odd/kept",
        "odd/link-to-lower",
        "odd/owned",
        "odd/setuid",
        "odd/sparse",
        "odd/sparse-link",
        "odd/to",
        "odd/zero",
        "odd/emptied/.wh.new",
        "odd/file-to-dir/.wh..wh..opq",
        "odd/file-to-dir/fresh",
    ]
}

#[test]
fn changes_of_every_kind_come_back_and_nothing_else_is_packed() {
    let w = World::new();
    let layout = layout(&w, "layers");
    let (bundle, again) = (w.path("bundle"), w.path("again"));
    w.image(["unpack", "--image", &at(&layout, "base"), text(&bundle)]).ok();
    let mut want = change(&bundle.join("rootfs"));
    w.image(["repack", "--image", &at(&layout, "new"), text(&bundle)]).ok();
    let mut got = top(&w, &layout, "new");
    // Whether the directory that was made anew got the old inode is the file system's business.
    got.retain(|n| !n.starts_with("odd/emptied/.wh."));
    want.retain(|n| !n.starts_with("odd/emptied/.wh."));
    want.sort_unstable();
    got.sort_unstable();
    assert_eq!(got, want);
    w.image(["unpack", "--image", &at(&layout, "new"), text(&again)]).ok();
    fs::remove_file(bundle.join("rootfs/odd/socket")).unwrap();
    let times = fs::metadata(again.join("rootfs/odd")).unwrap().mtime();
    assert!(times > 0);
    tree::same(&bundle.join("rootfs"), &again.join("rootfs"));
    assert!(fs::metadata(again.join("rootfs/odd/sparse")).unwrap().blocks() < 100);
    let theirs = w.path("theirs");
    w.cmd("umoci").args(["unpack", "--image", &at(&layout, "new")]).arg(&theirs).run().ok();
    tree::same(&bundle.join("rootfs"), &theirs.join("rootfs"));
}

#[test]
fn the_same_root_gives_the_same_image() {
    let w = World::new();
    let layout = layout(&w, "layers");
    let mut digests = Vec::new();
    for name in ["a", "b"] {
        let bundle = w.path(name);
        w.image(["unpack", "--image", &at(&layout, "base"), text(&bundle)]).ok();
        fs::create_dir(bundle.join("rootfs/d")).unwrap();
        for n in if name == "a" { [1, 2, 3] } else { [3, 1, 2] } {
            fs::write(bundle.join(format!("rootfs/d/{n}")), n.to_string()).unwrap();
        }
        let args = ["repack", "--image", &at(&layout, name), text(&bundle), "--json"];
        let done = w.image_cmd(args).env("SOURCE_DATE_EPOCH", "1600000000").run().ok();
        let said: serde_json::Value = serde_json::from_str(&done.out()).unwrap();
        digests.push(said["digest"].clone());
    }
    assert_eq!(digests[0], digests[1]);
    let last = history(&w, &layout, "a").as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["created"], "2020-09-13T12:26:40Z");
    let nothing = w.path("nothing");
    w.image(["unpack", "--image", &at(&layout, "a"), text(&nothing)]).ok();
    let time = fs::metadata(nothing.join("rootfs/d/1")).unwrap().mtime();
    assert_eq!(time, 1_600_000_000, "no file is newer than SOURCE_DATE_EPOCH");
}

#[test]
fn nothing_changed_makes_no_layer() {
    let w = World::new();
    let layout = layout(&w, "layers");
    let bundle = w.path("bundle");
    w.image(["unpack", "--image", &at(&layout, "base"), text(&bundle)]).ok();
    // All inodes are others then, and all else is the same.
    let copy = w.path("copy");
    w.cmd("cp").args(["-a", text(&bundle), text(&copy)]).run().ok();
    for (i, from) in [&bundle, &copy].into_iter().enumerate() {
        let tag = format!("none{i}");
        w.image(["repack", "--image", &at(&layout, &tag), text(from)]).ok();
        let last = history(&w, &layout, &tag).as_array().unwrap().last().unwrap().clone();
        assert_eq!(last["empty_layer"], true, "{last}");
        assert_eq!(top(&w, &layout, &tag), top(&w, &layout, "base"));
    }
    w.image(["repack", "--no-history", "--image", &at(&layout, "same"), text(&bundle)]).ok();
    assert_eq!(history(&w, &layout, "same"), history(&w, &layout, "base"));
}

#[test]
fn either_tool_repacks_what_the_other_has_unpacked() {
    let w = World::new();
    let layout = layout(&w, "layers");
    let (ours, theirs) = (w.path("ours"), w.path("theirs"));
    w.image(["unpack", "--mtree", "--image", &at(&layout, "base"), text(&ours)]).ok();
    w.cmd("umoci").args(["unpack", "--image", &at(&layout, "base")]).arg(&theirs).run().ok();
    for bundle in [&ours, &theirs] {
        fs::write(bundle.join("rootfs/odd/kept"), "other").unwrap();
        fs::remove_file(bundle.join("rootfs/odd/noted")).unwrap();
    }
    let umoci = ["repack", "--refresh-bundle", "--image", &at(&layout, "theirs")];
    w.cmd("umoci").args(umoci).arg(&ours).run().ok();
    w.image(["repack", "--refresh-bundle", "--image", &at(&layout, "ours"), text(&theirs)]).ok();
    let want = ["odd/", "odd/.wh.noted", "odd/kept", "odd/link-to-lower"];
    for tag in ["theirs", "ours"] {
        let mut names = top(&w, &layout, tag);
        names.sort_unstable();
        let mut want = want.to_vec();
        want.sort_unstable();
        assert_eq!(names, want, "{tag}");
    }
    // And each goes on with what the other has refreshed.
    for bundle in [&ours, &theirs] {
        fs::write(bundle.join("rootfs/odd/more"), "more").unwrap();
    }
    w.image(["repack", "--image", &at(&layout, "more"), text(&ours)]).ok();
    assert_eq!(top(&w, &layout, "more"), ["odd/", "odd/more"]);
    w.cmd("umoci").args(["repack", "--image", &at(&layout, "most")]).arg(&theirs).run().ok();
    assert_eq!(top(&w, &layout, "most"), ["odd/", "odd/more"]);
}

#[test]
fn volumes_and_masked_paths_stay_out() {
    let w = World::new();
    let layout = layout(&w, "layers");
    let bundle = w.path("bundle");
    w.image(["unpack", "--image", &at(&layout, "base"), text(&bundle)]).ok();
    let root = bundle.join("rootfs");
    fs::create_dir(root.join("data")).unwrap();
    fs::write(root.join("data/in-volume"), "x").unwrap();
    fs::create_dir(root.join("data2")).unwrap();
    fs::write(root.join("odd/kept"), "x").unwrap();
    let packed = |tag: &str, flags: &[&str]| {
        let image = at(&layout, tag);
        let all = [&["repack", "--image", &image, text(&bundle)], flags].concat();
        w.image(all).ok();
        top(&w, &layout, tag)
    };
    let odd = ["odd/kept", "odd/link-to-lower"];
    assert_eq!(packed("a", &[]), ["./", "data2/", odd[0], odd[1]]);
    assert_eq!(packed("b", &["--mask-path", "/odd", "--mask-path", "data2"]), ["./"]);
    let all = packed("c", &["--no-mask-volumes"]);
    assert_eq!(all, ["./", "data/", "data2/", "data/in-volume", odd[0], odd[1]]);
}

#[test]
fn into_the_store_by_name() {
    let w = World::new();
    w.pull("busybox");
    let bundle = w.path("bundle");
    w.image(["unpack", "busybox", text(&bundle)]).ok();
    fs::write(bundle.join("rootfs/hello"), "from a bundle").unwrap();
    w.image(["repack", "--compress=zstd", text(&bundle), "mine:1"]).ok();
    let again = w.path("again");
    w.image(["unpack", "mine:1", text(&again)]).ok();
    tree::same(&bundle.join("rootfs"), &again.join("rootfs"));
    w.image(["verify"]).ok();
    w.image(["repack", text(&bundle), "docker://127.0.0.1:1/x"]).refused().err_has("copy");
}

#[test]
fn what_cannot_be_packed_is_refused_and_leaves_nothing() {
    let w = World::new();
    let layout = layout(&w, "busybox");
    let bundle = w.path("bundle");
    w.image(["unpack", "--image", &at(&layout, "base"), text(&bundle)]).ok();
    let count = || w.cmd("find").arg(&layout).run().ok().lines().len();
    let before = count();
    let refused = |part: &str| {
        let done = w.image(["repack", "--image", &at(&layout, "new"), text(&bundle)]);
        done.refused().err_has(part);
        assert_eq!(count(), before, "{part}");
    };
    fs::write(bundle.join("rootfs/.wh.x"), "").unwrap();
    refused(".wh.");
    fs::remove_file(bundle.join("rootfs/.wh.x")).unwrap();
    let state = fs::read_dir(&bundle).unwrap().map(|e| e.unwrap().path());
    let state = state.into_iter().find(|p| p.extension().is_some_and(|e| e == "state")).unwrap();
    let whole = fs::read(&state).unwrap();
    fs::write(&state, &whole[..whole.len() - 1]).unwrap();
    refused("cut short");
    let mut spoiled = whole.clone();
    let middle = whole.len() / 2;
    spoiled[middle] ^= 4;
    fs::write(&state, spoiled).unwrap();
    refused("state");
    fs::remove_file(&state).unwrap();
    refused("unpack the image again");
    fs::write(bundle.join("umoci.json"), "{}").unwrap();
    refused("umoci.json");
    w.image(["repack", "--image", &at(&layout, "new"), text(&w.path("none"))]).code(2);
}
