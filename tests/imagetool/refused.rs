//! What is wrong is named, and the store is as it was.

use std::fs;

use e2e::{Cmd, Done, Registry, World, fixtures};

/// The one line with which the tool ends; what came before on stderr is progress.
fn error_lines(said: &str) -> Vec<&str> {
    said.lines().filter(|l| l.starts_with("dhow-image: ")).collect()
}

#[track_caller]
pub fn one_line(done: Done, parts: &[&str]) {
    let said = done.refused().err();
    let errors = error_lines(&said);
    assert!(errors.len() == 1 && said.ends_with(errors[0]), "not one line:\n{said}");
    for part in parts {
        assert!(errors[0].contains(part), "no {part:?} in:\n{said}");
    }
}

/// The store has nothing in it, not even unfinished.
#[track_caller]
pub fn nothing_visible(w: &World) {
    let list = w.image(["list", "--json"]).ok().json();
    assert!(list.as_array().is_some_and(Vec::is_empty), "{list}");
}

#[test]
fn unknown_repository_tag_and_host() {
    let w = World::new();
    let open = Registry::open();
    for name in ["no-such-repository:latest", "busybox:no-such-tag"] {
        one_line(w.image(["pull", &open.name(name)]), &[&open.name(name)]);
    }
    // Where nobody listens, or what isn't there at all, is not asked again and again.
    let began = std::time::Instant::now();
    one_line(w.image(["pull", "127.0.0.1:1/x:y"]), &["cannot reach 127.0.0.1:1", "refused"]);
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
    one_line(w.image(["pull", "no-such-host.invalid/x"]), &["cannot reach no-such-host.invalid"]);
    nothing_visible(&w);
}

#[test]
fn reference_that_is_none() {
    let w = World::new();
    for name in ["", "UPPER/case", "a b", "x@sha256:123", "x:tag:tag", "../up", "x@md5:0123"] {
        w.image(["pull", name]).refused();
    }
    nothing_visible(&w);
}

#[test]
fn image_that_is_not_in_the_store() {
    let w = World::new();
    for verb in ["inspect", "save", "export", "remove", "push"] {
        one_line(w.image([verb, "nobody/nothing:here"]), &["nobody/nothing:here"]);
    }
    one_line(
        w.image(["unpack", "nobody/nothing", w.path("b").to_str().unwrap()]),
        &["nobody/nothing"],
    );
    assert!(!w.path("b").exists());
}

#[test]
fn spoiled_blob() {
    let w = World::new();
    let open = Registry::open();
    let (name, layers) = open.push(&fixtures::unlike("x", "spoiled", 3 << 20), "spoiled:1");
    let file = open.blob(&layers[1]);
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    one_line(w.image(["pull", &name]), &[&layers[1]]);
    nothing_visible(&w);
}

#[test]
fn truncated_blob() {
    let w = World::new();
    let open = Registry::open();
    let (name, layers) = open.push(&fixtures::unlike("x", "truncated", 3 << 20), "truncated:1");
    let file = fs::OpenOptions::new().write(true).open(open.blob(&layers[1])).unwrap();
    file.set_len(1 << 20).unwrap();
    let done = w.image_cmd(["pull", &name]).limit(60).run();
    done.refused().err_has(&layers[1]);
    nothing_visible(&w);
}

#[test]
fn wrong_digest_in_an_archive() {
    let w = World::new();
    let layout = w.path("layout");
    Cmd::new("cp").arg("-a").arg(fixtures::layout()).arg(&layout).run().ok();
    let from = format!("oci:{}:zstd", layout.display());
    let raw = w.cmd("skopeo").args(["inspect", "--raw", &from]).run().ok().json();
    let digest = raw["layers"][0]["digest"].as_str().unwrap();
    let file = layout.join("blobs").join(digest.replace(':', "/"));
    let mut bytes = fs::read(&file).unwrap();
    bytes[1000] ^= 1;
    fs::write(&file, bytes).unwrap();
    one_line(w.image(["copy", &from, "broken:1"]), &[digest]);
    nothing_visible(&w);
}

#[test]
fn archive_that_is_none() {
    let w = World::new();
    w.image_cmd(["load"]).stdin("this is no archive").run().refused();
    w.image_cmd(["load"]).run().refused();
    let cut = "head -c 100000 | ";
    let tool = e2e::program("dhow-image");
    w.pull("busybox");
    let line = format!(
        "{0} save busybox | {cut} {0} --root {1} load",
        tool.display(),
        w.path("other").display()
    );
    w.cmd("sh").args(["-c", &line]).run().refused();
}

#[test]
fn disk_full_then_room_again() {
    let w = World::new();
    let open = Registry::open();
    let (name, _) = open.push(&fixtures::unlike("x", "full", 12 << 20), "full:1");
    let small = w.path("small");
    fs::create_dir(&small).unwrap();
    // In a mount namespace of its own: a disk of 8 MB, on which a pull fails; then room, and it works.
    let script = "mount -t tmpfs -o size=8m tmpfs $2 || exit 90
        $0 --root $2/root pull $1 2>$3 && exit 91
        $0 --root $2/root list --json || exit 92
        find $2/root/tmp $2/root/layers $2/root/images/blobs -type f | grep . && exit 96
        mount -o remount,size=100m $2 || exit 93
        $0 --root $2/root pull $1 >/dev/null || exit 94
        $0 --root $2/root unpack $1 $2/bundle >/dev/null || exit 95
        ls $2/bundle/rootfs/cargo";
    let said = w.path("said");
    let done = w.cmd("unshare").args(["-m", "sh", "-c", script]).arg(e2e::program("dhow-image"));
    let done = done.arg(&name).arg(&small).arg(&said).run().ok();
    assert_eq!(done.lines()[0], "[]", "{done}");
    let error = fs::read_to_string(&said).unwrap();
    assert!(error.to_lowercase().contains("no space left"), "{error}");
    assert_eq!(error_lines(&error).len(), 1, "{error}");
}

#[test]
fn layer_that_climbs_out_is_confined() {
    let w = World::new();
    let climb = fixtures::Layer::new()
        .dir("sub", 0o755)
        .symlink("sub/out", "../../../../../../../../tmp")
        .symlink("abs", w.path("outside").to_str().unwrap())
        .file("abs/file", 0o644, "caught\n")
        .file("sub/out/dhow-e2e-climbed", 0o644, "caught\n");
    fs::create_dir(w.path("outside")).unwrap();
    let image = fixtures::Image {
        name: "climb",
        layers: vec![(climb.finish(), fixtures::Packed::Gzip)],
        config: serde_json::json!({"Cmd": ["sh"]}),
    };
    let layout = w.path("layout");
    image.write(&layout);
    let from = format!("oci:{}:climb", layout.display());
    w.image(["copy", &from, "climb:1"]).ok();
    // Either refused or kept inside; never outside.
    w.image(["unpack", "climb:1", w.path("bundle").to_str().unwrap()]);
    assert_eq!(fs::read_dir(w.path("outside")).unwrap().count(), 0);
    assert!(!fs::exists("/tmp/dhow-e2e-climbed").unwrap());
}
