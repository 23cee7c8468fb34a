//! `events`: statistics and out-of-memory, as runc tells them.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::time::Instant;

use e2e::{World, needs};
use serde_json::{Value, json};

use super::lifecycle::{create, wait_for};

/// Every key of a JSON value, as pointers; lists count as one.
fn keys(value: &Value, at: &str, into: &mut BTreeSet<String>) {
    if let Value::Object(map) = value {
        for (key, value) in map {
            let at = format!("{at}/{key}");
            keys(value, &at, into);
            into.insert(at);
        }
    }
}

#[test]
fn statistics_are_runcs_key_for_key() {
    needs!(CgroupV1);
    let w = World::new();
    // Both work longer than their quota, lest a counter be zero and left out by one of them.
    let work = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; touch /done; sleep 1000";
    let (ours, theirs) = (w.bundle("a", &["sh", "-c", work]), w.bundle("b", &["sh", "-c", work]));
    let limits = json!({"memory": {"limit": 64 << 20}, "pids": {"limit": 20},
        "cpu": {"quota": 50_000, "period": 100_000}, "devices": [{"allow": false, "access": "rwm"}]});
    let ours = ours.with("/linux/resources", limits.clone());
    let theirs = theirs.with("/linux/resources", limits);
    create(&w, &ours);
    w.runtime(["start", ours.id()]).ok();
    let runc = |args: &[&str]| {
        let quiet = ["sh", "-c", "exec \"$@\" </dev/null", "sh"];
        w.cmd("runc").arg("--root").arg(w.path("runc")).args(args).under(quiet)
    };
    let hush = ["sh", "-c", "exec \"$@\" </dev/null >/dev/null 2>&1", "sh"];
    let run = w.cmd("runc").arg("--root").arg(w.path("runc"));
    run.args(["run", "-d", "-b", theirs.path(), theirs.id()]).under(hush).run().ok();
    for b in [&ours, &theirs] {
        e2e::until("it has worked", || b.rootfs("done").exists());
    }
    let left = runc(&["events", "--stats", theirs.id()]).run().ok().json();
    let right = w.runtime(["events", "--stats", ours.id()]).ok().json();
    runc(&["delete", "-f", theirs.id()]).run().ok();
    w.runtime(["delete", "-f", ours.id()]).ok();
    let of = |value: &Value| {
        let mut set = BTreeSet::new();
        keys(value, "", &mut set);
        // Zero when nothing was cached: chance.
        set.retain(|key| {
            !["/data/memory/cache", "/data/blkio/"].iter().any(|k| key.starts_with(k))
        });
        set
    };
    assert_eq!(of(&left), of(&right), "runc left, dhow-runtime right");
    for pointer in ["/type", "/data/memory/usage/limit", "/data/pids", "/data/cpuset"] {
        assert_eq!(left.pointer(pointer), right.pointer(pointer), "{pointer}");
    }
    assert!(right.pointer("/data/cpu/usage/total").unwrap().as_u64().unwrap() > 0);
    assert_eq!(right["id"], ours.id());
}

#[test]
fn events_come_at_the_interval_until_the_container_stops() {
    needs!(EvenTime);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    create(&w, &b);
    w.runtime(["start", b.id()]).ok();
    let begun = Instant::now();
    let mut events = w.runtime_cmd(["events", "--interval", "100ms", b.id()]).start();
    let mut said = BufReader::new(events.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut lines: Vec<String> = said.by_ref().take(3).collect();
    w.runtime(["kill", b.id(), "KILL"]).ok();
    lines.extend(said);
    let most = begun.elapsed().as_millis() / 100 + 1;
    let done = events.wait_with_output().unwrap();
    assert!(done.status.success(), "{done:?}");
    assert!(lines.len() >= 3 && lines.len() as u128 <= most, "{lines:?}, not more than {most}");
    for line in &lines {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(line["type"] == "stats" && line["id"] == b.id(), "{line}");
    }
    w.runtime(["delete", b.id()]).ok();
}

#[test]
fn running_out_of_memory_is_an_event() {
    let w = World::new();
    // Again and again: who listens has opened its file a moment before it is told.
    let hog = "while :; do head -c 200000000 /dev/zero | tail -n 1; sleep 0.1; done";
    let b = w.bundle("b", &["sh", "-c", hog]);
    let b = b.with("/linux/resources/memory", json!({"limit": 16 << 20, "swap": 16 << 20}));
    create(&w, &b);
    let mut events = w.runtime_cmd(["events", b.id()]).start();
    e2e::until("somebody listens", || {
        let fds = fs::read_dir(format!("/proc/{}/fd", events.id())).into_iter().flatten().flatten();
        let mut files = fds.filter_map(|fd| fs::read_link(fd.path()).ok());
        files.any(|file| file.ends_with("memory.oom_control") || file.ends_with("memory.events"))
    });
    w.runtime(["start", b.id()]).ok();
    let mut said = BufReader::new(events.stdout.take().unwrap()).lines().map(Result::unwrap);
    let oom = format!(r#"{{"type":"oom","id":"{}"}}"#, b.id());
    assert!(said.any(|line| line == oom));
    // The shell may have ended already: it, too, is short of memory.
    w.runtime(["kill", b.id(), "KILL"]);
    said.for_each(drop);
    assert!(events.wait().unwrap().success());
    w.runtime(["delete", b.id()]).ok();
}

#[test]
fn events_of_a_stopped_container_and_of_no_interval_are_refused() {
    let w = World::new();
    let b = w.bundle("b", &["true"]);
    w.runtime(["events", b.id()]).refused().err_has("does not exist");
    create(&w, &b);
    for interval in ["0", "0s", "-1s"] {
        let done = w.runtime(["events", "--interval", interval, b.id()]).refused();
        done.err_has("duration interval must be greater than 0");
    }
    w.runtime(["events", "--interval", "soon", b.id()]).refused().err_has("invalid duration");
    w.runtime(["start", b.id()]).ok();
    wait_for(&w, b.id(), "stopped");
    let done = w.runtime(["events", "--stats", b.id()]).refused();
    done.err_has(&format!("container with id {} is not running", b.id()));
    w.runtime(["delete", b.id()]).ok();
}
