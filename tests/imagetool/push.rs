//! Pushing to a registry.

use std::fs;

use e2e::{Registry, World, fixtures};

use super::pull::digest_of;

#[test]
fn what_is_pushed_is_what_was_pulled() {
    let w = World::new();
    let open = Registry::open();
    let (from, to) = (open.name("layers:latest"), open.name("pushed/layers:again"));
    w.image(["pull", &from]).ok();
    w.image(["tag", &from, &to]).ok();
    let done = w.image(["push", &to]).ok();
    assert!(done.out().contains(&digest_of(&to)) || done.out().contains(&to), "{done}");
    assert_eq!(digest_of(&from), digest_of(&to));
}

#[test]
fn plain_layers_are_pushed_as_gzip_the_same_every_time() {
    let w = World::new();
    let open = Registry::open();
    let (one, two) = (open.name("pushed/plain:one"), open.name("pushed/plain:two"));
    fs::create_dir(w.path("root")).unwrap();
    fs::write(w.path("root/file"), "text ".repeat(5000)).unwrap();
    let (tree, tar) = (w.path("root"), w.path("root.tar"));
    w.cmd("tar").arg("-cf").arg(&tar).arg("-C").arg(&tree).arg(".").run().ok();
    w.image(["import", &tar.display().to_string(), &one]).ok();
    w.image(["tag", &one, &two]).ok();
    w.image(["push", &one]).ok();
    w.dhow(["push", &two]).ok();
    assert_eq!(digest_of(&one), digest_of(&two));
    let raw = w.image(["inspect", "--raw", &format!("docker://{one}")]).ok().out();
    assert!(raw.contains("layer.v1.tar+gzip"), "{raw}");
    // What it unpacks to is what it was.
    let id = |name: &str| {
        let text = w.image(["inspect", "--config", name]).ok().out();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    assert_eq!(id(&one), id(&format!("docker://{one}")));
}

#[test]
fn push_to_the_secured_registry() {
    let w = World::new();
    w.pull("busybox");
    let secured = Registry::secured();
    let to = secured.name("pushed/busybox:one");
    w.image(["tag", "busybox", &to]).ok();
    w.image(["push", &to]).refused().err_has(&secured.host());
    let pair = format!("{}:{}", Registry::USER, Registry::PASSWORD);
    let pair = w.cmd("base64").arg("-w0").stdin(pair).run().ok().out();
    fs::create_dir_all(w.path("home/.docker")).unwrap();
    let json = serde_json::json!({"auths": {secured.host(): {"auth": pair}}});
    fs::write(w.path("home/.docker/config.json"), json.to_string()).unwrap();
    w.image(["push", &to]).ok();
}

#[test]
fn push_of_an_unknown_image_is_refused() {
    let w = World::new();
    let to = Registry::open().name("pushed/nothing:here");
    w.image(["push", &to]).refused().err_has(&to);
}

#[test]
fn blobs_are_mounted_from_a_neighbour_or_sent_in_chunks() {
    let w = World::new();
    let open = Registry::open();
    let (from, _) = open.push(&fixtures::unlike("x", "chunks", 300 << 10), "chunks/from:1");
    let place = |name: &str| format!("docker://{name}");
    let mounted = open.name("chunks/mounted:1");
    let done = w.image(["copy", &place(&from), &place(&mounted)]).ok();
    assert!(done.err().contains(": mounted"), "{done}");
    let again = w.image(["copy", &place(&from), &place(&mounted)]).ok();
    assert!(again.err().contains(": already there"), "{again}");
    // Another registry has no neighbour to mount from.
    let secured = Registry::secured();
    let sent = secured.name("chunks/sent:1");
    let creds = format!("{}:{}", Registry::USER, Registry::PASSWORD);
    let chunks = ["copy", "--chunk-size", "65536", "--dest-creds", &creds];
    let done = w.image([&chunks[..], &[&place(&from), &place(&sent)]].concat()).ok();
    assert!(done.err().contains(": pushed"), "{done}");
    let raw = |name: &str, more: &[&str]| {
        w.image([&["inspect", "--raw"], more, &[&place(name)]].concat()).ok().out()
    };
    assert_eq!(raw(&from, &[]), raw(&sent, &["--creds", &creds]));
    assert_eq!(raw(&from, &[]), raw(&mounted, &[]));
    let whole = format!("oci:{}", w.path("whole").display());
    w.image(["copy", "--src-creds", &creds, &place(&sent), &whole]).ok();
}
