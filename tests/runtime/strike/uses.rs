//! Failures and kills of the commands that use a container.

use e2e::bundle::Bundle;
use e2e::{World, needs};

use super::scene::{engine, hooked, portrait};
use super::{After, Case, FAIL, What};
use crate::runtime::lifecycle::create;

/// The command is killed.
pub const KILL: (&str, What) = ("kill", What::Kill(1));

fn pid(w: &World, b: &Bundle) -> i32 {
    w.runtime(["state", b.id()]).ok().json()["pid"].as_i64().unwrap() as i32
}

/// A command on a running container.
pub fn on<'a>(
    name: &'a str,
    w: &'a World,
    b: &'a Bundle,
    words: &[&str],
    after: After,
) -> Case<'a> {
    let ready = || {
        create(w, b);
        w.runtime(["start", b.id()]).ok();
        None
    };
    Case { ready: Box::new(ready), after, ..Case::makes(name, w, b, words) }
}

#[test]
fn state_that_fails_says_nothing_wrong() {
    needs!(Machine);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    on("state", &w, &b, &["state", b.id()], After::Same).strike(&[FAIL]);
}

#[test]
fn start_that_fails_or_is_killed_leaves_what_can_be_deleted() {
    needs!(Machine);
    let w = World::new();
    let b = hooked(w.bundle("b", &["sleep", "1000"]));
    let ready = || {
        create(&w, &b);
        Some(pid(&w, &b))
    };
    let case = Case::makes("start, hooks", &w, &b, &["start", b.id()]);
    let both = ("kill both", What::Kill(3));
    let waiting = ("kill the waiting", What::Kill(2));
    Case { ready: Box::new(ready), after: After::Container, ..case }
        .strike(&[FAIL, KILL, both, waiting]);
}

#[test]
fn exec_that_fails_leaves_no_process() {
    needs!(Machine);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let words: Vec<&str> = ["exec", b.id()].into_iter().chain(portrait()).collect();
    on("exec", &w, &b, &words, After::Same).strike(&[FAIL]);
}

#[test]
fn exec_with_a_terminal_that_fails_leaves_no_process() {
    needs!(Machine);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let socket = engine(&w);
    let words = ["exec", "-d", "-t", "--console-socket", &socket, b.id(), "true"];
    on("exec, terminal", &w, &b, &words, After::Same).strike(&[FAIL]);
}

#[test]
fn exec_that_is_killed_leaves_what_can_be_deleted() {
    needs!(Machine);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let waiting = ("kill the waiting", What::Kill(2));
    on("exec", &w, &b, &["exec", b.id(), "true"], After::Same).strike(&[
        KILL,
        waiting,
        ("kill both", What::Kill(3)),
    ]);
}

#[test]
fn kill_and_delete_that_fail_or_are_killed_can_be_repeated() {
    needs!(Machine);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    on("kill", &w, &b, &["kill", b.id(), "KILL"], After::Container).strike(&[FAIL, KILL]);
    let words = ["delete", "--force", b.id()];
    on("delete", &w, &b, &words, After::Container).strike(&[FAIL, KILL]);
}

#[test]
fn pause_that_fails_leaves_it_running_and_resume_can_be_repeated() {
    needs!(Machine);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    on("pause", &w, &b, &["pause", b.id()], After::Same).strike(&[FAIL, KILL]);
    let ready = || {
        create(&w, &b);
        w.runtime(["start", b.id()]).ok();
        w.runtime(["pause", b.id()]).ok();
        None
    };
    let case = on("resume", &w, &b, &["resume", b.id()], After::Container);
    Case { ready: Box::new(ready), ..case }.strike(&[FAIL, KILL]);
}

#[test]
fn update_that_fails_changes_nothing() {
    needs!(Machine);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let words = ["update", "--pids-limit", "77", "--memory", "90000000", "--cpu-share", "500"];
    let words: Vec<&str> = words.into_iter().chain([b.id()]).collect();
    on("update", &w, &b, &words, After::Same).strike(&[FAIL, KILL]);
}
