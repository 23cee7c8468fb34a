//! Images made of others, and told apart: crane's verbs, wherever an image is.

use std::fs;

use e2e::{Registry, World, fixtures, tree};
use serde_json::{Value, json};

use super::refused::one_line;

/// A fixture where it lies.
fn fixture(name: &str) -> String {
    format!("oci:{}:{name}", fixtures::layout().display())
}

fn unpacked(w: &World, image: &str, to: &str) -> std::path::PathBuf {
    let dir = w.path(to);
    w.image(["unpack", image, dir.to_str().unwrap()]).ok();
    dir.join("rootfs")
}

#[test]
fn flattened_it_is_the_same_image_in_one_layer_or_two() {
    let w = World::new();
    w.pull("layers");
    let whole = unpacked(&w, "layers", "whole");
    for (name, flags, layers) in [("one:1", [].as_slice(), 1), ("two:1", &["--keep", "1"], 2)] {
        let made = w.image_cmd(["flatten", "layers", "-t", name]).args(flags).run().ok().out();
        assert_eq!(
            w.image(["inspect", name]).ok().json()["layers"].as_array().unwrap().len(),
            layers
        );
        tree::same(&whole, &unpacked(&w, name, name));
        let again = w.image_cmd(["squash", "layers", "-t", "again:1"]).args(flags);
        assert_eq!(again.run().ok().out(), made, "the same image, the same bytes");
        let diff = w.image(["--json", "diff", "layers", name]).ok().json();
        assert_eq!(diff["files"], json!([]));
    }
    one_line(w.image(["flatten", "layers", "--keep", "9"]), &["4 layers"]);
    // Others read it, too.
    let place = format!("oci:{}:flat", w.path("flat").display());
    w.image(["flatten", "layers", "-t", &place]).ok();
    let bundle = w.path("umoci");
    let image = format!("{}:flat", w.path("flat").display());
    w.cmd("umoci").args(["unpack", "--image", &image]).arg(&bundle).run().ok();
    tree::same(&whole, &bundle.join("rootfs"));
}

#[test]
fn diff_tells_files_modes_and_settings() {
    let w = World::new();
    let from = fixture("busybox");
    let layer = fixtures::Layer::new()
        .dir("etc", 0o755)
        .file("etc/new", 0o600, "new\n")
        .symlink("etc/link", "new")
        .whiteout("bin/sh")
        .finish();
    fs::write(w.path("l.tar"), layer).unwrap();
    let tar = w.path("l.tar");
    w.image(["append", "-b", &from, "-f", tar.to_str().unwrap(), "-t", "more:1"]).ok();
    w.image(["mutate", "more:1", "-l", "k=v", "-u", "7"]).ok();
    let said = w.image(["diff", &from, "more:1"]).ok().out();
    for line in [
        "A /etc/new (file 0600 0:0 4)",
        "A /etc/link (symlink 0777 0:0)",
        "config /config/Labels: - -> {\"k\":\"v\"}",
        "config /config/User: - -> \"7\"",
    ] {
        assert!(said.lines().any(|l| l == line), "no {line:?} in\n{said}");
    }
    assert!(said.contains("D /bin/sh ("), "{said}");
    let diff = w.image(["--json", "diff", "more:1", &from]).ok().json();
    let change = |path: &str| {
        let all = diff["files"].as_array().unwrap();
        all.iter().find(|f| f["path"] == path).unwrap()["change"].clone()
    };
    assert_eq!((change("/etc/new"), change("/bin/sh")), (json!("deleted"), json!("added")));
    w.image(["diff", "more:1", "more:1"]).ok().out_is("");
    w.image(["diff", "more:1", "nobody:1"]).code(2);
}

#[test]
fn append_mutate_and_rebase_make_images_that_others_read() {
    let w = World::new();
    fs::write(w.path("app"), "the app\n").unwrap();
    fs::write(w.path("base"), "the base\n").unwrap();
    for name in ["app", "base"] {
        let tar = format!("{name}.tar");
        w.cmd("tar").args(["--owner=0", "--group=0", "-cf", &tar, name]).run().ok();
    }
    w.pull("busybox");
    w.cmd("gzip").args(["-k", "app.tar"]).run().ok();
    let append = |flags: &[&str]| w.image_cmd(["append"]).args(flags).run();
    append(&["-b", "busybox", "-f", "app.tar.gz", "-t", "app:1", "--set-base-image-annotations"])
        .ok();
    append(&["-b", "busybox", "-f", "base.tar", "-t", "newbase:1"]).ok();
    append(&["-f", "app.tar", "-t", "scratch:1", "--platform", "linux/arm64"]).ok();
    assert_eq!(w.image(["inspect", "scratch:1"]).ok().json()["platform"], "linux/arm64");
    w.image(["mutate", "app:1", "--cmd", "cat,/app", "-e", "A=1", "-a", "note=yes"]).ok();
    let manifest = w.image(["manifest", "app:1"]).ok().json();
    let notes = &manifest["annotations"];
    assert_eq!(notes["note"], "yes");
    assert_eq!(notes["org.opencontainers.image.base.name"], "docker.io/library/busybox:latest");
    // The old base is found by the annotation.
    w.image(["rebase", "app:1", "--new_base", "newbase:1", "--old_base", "busybox", "-t", "re:1"])
        .ok();
    let root = unpacked(&w, "re:1", "re");
    assert_eq!(fs::read_to_string(root.join("app")).unwrap(), "the app\n");
    assert_eq!(fs::read_to_string(root.join("base")).unwrap(), "the base\n");
    let config = w.image(["inspect", "re:1"]).ok().json()["config"].clone();
    assert_eq!(config["Cmd"], json!(["cat", "/app"]));
    w.image(["rebase", "re:1", "-t", "re:2"]).ok();
    let digest = |name: &str| w.image(["digest", name]).ok().out();
    assert_eq!(digest("re:1"), digest("re:2"), "the base has not moved");
    let wrong =
        ["rebase", "busybox", "--old_base", "app:1", "--new_base", "newbase:1", "-t", "x:1"];
    one_line(w.image(wrong), &["doesn't begin with the layers"]);
    // Into a registry by digest, and a tar for docker.
    let repo = Registry::open().name("crane/pushed");
    let pushed = w.image(["mutate", "re:1", "-u", "9", "--repo", &repo]).ok().out();
    let raw = w.cmd("skopeo").args(["inspect", "--tls-verify=false", "--config"]);
    let raw = raw.arg(format!("docker://{repo}@{}", pushed.trim())).run().ok().json();
    assert_eq!(raw["config"]["User"], "9");
    w.image(["mutate", "re:1", "-u", "8", "-o", w.path("m.tar").to_str().unwrap()]).ok();
    let saved = format!("docker-archive:{}", w.path("m.tar").display());
    let config = w.cmd("skopeo").args(["inspect", "--config", &saved]).run().ok().json();
    assert_eq!(config["config"]["User"], "8");
}

#[test]
fn lists_are_made_and_changed() {
    let w = World::new();
    fs::write(w.path("f"), "f\n").unwrap();
    w.cmd("tar").args(["-cf", "f.tar", "f"]).run().ok();
    for arch in ["amd64", "arm64"] {
        let flags = ["append", "-f", "f.tar", "-t", arch, "--platform", &format!("linux/{arch}")];
        w.image(flags).ok();
    }
    let list = format!("oci:{}:list", w.path("lists").display());
    w.image(["index", "create", &list, "amd64", "arm64"]).ok();
    let platforms = |place: &str| -> Vec<Value> {
        let all = w.image(["--json", "index", "list", place]).ok().json();
        all.as_array().unwrap().iter().map(|d| d["platform"]["architecture"].clone()).collect()
    };
    assert_eq!(platforms(&list), ["amd64", "arm64"]);
    let raw = w.cmd("skopeo").args(["inspect", "--raw", &list]).run().ok().json();
    assert_eq!(raw["mediaType"], "application/vnd.oci.image.index.v1+json");
    let name = Registry::open().name("crane/list:1");
    let remote = format!("docker://{name}");
    w.image(["index", "filter", &list, "--platform", "linux/arm64", "-t", &remote]).ok();
    assert_eq!(platforms(&remote), ["arm64"]);
    w.image(["index", "append", &remote, "-m", "amd64,arm64"]).ok();
    assert_eq!(platforms(&remote), ["arm64", "amd64"]);
    w.image(["index", "remove", &remote, "linux/arm64"]).ok();
    assert_eq!(platforms(&remote), ["amd64"]);
    w.image(["index", "remove", &remote, "linux/arm64"]).code(2);
    one_line(w.image(["index", "list", "amd64"]), &["one image, not a list"]);
    // skopeo takes the list with all that it names.
    let to = format!("dir:{}", w.path("all").display());
    w.cmd("skopeo").args(["--insecure-policy", "copy", "-q", "--all", &list, &to]).run().ok();
}

#[test]
fn history_and_tree_show_what_is_there() {
    let w = World::new();
    w.pull("layers");
    w.pull("busybox");
    let steps = w.image(["history", "--format", "{{.CreatedBy}}", "layers"]).ok().lines();
    assert_eq!(steps, ["step 3", "step 2", "step 1", "step 0"]);
    let elsewhere = w.image(["--json", "history", &fixture("layers")]).ok().json();
    assert_eq!(elsewhere[0]["createdBy"], "step 3");
    let id = w.image(["inspect", "layers"]).ok().json()["id"].clone();
    assert_eq!(elsewhere[0]["id"], id);
    // One layer is under both, and is there once.
    let tree = w.image(["--json", "tree"]).ok().json();
    assert_eq!(tree.as_array().unwrap().len(), 1, "{tree}");
    assert!(tree[0]["images"].to_string().contains("busybox:latest"), "{tree}");
    assert_eq!(tree[0]["above"].as_array().unwrap().len(), 1);
    // Its bytes are there for whoever wants them.
    let blob = w.image(["inspect", "layers"]).ok().json()["layers"][0]["digest"].clone();
    let to = w.path("blob");
    let raw = ["raw", "blob", "layers", blob.as_str().unwrap(), "-o", to.to_str().unwrap()];
    w.image(raw).ok();
    let sum = w.cmd("sha256sum").arg(&to).run().ok().out();
    assert!(blob.as_str().unwrap().ends_with(sum.split(' ').next().unwrap()), "{sum}");
    w.image(["raw", "blob", "layers", &format!("sha256:{}", "0".repeat(64))]).code(2);
    let drawn = w.image(["tree"]).ok().out();
    assert!(drawn.contains("└─ ") && drawn.contains("4 layers"), "{drawn}");
}
