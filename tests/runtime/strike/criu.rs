//! `checkpoint` and `restore`: what becomes of a container, and of a criu, whose runtime fails.

use std::fs;

use e2e::bundle::Bundle;
use e2e::{World, needs};

use super::uses::KILL;
use super::{After, Case, FAIL};
use crate::runtime::checkpoint::{path, start};

/// Below what is not looked at: images are no container's.
fn images(w: &World) -> String {
    w.path("say/images").display().to_string()
}

fn checkpoint<'a>(
    name: &'a str,
    w: &'a World,
    b: &'a Bundle,
    flag: &[&str],
    after: After,
) -> Case<'a> {
    let ready = || {
        let _ = fs::remove_dir_all(images(w));
        start(w, b);
        None
    };
    let images = images(w);
    let words = [&["checkpoint", "--image-path", &images], flag, &[b.id()]].concat();
    let case = Case::makes(name, w, b, &words);
    Case { ready: Box::new(ready), after, path: Some(path()), ..case }
}

#[test]
fn checkpoint_that_fails_or_is_killed_leaves_a_container_or_none() {
    needs!(Machine);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    checkpoint("checkpoint", &w, &b, &[], After::Container).strike(&[FAIL, KILL]);
}

/// One that leaves it running.
pub fn beside<'a>(w: &'a World, b: &'a Bundle) -> Case<'a> {
    checkpoint("checkpoint, beside", w, b, &["--leave-running"], After::Same)
}

#[test]
fn checkpoint_beside_that_fails_leaves_it_running() {
    needs!(Machine);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    beside(&w, &b).strike(&[FAIL]);
}

/// One of a checkpoint made before.
pub fn restore<'a>(w: &'a World, b: &'a Bundle) -> Case<'a> {
    start(w, b);
    fs::create_dir_all(w.path("say")).unwrap();
    let images = images(w);
    let save = ["checkpoint", "--image-path", &images, b.id()];
    w.runtime_cmd(save).env("PATH", path()).run().ok();
    let words = ["restore", "-d", "--image-path", &images, "-b", b.path(), b.id()];
    Case { path: Some(path()), ..Case::makes("restore", w, b, &words) }
}

#[test]
fn restore_that_fails_or_is_killed_leaves_nothing() {
    needs!(Machine);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    restore(&w, &b).strike(&[FAIL, KILL]);
}
