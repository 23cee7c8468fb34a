//! Blobs that the unpacked layers can make again, bit for bit.

use std::fs;

use e2e::{Registry, World, fixtures};
use serde_json::json;

use super::pull::digest_of;

fn blobs(w: &World) -> usize {
    fs::read_dir(w.root().join("images/blobs/sha256")).unwrap().count()
}

/// `plain:1`, an image of everything that a tar can hold, not compressed.
fn fill(w: &World) {
    w.pull("layers");
    let full = Registry::open().name("layers:latest");
    let from = format!("oci:{}:{full}", w.root().join("images").display());
    let tar = w.path("plain.tar").display().to_string();
    let args = ["--insecure-policy", "copy", "-q", &from, &format!("docker-archive:{tar}:plain:1")];
    w.cmd("skopeo").args(args).run().ok();
    w.image(["load", "-q", "-i", &tar]).ok();
}

#[test]
fn dropped_blobs_come_back_to_the_byte() {
    let w = World::new();
    fill(&w);
    let before = w.path("before.tar");
    w.image(["save", "-o", before.to_str().unwrap(), "plain:1"]).ok();
    let full = blobs(&w);
    let done = w.image(["compact", "--json", "plain:1"]).ok().json();
    let dropped = done["done"].as_array().unwrap().len();
    assert!(dropped >= 3 && blobs(&w) == full - dropped, "{done}");
    w.image(["verify", "--deep"]).ok().out_is("");
    w.image(["gc"]).ok().out_is("");
    let after = w.path("after.tar");
    w.image(["save", "-o", after.to_str().unwrap(), "plain:1"]).ok();
    w.cmd("cmp").arg(&before).arg(&after).run().ok();
    // Pushed and copied like any other; unpacked anew where a layer lacks.
    let name = Registry::open().name("compact/plain:1");
    let to = format!("docker://{name}");
    w.image(["copy", "--preserve-digests", "plain:1", &to]).ok();
    let inspect = w.image(["inspect", "plain:1"]).ok().json();
    assert_eq!(digest_of(&name), inspect["manifest"]["digest"].as_str().unwrap());
    w.image(["compact", "plain:1"]).ok();
    w.image(["compact", "--undo"]).ok();
    assert_eq!(blobs(&w), full);
    assert_eq!(fs::read_dir(w.root().join("recipes")).unwrap().count(), 0);
    w.image(["verify"]).ok().out_is("");
    // With the images the recipes go, too.
    w.image(["compact", "plain:1"]).ok();
    w.image(["prune", "-a", "-q"]).ok();
    assert_eq!(fs::read_dir(w.root().join("recipes")).unwrap().count(), 0);
}

#[test]
fn what_we_compressed_can_be_dropped_and_what_others_did_stays() {
    let w = World::new();
    w.pull("busybox");
    w.dhow(["create", "--name", &w.id("c"), "busybox", "true"]).ok();
    let upper = fs::read_dir(w.root().join("containers")).unwrap().flatten().next().unwrap();
    let lines: Vec<String> = (0..200_000).map(|n: u32| n.to_string()).collect();
    fs::write(upper.path().join("upper/numbers"), lines.join("\n")).unwrap();
    w.dhow(["commit", &w.id("c"), "made:1"]).ok();
    w.dhow(["rm", &w.id("c")]).ok();
    let done = w.image(["compact", "--json", "made:1"]).ok().json();
    assert_eq!(done["done"].as_array().unwrap().len(), 1, "{done}");
    let kept = done["kept"].as_array().unwrap();
    assert!(kept.iter().all(|k| k["why"].as_str().unwrap().contains("no compressor")), "{done}");
    w.image(["verify"]).ok().out_is("");
    // The layer it is made from stays as long as the blob is needed.
    w.image(["gc"]).ok();
    w.image(["verify"]).ok().out_is("");
    let name = Registry::open().name("compact/made:1");
    w.image(["push", "made:1", &name]).ok();
}

#[test]
fn damage_to_a_layer_or_a_recipe_is_found_and_repaired() {
    let w = World::new();
    let image = fixtures::Image {
        name: "plain",
        layers: vec![(
            fixtures::Layer::new().file("a", 0o644, "a".repeat(100_000)).finish(),
            fixtures::Packed::Plain,
        )],
        config: json!({"Cmd": ["sh"]}),
    };
    let (name, _) = Registry::open().push(&image, "compact-plain:1");
    w.image(["pull", &name]).ok();
    let compact = || w.image(["compact"]).ok();
    // skopeo may have compressed it on its way: then there is nothing to drop.
    if compact().out().contains("Kept") {
        return;
    }
    let recipe = fs::read_dir(w.root().join("recipes")).unwrap().flatten().next().unwrap().path();
    let layer = fs::read_dir(w.root().join("layers")).unwrap().flatten().next().unwrap().path();
    fs::write(layer.join("fs/a"), "b".repeat(100_000)).unwrap();
    w.image(["verify"]).code(1).out_has("damaged layer");
    w.image(["verify", "--repair"]).ok().out_has("fetched again");
    w.image(["verify", "--deep"]).ok().out_is("");
    compact();
    fs::write(&recipe, "{}").unwrap();
    w.image(["verify"]).code(1).out_has("recipes/");
    w.image(["verify", "--repair"]).ok().out_has("fetched again");
    w.image(["verify", "--deep"]).ok().out_is("");
}
