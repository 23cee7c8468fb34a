//! Configs of a wrong shape; `tests/runtime` tries any shape.

use std::fs;

use serde_json::json;

use crate::scene::{QUIET, Scene, Verdict};

/// Places of config.json and what is put there.
fn wrong() -> Vec<(&'static str, serde_json::Value)> {
    let deep = (0..120).fold(json!(1), |inner, _| json!([inner]));
    vec![
        ("/process", json!(null)),
        ("/process", json!([])),
        ("/process/args", json!({"0": "sh"})),
        ("/process/args", json!([])),
        ("/process/args", json!(["a\u{0}b"])),
        ("/process/cwd", json!("")),
        ("/process/cwd", json!("not/absolute")),
        ("/process/env", json!(["A=\u{0}"])),
        ("/process/user", deep),
        ("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": -1, "hard": -1}])),
        ("/root", json!(null)),
        ("/root/path", json!("")),
        ("/root/path", json!("/nowhere/at/all")),
        ("/mounts", json!({"destination": "/"})),
        ("/mounts/0/destination", json!("a\u{0}b")),
        ("/linux/namespaces", json!([{"type": "mount"}, {"type": "moon"}])),
        ("/linux/namespaces", json!([{"type": "mount"}, {"type": "pid"}, {"type": "pid"}])),
        ("/linux/resources", json!({"memory": {"limit": "all"}})),
        ("/linux/resources", json!({"cpu": {"shares": -5e300}})),
        ("/linux/seccomp", json!({"defaultAction": 5})),
        (
            "/linux/devices",
            json!([{"path": "../../x", "type": "c", "major": -1, "minor": 1u64 << 60}]),
        ),
        ("/hooks", json!({"createRuntime": [{"path": ""}]})),
    ]
}

/// Each is refused by an exit code, not by a crash, and leaves no container.
pub fn refused(s: &Scene) -> Verdict {
    let plain = s.another("b", &["true"]);
    let whole = plain.config.clone();
    let mut texts: Vec<(String, String)> = Vec::new();
    for (place, value) in wrong() {
        let mut config = whole.clone();
        let (parent, key) = place.rsplit_once('/').unwrap();
        let parent = config.pointer_mut(parent).unwrap();
        match parent.as_array_mut() {
            Some(items) => items[key.parse::<usize>().unwrap()] = value,
            None => parent[key] = value,
        }
        texts.push((place.to_owned(), config.to_string()));
    }
    let half = whole.to_string();
    texts.push(("half of it".to_owned(), half[..half.len() / 2].to_owned()));
    texts.push(("nothing".to_owned(), String::new()));
    texts.push(("100,000 brackets".to_owned(), "[".repeat(100_000)));
    texts.push(("no object".to_owned(), "\"text\"".to_owned()));
    for (place, text) in texts {
        fs::write(plain.dir().join("config.json"), text).unwrap();
        let words = s.w.path("words");
        let to = format!("exec \"$@\" >/dev/null 2>{} </dev/null", words.display());
        let create = s.cmd(["create", "-b", plain.path(), plain.id()]);
        let done = create.under(["sh", "-c", &to, "sh"]).run();
        let said = String::from_utf8_lossy(&fs::read(words).unwrap()).into_owned();
        let panicked = said.contains("panicked at") || said.contains("goroutine ");
        // By a signal: from 128.
        if panicked || done.code >= 128 && done.code != 255 {
            return Verdict::Flawed(format!("{place}: ended with {}", done.code));
        }
        if done.code != 0 && s.cmd(["state", plain.id()]).run().code == 0 {
            return Verdict::Flawed(format!("{place}: half a container stays"));
        }
        s.delete(&plain);
    }
    Verdict::Safe
}

/// An id is the name of a directory, if it is taken for a path: of one that comes about, and of one
/// that goes.
pub fn ids(s: &Scene) -> Verdict {
    let b = s.another("b", &["true"]);
    fs::create_dir_all(s.w.runtime_root()).unwrap();
    let absolute = s.outside().join("new").display().to_string();
    for id in ["../outside/new", "x/../../outside/new", "./../outside/new", &absolute, "..", "."] {
        s.cmd(["create", "-b", b.path(), id]).under(QUIET).run();
        if let Some(harm) = s.harm() {
            return Verdict::Flawed(format!("create {id}: {harm}"));
        }
        s.cmd(["delete", "--force", id]).run();
        if !s.outside().exists() {
            return Verdict::Flawed(format!("delete {id}: removed what is above its state"));
        }
    }
    for id in ["../outside", "../runtime/../outside", "./../outside"] {
        s.cmd(["delete", "--force", id]).run();
        if !s.outside().join("secret").exists() {
            return Verdict::Flawed(format!("delete {id}: removed a directory of the host"));
        }
    }
    Verdict::Safe
}
