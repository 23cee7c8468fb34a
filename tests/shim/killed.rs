//! Killed in the middle: a monitor, a run; the next command puts things right.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use e2e::{World, leaks, needs};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The processes of this world that are the dhow program itself: its monitors.
pub fn monitors(w: &World) -> Vec<i32> {
    let dhow = fs::canonicalize(e2e::program("dhow")).unwrap();
    let all = leaks::processes(w.name(), &BTreeSet::new());
    let is_dhow = |pid: &i32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|p| p == dhow);
    all.into_iter().map(|(pid, _)| pid).filter(is_dhow).collect()
}

#[test]
fn monitor_killed_container_lives_and_can_be_stopped() {
    let w = World::new();
    w.pull("busybox");
    let name = w.id("c");
    let script = "while :; do echo alive; sleep 0.1; done";
    w.dhow(["run", "-d", "--name", &name, "busybox", "sh", "-c", script]).ok();
    let pids = monitors(&w);
    assert_eq!(pids.len(), 1, "one monitor a container: {pids:?}");
    kill(Pid::from_raw(pids[0]), Signal::SIGKILL).unwrap();
    assert_eq!(super::lifecycle::field(&w, &name, "/State/Running"), true);
    w.dhow(["exec", &name, "true"]).ok();
    w.dhow(["ps"]).ok().out_has(&name);
    w.dhow(["stop", "-t", "1", &name]).ok();
    assert_eq!(super::lifecycle::field(&w, &name, "/State/Running"), false);
    // Whoever took over tells of its end, once.
    let told = w.dhow(["events", "--until", "0", "-f", "event=die", "--format", "{{.Action}}"]);
    told.ok().out_is("die");
    w.dhow(["start", &name]).ok();
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn monitor_and_container_killed_together() {
    let w = World::new();
    w.pull("busybox");
    let name = w.id("c");
    w.dhow(["run", "-d", "--name", &name, "busybox", "sleep", "1000"]).ok();
    let container = super::lifecycle::field(&w, &name, "/State/Pid").as_i64().unwrap() as i32;
    for pid in monitors(&w).into_iter().chain([container]) {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    e2e::until("dhow sees its end", || {
        super::lifecycle::field(&w, &name, "/State/Running") == false
    });
    w.dhow(["start", &name]).ok();
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn run_killed_at_any_instant_leaves_nothing_that_rm_cannot_take() {
    needs!(Speed);
    let w = World::new();
    w.pull("busybox");
    for milliseconds in [1, 2, 4, 6, 8, 10, 14, 20, 30, 60] {
        let mut run = w.dhow_cmd(["run", "--rm", "busybox", "sleep", "0.2"]).start();
        std::thread::sleep(Duration::from_millis(milliseconds));
        run.kill().unwrap();
        run.wait().unwrap();
    }
    let left = || w.dhow(["ps", "-aq"]).ok().lines();
    e2e::until("what runs has ended", || w.dhow(["ps", "-q"]).ok().out().is_empty());
    let ids = left();
    if !ids.is_empty() {
        w.dhow(["rm".to_owned(), "-f".to_owned()].into_iter().chain(ids)).ok();
    }
    assert!(left().is_empty());
    w.dhow(["run", "--rm", "busybox", "echo", "sound"]).ok().out_is("sound");
}

#[test]
fn container_killed_from_outside_is_reported() {
    let w = World::new();
    w.pull("busybox");
    let name = w.id("c");
    w.dhow(["run", "-d", "--name", &name, "busybox", "sleep", "1000"]).ok();
    let pid = super::lifecycle::field(&w, &name, "/State/Pid").as_i64().unwrap() as i32;
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    w.dhow(["wait", &name]).ok().out_is("137");
    w.dhow(["rm", &name]).ok();
}
