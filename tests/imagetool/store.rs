//! The store: a plain OCI layout that others read; names; removal.

use std::fs;

use e2e::{Registry, World, fixtures};

#[test]
fn skopeo_reads_the_store_as_it_lies() {
    let w = World::new();
    let name = Registry::open().name("layers:latest");
    w.image(["pull", &name]).ok();
    let from = format!("oci:{}:{name}", w.root().join("images").display());
    let inspect = w.cmd("skopeo").args(["inspect", &from]).run().ok().json();
    assert_eq!(inspect["Layers"].as_array().unwrap().len(), 4);
    let out = format!("dir:{}", w.path("copy").display());
    w.cmd("skopeo").args(["--insecure-policy", "copy", "-q", &from, &out]).run().ok();
}

#[test]
fn names_share_an_image_and_the_last_takes_it_away() {
    let w = World::new();
    w.pull("layers");
    w.image(["tag", "layers", "other/name:v1"]).ok();
    let blobs = || fs::read_dir(w.root().join("images/blobs/sha256")).unwrap().count();
    let full = blobs();
    let names = ["layers", &Registry::open().name("layers:latest"), "other/name:v1"];
    for (i, name) in names.iter().enumerate() {
        w.image(["inspect", name]).ok();
        w.image(["remove", name]).ok();
        w.image(["inspect", name]).refused();
        if i < 2 {
            assert_eq!(blobs(), full, "after {name}");
        }
    }
    assert_eq!(blobs(), 0);
    let layers = w.root().join("layers");
    assert_eq!(fs::read_dir(layers).map_or(0, Iterator::count), 0, "unpacked layers stay");
}

#[test]
fn images_are_found_by_id_too() {
    let w = World::new();
    w.pull("layers");
    let id = w.image(["inspect", "layers"]).ok().json()["id"].as_str().unwrap().to_owned();
    let hex = id.trim_start_matches("sha256:");
    for needle in [id.as_str(), hex, &hex[..12], &hex[..6]] {
        w.image(["inspect", needle]).ok();
    }
}

#[test]
fn docker_hub_names_are_short_and_others_are_not() {
    let w = World::new();
    w.pull("busybox");
    for name in
        ["busybox", "busybox:latest", "docker.io/library/busybox", "docker.io/busybox:latest"]
    {
        w.image(["inspect", name]).ok();
    }
    w.image(["inspect", "example.org/busybox"]).refused();
}

#[test]
fn newer_store_is_refused() {
    let w = World::new();
    w.pull("busybox");
    fs::write(w.root().join("version"), "999\n").unwrap();
    w.image(["list"]).refused().err_has("999");
}

/// One layer, not compressed: blob, layer and chain have one digest.
#[test]
fn layer_and_blob_of_one_digest_both_go() {
    let w = World::new();
    let image = fixtures::Image {
        name: "plain",
        layers: vec![(
            fixtures::Layer::new().file("a", 0o644, "a").finish(),
            fixtures::Packed::Plain,
        )],
        config: serde_json::json!({"Cmd": ["sh"]}),
    };
    image.write(&w.path("layout"));
    w.image(["copy", &format!("oci:{}:plain", w.path("layout").display()), "plain:1"]).ok();
    let layers = || fs::read_dir(w.root().join("layers")).unwrap().count();
    assert_eq!(layers(), 1);
    w.image(["remove", "plain:1"]).ok();
    assert_eq!(layers(), 0);
    assert_eq!(fs::read_dir(w.root().join("images/blobs/sha256")).unwrap().count(), 0);
}
