//! What nothing needs goes, and nothing else.

use std::fs;

use e2e::World;

fn count(w: &World, below: &str) -> usize {
    fs::read_dir(w.root().join(below)).map_or(0, Iterator::count)
}

#[test]
fn gc_takes_what_nothing_leads_to() {
    let w = World::new();
    w.pull("layers");
    w.pull("busybox");
    w.image(["gc"]).ok().out_is("");
    // As a kill between two steps leaves it: blobs and layers without an entry.
    let index = w.root().join("images/index.json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
    let names = |e: &serde_json::Value| e["annotations"].to_string();
    json["manifests"].as_array_mut().unwrap().retain(|e| !names(e).contains("layers"));
    fs::write(&index, json.to_string()).unwrap();
    let stray = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    fs::write(w.root().join("images/blobs/sha256").join(stray), "").unwrap();
    fs::create_dir(w.root().join("tmp/work-dead")).unwrap();
    fs::write(w.root().join("tmp/work-dead/blob-x"), "half").unwrap();
    let found = w.image(["verify"]).ok();
    assert!(found.lines().iter().all(|l| l.starts_with("orphan ")), "{found}");
    let blobs = count(&w, "images/blobs/sha256");
    let would = w.image(["gc", "--dry-run"]).ok();
    assert_eq!(count(&w, "images/blobs/sha256"), blobs, "a dry run removes nothing");
    let did = w.image(["gc"]).ok();
    assert_eq!(would.out().replace("Would delete", "Deleted"), did.out());
    assert!(did.out().contains(stray));
    w.image(["verify", "--deep"]).ok().out_is("");
    assert_eq!(count(&w, "tmp/work-dead"), 0);
    w.image(["inspect", "busybox"]).ok();
    w.image(["remove", "busybox"]).ok();
}

#[test]
fn gc_of_a_layout_is_umocis() {
    let w = World::new();
    w.pull("layers");
    let layout = w.path("layout");
    let path = layout.to_str().unwrap();
    w.image(["copy", "layers", &format!("oci:{path}:one")]).ok();
    let blobs = || fs::read_dir(layout.join("blobs/sha256")).unwrap().count();
    let all = blobs();
    w.image(["gc", "--layout", path]).ok().out_is("");
    assert_eq!(blobs(), all);
    w.pull("busybox");
    w.image(["copy", "busybox", &format!("oci:{path}:two")]).ok();
    w.cmd("umoci").args(["rm", "--image", &format!("{path}:one")]).run().ok();
    let json = w.image(["--json", "gc", "--layout", path, "--dry-run"]).ok().json();
    let (would, before) = (json["blobs"].as_array().unwrap().len(), blobs());
    w.image(["gc", "--layout", path]).ok();
    assert!(would > 2 && blobs() == before - would);
    w.image(["verify", "--layout", path]).ok().out_is("");
    for bad in ["", "x:y", "/nothing"] {
        w.image(["gc", "--layout", bad]).refused();
    }
    // A manifest that can't be read may need anything.
    let index = fs::read_to_string(layout.join("index.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&index).unwrap();
    let digest = json["manifests"][0]["digest"].as_str().unwrap().replace(':', "/");
    fs::write(layout.join("blobs").join(digest), "{}").unwrap();
    let before = blobs();
    w.image(["gc", "--layout", path]).refused().err_has("unknown");
    assert_eq!(blobs(), before);
}

#[test]
fn an_image_deleted_from_a_layout_takes_its_own_blobs_along() {
    let w = World::new();
    let layout = w.path("layout");
    let path = layout.to_str().unwrap();
    let place = |name: &str| format!("oci:{path}:{name}");
    w.pull("layers");
    w.pull("busybox");
    let blobs = || {
        let names = fs::read_dir(layout.join("blobs/sha256")).unwrap();
        names.map(|entry| entry.unwrap().file_name()).collect::<std::collections::BTreeSet<_>>()
    };
    w.image(["copy", "busybox", &place("one")]).ok();
    let one = blobs();
    w.image(["copy", "layers", &place("two")]).ok();
    w.image(["copy", "layers", &place("three")]).ok();
    let both = blobs();
    w.image(["delete", &format!("oci:{path}")]).refused().err_has("say which: one, two, three");
    w.image(["delete", &place("four")]).code(2);
    w.image(["delete", &place("two")]).ok().out_is("");
    assert_eq!(blobs(), both, "another name leads to the same image");
    // What nothing leads to was not this image's: it stays for gc.
    fs::write(layout.join("blobs/sha256").join("0".repeat(64)), "stray").unwrap();
    w.image(["delete", "--shared-blob-dir", "/elsewhere", &place("one")]).ok();
    assert!(blobs().is_superset(&one), "shared blobs are others' too");
    w.image(["copy", "busybox", &place("one")]).ok();
    w.image(["delete", &place("three")]).ok();
    let mut left = one.clone();
    left.insert("0".repeat(64).into());
    assert_eq!(blobs(), left);
    // Where it is unknown what must stay, all stays.
    w.image(["copy", "layers", &place("two")]).ok();
    let index = fs::read_to_string(layout.join("index.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&index).unwrap();
    let named = |name: &str| {
        let all = json["manifests"].as_array().unwrap();
        let named =
            |m: &&serde_json::Value| m["annotations"]["org.opencontainers.image.ref.name"] == name;
        let digest = all.iter().find(named).unwrap()["digest"].as_str().unwrap();
        layout.join("blobs").join(digest.replace(':', "/"))
    };
    fs::write(named("two"), "{}").unwrap();
    w.image(["delete", &place("one")]).refused().err_has("unknown");
    assert_eq!(fs::read_to_string(layout.join("index.json")).unwrap(), index);
    // One that is damaged itself may go.
    w.image(["delete", &place("two")]).ok();
    w.image(["delete", &format!("oci:{path}")]).ok();
    w.cmd("skopeo")
        .args(["copy", "-q"])
        .args([&format!("oci:{path}")])
        .arg("dir:x")
        .run()
        .refused();
}

#[test]
fn prune_takes_the_nameless_and_with_all_the_unused() {
    let w = World::new();
    w.pull("busybox");
    w.pull("layers");
    let old = w.image(["inspect", "layers"]).ok().json()["id"].as_str().unwrap().to_owned();
    w.image(["prune"]).ok().out_is("");
    for name in w.image(["inspect", "layers"]).ok().json()["names"].as_array().unwrap() {
        w.image(["tag", "busybox", name.as_str().unwrap()]).ok();
    }
    w.image(["inspect", &old]).ok();
    w.image(["prune", "--filter", "label=none"]).ok().out_is("");
    w.image(["prune", "--filter", "until=1971-01-01"]).ok().out_is("");
    w.image(["prune", "--filter", "colour=red"]).refused();
    w.image(["prune"]).ok().out_has(&old);
    w.image(["inspect", &old]).code(2);
    let made = w.id("c");
    w.dhow(["create", "--name", &made, "busybox", "true"]).ok();
    w.image(["prune", "--all"]).ok().out_is("");
    w.dhow(["rm", &made]).ok();
    w.image(["prune", "--all"]).ok();
    w.image(["list", "-q"]).ok().out_is("");
    w.image(["verify"]).ok().out_is("");
    assert_eq!(count(&w, "layers"), 0);
}

#[test]
fn du_adds_up() {
    let w = World::new();
    w.pull("layers");
    w.pull("busybox");
    let json = w.image(["du", "--json"]).ok().json();
    let number = |v: &serde_json::Value, key: &str| v[key].as_u64().unwrap();
    let images = json["images"].as_array().unwrap();
    assert_eq!(images.len(), 2);
    for image in images {
        let parts = number(image, "unique") + number(image, "shared");
        assert_eq!(parts, number(image, "blobs") + number(image, "unpacked"));
        assert!(number(image, "blobs") > 0 && number(image, "unpacked") > 0);
    }
    assert_eq!(number(&json, "idle"), 0);
    assert!(w.image(["du"]).ok().lines().last().unwrap().starts_with("total"));
}

/// dhow's containers hold what they mount, whoever collects.
#[test]
fn layers_of_mounted_images_stay() {
    let w = World::new();
    w.pull("busybox");
    w.pull("layers");
    let name = w.id("c");
    let mount = "type=image,source=layers,target=/cargo";
    w.dhow(["create", "--name", &name, "--mount", mount, "busybox", "ls", "/cargo"]).ok();
    let layers = count(&w, "layers");
    w.image(["remove", "-f", "layers"]).ok();
    w.image(["gc"]).ok();
    assert_eq!(count(&w, "layers"), layers);
    w.dhow(["rm", &name]).ok();
}

#[test]
fn gc_of_a_layout_follows_no_link_and_clears_up_after_the_dead() {
    let w = World::new();
    w.pull("busybox");
    let layout = w.path("layout");
    let path = layout.to_str().unwrap();
    w.image(["copy", "busybox", &format!("oci:{path}:one")]).ok();
    fs::create_dir(layout.join(".umoci-dead")).unwrap();
    fs::write(layout.join(".umoci-dead/half"), "").unwrap();
    fs::create_dir(layout.join(".umoci-live")).unwrap();
    let live = fs::File::open(layout.join(".umoci-live")).unwrap();
    live.lock().unwrap();
    w.image(["gc", "--layout", path]).ok();
    assert!(!layout.join(".umoci-dead").exists() && layout.join(".umoci-live").exists());
    w.image(["verify", "--layout", path]).ok().out_is("");
    fs::rename(layout.join("blobs/sha256"), w.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(w.path("elsewhere"), layout.join("blobs/sha256")).unwrap();
    fs::write(w.path("elsewhere").join("1".repeat(64)), "another layout's").unwrap();
    w.image(["gc", "--layout", path]).refused().err_has("others may need");
    assert!(w.path("elsewhere").join("1".repeat(64)).exists());
}
