//! Hooks: where they run, in which order, and what their failure does.

use std::fs;

use e2e::World;
use serde_json::{Value, json};

fn hook(script: &str) -> Value {
    json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}])
}

#[test]
fn hooks_run_in_order_and_are_told_the_state() {
    let w = World::new();
    let log = w.path("log");
    let note = |name: &str| {
        hook(&format!(
            "echo {name} $(sed 's/.*\"status\": *\"\\([a-z]*\\)\".*/\\1/') >>{}",
            log.display()
        ))
    };
    let b = w.bundle("b", &["sh", "-c", "cat /in-container"]);
    let b = b.with("/hooks/prestart", note("prestart"));
    let b = b.with("/hooks/createRuntime", note("createRuntime"));
    let b = b.with("/hooks/createContainer", note("createContainer"));
    let b = b.with("/hooks/startContainer", hook("echo startContainer >/in-container"));
    let b = b.with("/hooks/poststart", note("poststart"));
    let b = b.with("/hooks/poststop", note("poststop"));
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("startContainer");
    let said = fs::read_to_string(&log).unwrap();
    let mut names: Vec<&str> = said.lines().map(|l| l.split(' ').next().unwrap()).collect();
    // A process that ends at once may be gone before the poststart hook has run.
    names.retain(|n| *n != "poststart");
    assert_eq!(names, ["prestart", "createRuntime", "createContainer", "poststop"], "{said}");
    assert!(said.contains("poststop stopped"), "{said}");
    assert!(said.contains("poststart"), "{said}");
}

#[test]
fn hook_gets_only_its_own_environment() {
    let w = World::new();
    let log = w.path("log");
    let show = format!("env >{}", log.display());
    let with = json!([{"path": "/bin/sh", "args": ["sh", "-c", show], "env": ["ONLY=this"]}]);
    let b = w.bundle("b", &["true"]).with("/hooks/createRuntime", with);
    w.runtime(["run", "-b", b.path(), b.id()]).ok();
    let said = fs::read_to_string(&log).unwrap();
    assert!(said.contains("ONLY=this") && !said.contains("HOME="), "{said}");
}

#[test]
fn failing_hook_before_start_fails_the_create_and_leaves_nothing() {
    let w = World::new();
    for place in ["prestart", "createRuntime", "createContainer"] {
        let b = w.bundle(place, &["true"]);
        let b = b.with(&format!("/hooks/{place}"), hook("echo the anchor is stuck >&2; exit 5"));
        let done = w.runtime(["run", "-b", b.path(), b.id()]).refused();
        done.err_has(place);
        w.runtime(["state", b.id()]).refused();
    }
}

#[test]
fn hook_over_its_time_is_ended() {
    let w = World::new();
    let slow = json!([{"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}]);
    let b = w.bundle("b", &["true"]).with("/hooks/createRuntime", slow);
    w.runtime_cmd(["run", "-b", b.path(), b.id()]).limit(30).run().refused();
}
