//! Pipelines: one program's stdout is the next one's stdin.

use e2e::{World, program, tree};

/// `dhow-image` as a word of a shell line.
fn tool() -> String {
    program("dhow-image").display().to_string()
}

#[test]
fn save_into_load() {
    let w = World::new();
    w.pull("layers");
    let other = w.path("other");
    let line = format!("{0} save layers | {0} --root {1} load", tool(), other.display());
    w.cmd("sh").args(["-c", &line]).run().ok();
    let here = w.image(["inspect", "layers"]).ok().json();
    let there = w.image_cmd(["inspect", "layers"]).env("DHOW_ROOT", &other).run().ok().json();
    let config = |v: &serde_json::Value| v["config"].clone();
    assert_eq!(config(&here), config(&there));
    let (a, b) = (w.path("a"), w.path("b"));
    w.image(["unpack", "layers", a.to_str().unwrap()]).ok();
    let unpack = w.image_cmd(["unpack", "layers", b.to_str().unwrap()]).env("DHOW_ROOT", &other);
    unpack.run().ok();
    tree::same(&a.join("rootfs"), &b.join("rootfs"));
}

#[test]
fn save_writes_what_skopeo_reads() {
    let w = World::new();
    w.pull("layers");
    let tar = w.path("saved.tar");
    w.cmd("sh").args(["-c", &format!("{} save layers >{}", tool(), tar.display())]).run().ok();
    let layers = |from: String| {
        let inspect = w.cmd("skopeo").args(["inspect", "--config", &from]).run().ok().json();
        inspect["rootfs"]["diff_ids"].clone()
    };
    let saved = layers(format!("docker-archive:{}", tar.display()));
    let original = layers(format!("oci:{}:layers", e2e::fixtures::layout().display()));
    assert_eq!(saved, original);
}

#[test]
fn load_reads_what_skopeo_writes() {
    let w = World::new();
    let from = format!("oci:{}:layers", e2e::fixtures::layout().display());
    for kind in ["docker-archive", "oci-archive"] {
        let tar = w.path(format!("{kind}.tar"));
        let to = format!("{kind}:{}:example.org/made/by:{kind}", tar.display());
        w.cmd("skopeo").args(["--insecure-policy", "copy", "-q", &from, &to]).run().ok();
        w.image_cmd(["load"]).stdin(std::fs::read(&tar).unwrap()).run().ok();
        w.image(["inspect", &format!("example.org/made/by:{kind}")]).ok();
    }
}

#[test]
fn several_images_in_one_archive() {
    let w = World::new();
    w.pull("busybox");
    w.pull("layers");
    let other = w.path("other");
    let line = format!("{0} save busybox layers | {0} --root {1} load", tool(), other.display());
    w.cmd("sh").args(["-c", &line]).run().ok();
    let list = w.image_cmd(["list", "--json"]).env("DHOW_ROOT", &other).run().ok().out();
    assert!(list.contains("busybox:latest") && list.contains("layers:latest"), "{list}");
}

#[test]
fn export_into_import() {
    let w = World::new();
    w.pull("layers");
    let line = format!("{0} export layers | {0} import - flat:latest", tool());
    w.cmd("sh").args(["-c", &line]).run().ok();
    let (a, b) = (w.path("a"), w.path("b"));
    w.image(["unpack", "layers", a.to_str().unwrap()]).ok();
    w.image(["unpack", "flat", b.to_str().unwrap()]).ok();
    tree::same(&a.join("rootfs"), &b.join("rootfs"));
}

#[test]
fn import_takes_a_plain_tar_and_a_packed_one() {
    let w = World::new();
    std::fs::create_dir(w.path("tree")).unwrap();
    std::fs::write(w.path("tree/file"), "content\n").unwrap();
    for (name, pack) in [("plain", "cat"), ("gzip", "gzip -c"), ("zstd", "zstd -qc")] {
        let line = format!("tar -C tree -c . | {pack} | {} import - made/{name}:1", tool());
        w.cmd("sh").args(["-c", &line]).run().ok();
        let to = w.path(name);
        w.image(["unpack", &format!("made/{name}:1"), to.to_str().unwrap()]).ok();
        assert_eq!(std::fs::read_to_string(to.join("rootfs/file")).unwrap(), "content\n");
    }
}

#[test]
fn no_archive_is_written_to_a_terminal() {
    let w = World::new();
    w.pull("busybox");
    let mut t = e2e::Pty::start(w.image_cmd(["save", "busybox"]));
    t.expect("terminal");
    assert_ne!(t.wait(), 0);
}
