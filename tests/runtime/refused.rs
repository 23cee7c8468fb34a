//! What can't be done is said in one line and leaves nothing behind (each `World` checks that).

use std::fs;

use e2e::{Done, World, needs};
use serde_json::json;

/// Refused in a single line that holds every one of `parts`.
#[track_caller]
fn one_line(done: Done, parts: &[&str]) {
    let done = done.refused();
    let error = done.err();
    assert_eq!(error.lines().count(), 1, "not one line:\n{error}");
    for part in parts {
        assert!(error.contains(part), "no {part:?} in:\n{error}");
    }
}

#[test]
fn bad_json() {
    let w = World::new();
    let b = w.bundle("b", &["true"]);
    fs::write(b.dir().join("config.json"), "{\"ociVersion\": \"1.0.2\", \"process\": {]").unwrap();
    one_line(w.runtime(["run", "-b", b.path(), b.id()]), &["config.json"]);
}

#[test]
fn wrong_type_in_the_config_is_named_by_its_place() {
    let w = World::new();
    let b = w.bundle("b", &["true"]).with("/process/cwd", 5.into());
    one_line(w.runtime(["run", "-b", b.path(), b.id()]), &["cwd"]);
    let b = b.with("/process/cwd", "not/absolute".into());
    one_line(w.runtime(["run", "-b", b.path(), b.id()]), &["cwd", "not/absolute"]);
}

#[test]
fn missing_config_and_missing_bundle() {
    let w = World::new();
    let b = w.bundle("b", &["true"]);
    fs::remove_file(b.dir().join("config.json")).unwrap();
    one_line(w.runtime(["run", "-b", b.path(), b.id()]), &["config.json"]);
    one_line(w.runtime(["run", "-b", "/no/such/bundle", b.id()]), &["/no/such/bundle"]);
}

#[test]
fn missing_rootfs() {
    let w = World::new();
    let b = w.bundle("b", &["true"]).with("/root/path", "nowhere".into());
    one_line(w.runtime(["run", "-b", b.path(), b.id()]), &["nowhere"]);
    w.runtime(["state", b.id()]).refused();
}

#[test]
fn empty_arguments() {
    let w = World::new();
    let b = w.bundle("b", &[]);
    one_line(w.runtime(["run", "-b", b.path(), b.id()]), &["args"]);
}

#[test]
fn id_that_would_leave_the_state_directory() {
    let w = World::new();
    let b = w.bundle("b", &["true"]);
    for id in ["../escape", "a/b", "", ".", "..", "with space", "a\u{e9}"] {
        w.runtime(["run", "-b", b.path(), id]).refused();
        assert!(!w.path("escape").exists());
    }
}

#[test]
fn mount_source_that_is_not_there() {
    let w = World::new();
    let b = w.bundle("b", &["true"]);
    let b = b.and("/mounts", json!({"destination": "/x", "type": "bind", "source": "/no/such/source", "options": ["bind"]}));
    one_line(w.runtime(["run", "-b", b.path(), b.id()]), &["/no/such/source"]);
}

#[test]
fn file_system_that_is_not_known() {
    let w = World::new();
    let b = w.bundle("b", &["true"]);
    let b = b.and("/mounts", json!({"destination": "/x", "type": "nosuchfs", "source": "none"}));
    one_line(w.runtime(["run", "-b", b.path(), b.id()]), &["nosuchfs"]);
}

#[test]
fn unknown_container() {
    let w = World::new();
    let id = w.id("nobody");
    for verb in ["state", "start", "kill", "delete", "ps"] {
        one_line(w.runtime([verb, &id]), &[&id]);
    }
}

#[test]
fn unknown_flag_and_unknown_command() {
    let w = World::new();
    w.runtime(["run", "--no-such-flag", "x"]).refused().err_has("no-such-flag");
    w.runtime(["no-such-command"]).refused().err_has("no-such-command");
}

#[test]
fn errors_go_to_the_log_file_as_json_too() {
    let w = World::new();
    let log = w.path("log.json");
    let log = log.to_str().unwrap();
    w.runtime(["--log", log, "--log-format", "json", "state", &w.id("nobody")]).refused();
    let text = fs::read_to_string(log).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(line["level"], "error");
    assert!(line["msg"].is_string() && line["time"].is_string(), "{line}");
}

#[test]
fn state_directory_on_a_full_disk() {
    needs!(Root);
    let w = World::new();
    let b = w.bundle("b", &["true"]);
    let small = w.path("small");
    fs::create_dir(&small).unwrap();
    let full = "mount -t tmpfs -o size=16k tmpfs $0 && head -c 1M /dev/zero >$0/full; exec \"$@\"";
    let inside = ["unshare", "-m", "sh", "-c", full, small.to_str().unwrap()];
    let run = w.cmd(e2e::program("dhow-runtime")).arg("--root").arg(small.join("root"));
    let done = run.args(["run", "-b", b.path(), b.id()]).under(inside).run().refused();
    assert!(done.err().to_lowercase().contains("no space left"), "{done}");
}
