//! Verifying and repairing: of the store, of layouts, of anything.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use e2e::{Done, Registry, World};

fn blob(w: &World, digest: &str) -> PathBuf {
    w.root().join("images/blobs").join(digest.replace(':', "/"))
}

/// The image's layers: digest, diff id, chain id.
fn layers(w: &World, name: &str) -> Vec<(String, String, String)> {
    let json = w.image(["inspect", name]).ok().json();
    let text = |v: &serde_json::Value, key: &str| v[key].as_str().unwrap().to_owned();
    let of = |v: &serde_json::Value| (text(v, "digest"), text(v, "diffId"), text(v, "chainId"));
    match json["layers"].as_array() {
        Some(all) => all.iter().map(of).collect(),
        None => panic!("no layers in {json}"),
    }
}

fn layer_dir(w: &World, chain: &str) -> PathBuf {
    w.root().join("layers").join(chain.trim_start_matches("sha256:"))
}

fn flip(path: &PathBuf) {
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Damage is one line on stdout that has all `parts`, and exit code 1.
#[track_caller]
fn damaged(done: Done, parts: &[&str]) {
    let done = done.code(1);
    let lines = done.lines();
    assert_eq!(lines.len(), 1, "{done}");
    for part in parts {
        assert!(lines[0].contains(part), "no {part:?}\n{done}");
    }
    assert_eq!(done.err().lines().count(), 1, "{done}");
}

fn sound(w: &World) {
    w.image(["verify", "--deep"]).ok().out_is("");
}

#[test]
fn what_is_whole_has_no_findings() {
    let w = World::new();
    for image in ["busybox", "layers", "zstd"] {
        w.pull(image);
    }
    sound(&w);
    w.image(["verify", "layers", "zstd"]).ok().out_is("");
    let json = w.image(["verify", "--json"]).ok().json();
    assert_eq!(json["findings"].as_array().unwrap().len(), 0);
    w.image(["verify", "nothing-of-that-name"]).code(2);
}

#[test]
fn damage_of_each_kind_is_told_and_repaired() {
    let w = World::new();
    w.pull("layers");
    let full = Registry::open().name("layers:latest");
    let all = layers(&w, &full);
    let repaired = |what: &str| {
        w.image(["verify", "--repair"]).ok().out_has(&format!("repaired {what}"));
        sound(&w);
    };
    // A blob with a bit flipped, one cut short, one that is gone.
    flip(&blob(&w, &all[0].0));
    damaged(w.image(["verify"]), &["layer", &all[0].0, "digest"]);
    damaged(w.image(["verify", &full]), &[&all[0].0]);
    repaired("layer");
    let path = blob(&w, &all[1].0);
    fs::write(&path, &fs::read(&path).unwrap()[1..]).unwrap();
    damaged(w.image(["verify"]), &[&all[1].0, "bytes"]);
    repaired("layer");
    fs::remove_file(&path).unwrap();
    damaged(w.image(["verify"]), &[&all[1].0, "not there"]);
    repaired("layer");
    // The config, and the manifest, after which nothing else is known.
    let inspect = w.image(["inspect", &full]).ok().json();
    flip(&blob(&w, inspect["id"].as_str().unwrap()));
    damaged(w.image(["verify"]), &["config"]);
    repaired("config");
    flip(&blob(&w, inspect["manifest"]["digest"].as_str().unwrap()));
    w.image(["verify"]).code(1).out_has("damaged manifest");
    w.image(["gc"]).code(1).err_has("verify --repair");
    repaired("manifest");
}

#[test]
fn unpacked_layers_are_compared_with_their_blobs() {
    let w = World::new();
    w.pull("busybox");
    let (_, _, chain) = layers(&w, "busybox").remove(0);
    let dir = layer_dir(&w, &chain);
    let some = w
        .cmd("find")
        .arg(dir.join("fs"))
        .args(["-type", "f", "-links", "1", "-size", "+0"])
        .run()
        .ok();
    let file = PathBuf::from(&some.lines()[0]);
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    let repaired = || {
        w.image(["verify", "--repair", "--deep"]).ok().out_has("unpacked again");
        sound(&w);
    };
    fs::set_permissions(&file, fs::Permissions::from_mode(0o777)).unwrap();
    damaged(w.image(["verify"]), &[&chain, &name, "mode 777"]);
    repaired();
    let keep = w.cmd("touch").arg("-r").arg(&file).arg(w.path("time"));
    keep.run().ok();
    flip(&file);
    w.cmd("touch").arg("-r").arg(w.path("time")).arg(&file).run().ok();
    w.image(["verify"]).ok().out_is("");
    damaged(w.image(["verify", "--deep"]), &[&name, "other content"]);
    repaired();
    fs::remove_file(&file).unwrap();
    damaged(w.image(["verify"]), &[&name, "not there"]);
    repaired();
    fs::write(dir.join("fs/stowaway"), "").unwrap();
    w.image(["verify"]).code(1).out_has("\"/stowaway\" is there, and should not be");
    repaired();
    fs::write(dir.join("layer.json"), "{\"version\":").unwrap();
    w.image(["verify"]).code(1).out_has("layer.json");
    repaired();
    fs::remove_file(dir.join("layer.json")).unwrap();
    damaged(w.image(["verify"]), &["layer.json", "never whole"]);
    repaired();
}

#[test]
fn what_cannot_be_repaired_is_told() {
    let w = World::new();
    w.pull("busybox");
    let archive = w.path("a.tar");
    let archive = archive.to_str().unwrap();
    w.image(["save", "-o", archive, "busybox"]).ok();
    let other = w.path("other");
    let image = |args: &[&str]| w.image_cmd(args).env("DHOW_ROOT", &other).run();
    image(&["load", "-i", archive]).ok();
    let name = image(&["list", "--json"]).ok().json()[0]["names"][0].as_str().unwrap().to_owned();
    let json = image(&["inspect", &name]).ok().json();
    let digest = json["layers"][0]["digest"].as_str().unwrap().to_owned();
    flip(&other.join("images/blobs").join(digest.replace(':', "/")));
    let done = image(&["verify", "--repair"]).code(1);
    assert!(done.out().contains("not repaired") && done.out().contains("load"), "{done}");
    image(&["load", "-i", archive]).ok();
    fs::write(other.join("images/index.json"), "{").unwrap();
    damaged(image(&["verify", "--repair"]), &["index.json"]);
}

#[test]
fn layouts_and_archives_too() {
    let w = World::new();
    w.pull("layers");
    let layout = w.path("layout");
    let place = format!("oci:{}", layout.display());
    w.image(["copy", "layers", &format!("{place}:one")]).ok();
    w.image(["verify", &place]).ok().out_is("");
    w.image(["verify", "--layout", layout.to_str().unwrap()]).ok().out_is("");
    let tar = format!("oci-archive:{}", w.path("o.tar").display());
    w.image(["copy", "layers", &tar]).ok();
    w.image(["verify", &tar]).ok().out_is("");
    w.image(["verify", &format!("docker://{}", Registry::open().name("layers:latest"))])
        .ok()
        .out_is("");
    let layer = layers(&w, "layers")[2].0.replace(':', "/");
    let bad = layout.join("blobs").join(layer);
    flip(&bad);
    damaged(w.image(["verify", &place]), &["digest"]);
    damaged(w.image(["verify", &format!("{place}:one")]), &["digest"]);
    w.image(["verify", "--repair", &place]).refused().err_has("copy the image again");
    w.image(["copy", "layers", &format!("{place}:one")]).ok();
    w.image(["verify", &place]).ok().out_is("");
    // What nothing leads to is told apart; a pipe in a blob's place is not waited for.
    let stray = "0".repeat(64);
    fs::write(layout.join("blobs/sha256").join(&stray), "").unwrap();
    w.image(["verify", &place]).code(1).out_has("nothing needs it");
    fs::remove_file(layout.join("blobs/sha256").join(&stray)).unwrap();
    fs::remove_file(&bad).unwrap();
    w.cmd("mkfifo").arg(&bad).run().ok();
    w.image_cmd(["verify", &place]).limit(20).run().code(1).out_has("no regular file");
}
