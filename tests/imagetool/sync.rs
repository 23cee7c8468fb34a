//! sync: many images at once, beside Debian's skopeo.

use std::fs;
use std::path::Path;

use e2e::{Registry, World, fixtures};

/// A repository of its own with these tags.
fn repository(w: &World, name: &str, tags: &[&str]) -> String {
    let from = format!("oci:{}:busybox", fixtures::layout().display());
    for tag in tags {
        let to = format!("docker://{}", Registry::open().name(&format!("{name}:{tag}")));
        w.image(["copy", &from, &to]).ok();
    }
    Registry::open().name(name)
}

fn below(dir: &Path) -> Vec<String> {
    let mut all: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    all.sort();
    all
}

#[test]
fn what_skopeo_writes_and_back_into_a_registry() {
    let w = World::new();
    let name = repository(&w, "sync/back", &["1", "2"]);
    for (scoped, at) in [(None, "plain"), (Some("--scoped"), "scoped")] {
        let ours = w.path(format!("{at}.ours")).display().to_string();
        let theirs = w.path(format!("{at}.theirs")).display().to_string();
        let words = ["sync", "--src-tls-verify=false", "--src", "docker", "--dest", "dir"];
        let words: Vec<&str> = words.into_iter().chain(scoped).chain([name.as_str()]).collect();
        w.image([&words[..], &[&ours]].concat()).ok();
        let skopeo = [&["--insecure-policy"], &words[..], &[&theirs]].concat();
        w.cmd("skopeo").args(skopeo).run().ok();
        w.cmd("diff").args(["-r", &ours, &theirs]).run().ok();
    }
    // What there is already is not written over.
    let there = w.path("plain.ours").display().to_string();
    let words = ["sync", "--src", "docker", "--dest", "dir", &name, &there];
    w.image(words).code(1).err_has("Refusing to overwrite");
    // And back, with a suffix.
    let to = Registry::open().name("sync/returned");
    let digests = w.path("digests").display().to_string();
    w.image([
        "sync",
        "-s",
        "dir",
        "-d",
        "docker",
        "--append-suffix",
        "-x",
        "--digestfile",
        &digests,
        &there,
        &to,
    ])
    .ok()
    .err_has("Synced 2 images from 1 sources");
    let lines = fs::read_to_string(&digests).unwrap();
    let first = format!(" docker://{to}/back:1-x");
    assert!(lines.starts_with("sha256:") && lines.contains(&first), "{lines}");
    let words = ["inspect", "--tls-verify=false", &format!("docker://{to}/back:2-x")];
    w.cmd("skopeo").args(words).run().ok();
    w.image(["sync", "-s", "dir", "-d", "dir", &there, "x"]).code(1).err_has("rsync");
}

#[test]
fn a_list_in_yaml_names_tags_patterns_and_versions() {
    let w = World::new();
    let name = repository(&w, "sync/listed", &["1.1", "1.2.5", "1.3.0-rc1", "v2", "edge"]);
    let (registry, path) = name.split_once('/').unwrap();
    let list = format!(
        "{registry}:\n  tls-verify: false\n  images:\n    {path}: [edge]\n    sync/none-such: []\n  \
         images-by-tag-regex:\n    {path}: ^1\\.[0-9]$\n  images-by-semver:\n    {path}: \">= 1.2, < 3\"\n"
    );
    fs::write(w.path("list.yaml"), list).unwrap();
    let out = w.path("out").display().to_string();
    let words = ["sync", "--src", "yaml", "--dest", "dir", "--keep-going", "list.yaml", &out];
    let dry = [&words[..], &["--dry-run"]].concat();
    let at = w.path("");
    let said = w.image_cmd(dry).cwd(&at).run().ok().err();
    assert!(said.contains("Would have synced 4 images from 3 sources"), "{said}");
    assert!(said.contains(&format!("from=\"docker://{name}:edge\" to=\"dir:{out}/listed:edge\"")));
    assert!(!w.path("out").exists());
    let said = w.image_cmd(words).cwd(&at).run().ok().err();
    assert!(said.contains("none-such, skipping"), "{said}");
    assert_eq!(below(&w.path("out")), ["listed:1.1", "listed:1.2.5", "listed:edge", "listed:v2"]);
    let theirs = w.path("theirs").display().to_string();
    let words =
        ["--insecure-policy", "sync", "--src", "yaml", "--dest", "dir", "list.yaml", &theirs];
    w.cmd("skopeo").args(words).cwd(&at).run().ok();
    // Debian's skopeo is from before there were versions.
    let versions = ["-r", "-x", "listed:1.2.5", "-x", "listed:v2", &out, &theirs];
    w.cmd("diff").args(versions).run().ok();
}

#[test]
fn one_image_that_fails_doesn_t_stop_the_others() {
    let w = World::new();
    let name = repository(&w, "sync/partly", &["1", "2", "3"]);
    fs::create_dir_all(w.path("out/partly:1")).unwrap();
    let out = w.path("out").display().to_string();
    let words = ["sync", "--keep-going", "--src", "docker", "--dest", "dir", &name, &out];
    w.image(words).code(1).err_has("Sync failed due to previous reported error");
    assert_eq!(below(&w.path("out")), ["partly:1", "partly:2", "partly:3"]);
    assert_eq!(below(&w.path("out/partly:1")).len(), 0);
}

#[test]
fn outdated_verbs_of_skopeo() {
    let w = World::new();
    let from = format!("oci:{}:layers", fixtures::layout().display());
    let at = w.path("");
    let run = |words: &[&str]| w.image_cmd(words).cwd(&at).run();
    run(&["layers", &from]).ok().err_has("DEPRECATED");
    let made = below(&at).into_iter().find(|n| n.starts_with("layers-")).unwrap();
    let place = format!("dir:{}", at.join(&made).display());
    w.cmd("skopeo").args(["inspect", &place]).run().ok();
    run(&["layers", &from, "sha256:abc"]).code(1);
    run(&["experimental-image-proxy", "--sockfd", "3"]).code(1).err_has("ostree");
    for shell in ["bash", "zsh", "fish", "powershell"] {
        run(&["completion", shell]).ok().out_has("convert");
    }
}
