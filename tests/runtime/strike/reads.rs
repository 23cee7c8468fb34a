//! Commands that only tell: what they can't find out, they don't make up; and those that change
//! a running container's mounts.

use e2e::bundle::Bundle;
use e2e::{World, needs};
use serde_json::json;

use super::scene::{hooked, mapped, portrait};
use super::uses::{KILL, on};
use super::{After, Case, FAIL, What};
use crate::runtime::lifecycle::create;

#[test]
fn what_is_told_of_a_container_is_whole_or_a_failure() {
    needs!(Machine);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let b = b.with("/linux/resources/memory", json!({"limit": 90_000_000}));
    for (name, words) in [
        ("list", ["list", "--format", "json"].as_slice()),
        ("ps", &["ps", "--format", "json", b.id()]),
        ("events", &["events", "--stats", b.id()]),
    ] {
        on(name, &w, &b, words, After::Same).strike(&[FAIL]);
    }
}

#[test]
fn exec_among_users_of_their_own_leaves_no_process() {
    needs!(Machine);
    let w = World::new();
    let b = mapped(w.bundle("b", &["sleep", "1000"]));
    let words: Vec<&str> = ["exec", b.id()].into_iter().chain(portrait()).collect();
    let both = ("kill both", What::Kill(3));
    on("exec, users", &w, &b, &words, After::Same).strike(&[FAIL, KILL, both]);
}

#[test]
fn delete_with_hooks_that_fails_or_is_killed_can_be_repeated() {
    needs!(Machine);
    let w = World::new();
    let b = hooked(w.bundle("b", &["sleep", "1000"]));
    let words = ["delete", "--force", b.id()];
    on("delete, hooks", &w, &b, &words, After::Container).strike(&[FAIL, KILL]);
}

/// A list of two mounts.
pub fn list(w: &World, b: &Bundle) -> String {
    let from = w.path("from");
    std::fs::create_dir(&from).unwrap();
    for at in ["in", "of"] {
        std::fs::create_dir(b.rootfs(at)).unwrap();
    }
    let two = json!([
        {"destination": "/in", "type": "bind", "source": from, "options": ["bind", "ro"]},
        {"destination": "/of", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k"]},
    ]);
    let list = w.path("list.json");
    std::fs::write(&list, two.to_string()).unwrap();
    list.display().to_string()
}

/// Added mounts: all of a list, or none.
#[test]
fn mounts_that_fail_to_come_or_go_leave_what_was_there() {
    needs!(Machine);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let list = list(&w, &b);
    let (add, remove) = (["mounts", "add", b.id(), &list], ["mounts", "remove", b.id(), &list]);
    on("mounts add", &w, &b, &add, After::Same).strike(&[FAIL, KILL]);
    let ready = || {
        create(&w, &b);
        w.runtime(["start", b.id()]).ok();
        w.runtime(add).ok();
        None
    };
    let case = on("mounts remove", &w, &b, &remove, After::Container);
    Case { ready: Box::new(ready), ..case }.strike(&[FAIL, KILL]);
}
