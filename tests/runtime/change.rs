//! pause, resume, update: a container that runs, changed.

use e2e::World;
use e2e::bundle::Bundle;

use super::lifecycle::create;

fn running(w: &World) -> Bundle {
    let b = w.bundle("b", &["sh", "-c", "while :; do echo tick; sleep 0.05; done"]);
    create(w, &b);
    w.runtime(["start", b.id()]).ok();
    b
}

#[test]
fn a_paused_container_stands_still_until_it_is_resumed() {
    let w = World::new();
    let b = running(&w);
    let id = b.id();
    let status = || w.runtime(["state", id]).ok().json()["status"].clone();
    w.runtime(["pause", id]).ok();
    assert_eq!(status(), "paused");
    w.runtime(["pause", id]).refused().err_has("not running");
    w.runtime(["exec", id, "true"]).code(255).err_has("--ignore-paused");
    w.runtime(["resume", id]).ok();
    assert_eq!(status(), "running");
    w.runtime(["resume", id]).refused().err_has("not paused");
    w.runtime(["exec", id, "true"]).ok();
    w.runtime(["delete", "-f", id]).ok();
}

#[test]
fn a_paused_container_can_be_deleted_by_force() {
    let w = World::new();
    let b = running(&w);
    w.runtime(["pause", b.id()]).ok();
    w.runtime(["delete", "-f", b.id()]).ok();
    w.runtime(["state", b.id()]).refused();
}

#[test]
fn update_changes_limits_up_and_down_and_keeps_the_others() {
    let w = World::new();
    let b = running(&w);
    let id = b.id();
    let limit = |v1: &str, v2: &str| {
        let look = format!("cat /sys/fs/cgroup/{v1} 2>/dev/null || cat /sys/fs/cgroup/{v2}");
        w.runtime(["exec", id, "sh", "-c", &look]).ok().out()
    };
    let memory = || limit("memory/memory.limit_in_bytes", "memory.max");
    let pids = || limit("pids/pids.max", "pids.max");
    w.runtime(["update", "--memory", "64m", "--memory-swap", "64m", "--pids-limit", "40", id]).ok();
    assert_eq!((memory(), pids()), ("67108864".into(), "40".into()));
    w.runtime(["update", "--memory", "128m", "--memory-swap", "160m", id]).ok();
    assert_eq!((memory(), pids()), ("134217728".into(), "40".into()));
    w.runtime(["update", "--memory", "32m", "--memory-swap", "32m", id]).ok();
    assert_eq!(memory(), "33554432");
    let json = r#"{"pids":{"limit":50}}"#;
    w.runtime_cmd(["update", "-r", "-", id]).stdin(json).run().ok();
    assert_eq!((memory(), pids()), ("33554432".into(), "50".into()));
    w.runtime(["update", "--memory", "lots", id]).refused();
    w.runtime(["delete", "-f", id]).ok();
}

#[test]
fn a_memory_limit_below_what_is_used_is_refused_when_asked_to_check() {
    let w = World::new();
    let b = running(&w);
    let id = b.id();
    let json = r#"{"memory":{"limit":4096,"checkBeforeUpdate":true}}"#;
    let done = w.runtime_cmd(["update", "-r", "-", id]).stdin(json).run().refused();
    done.err_has("/linux/resources/memory/limit").err_has("in use");
    let json = r#"{"memory":{"limit":67108864,"checkBeforeUpdate":true}}"#;
    w.runtime_cmd(["update", "-r", "-", id]).stdin(json).run().ok();
    w.runtime(["delete", "-f", id]).ok();
}
