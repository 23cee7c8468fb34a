//! Pushing to a registry.

use std::fs;

use e2e::{Registry, World};

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
