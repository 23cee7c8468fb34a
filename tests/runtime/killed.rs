//! Killed in the middle: the next command works and nothing stays.

use std::time::Duration;

use e2e::World;

/// `kill -9` of a create at ever later instants; then `delete --force`, and the id is free.
#[test]
fn create_killed_at_any_instant_can_be_cleaned_up() {
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    std::fs::create_dir(w.runtime_root()).unwrap();
    for microseconds in [200, 500, 1000, 2000, 3000, 4000, 6000, 9000, 14000, 25000] {
        let mut create = w.runtime_cmd(["create", "-b", b.path(), b.id()]).start();
        std::thread::sleep(Duration::from_micros(microseconds));
        create.kill().unwrap();
        create.wait().unwrap();
        drop(create);
        w.runtime(["list"]).ok();
        w.runtime(["delete", "--force", b.id()]).ok();
        w.runtime(["state", b.id()]).refused();
    }
    let b = b.with("/process/args", serde_json::json!(["echo", "sound"]));
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("sound");
}

#[test]
fn run_killed_leaves_a_container_that_can_be_deleted() {
    let w = World::new();
    let b = w.bundle("b", &["sh", "-c", "touch /up; sleep 1000"]);
    let mut run = w.runtime_cmd(["run", "-b", b.path(), b.id()]).start();
    e2e::until("the container is up", || b.rootfs("up").exists());
    run.kill().unwrap();
    run.wait().unwrap();
    w.runtime(["delete", "--force", b.id()]).ok();
}

#[test]
fn container_process_killed_from_outside_is_seen_as_stopped() {
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    super::lifecycle::create(&w, &b);
    w.runtime(["start", b.id()]).ok();
    let pid = w.runtime(["state", b.id()]).ok().json()["pid"].to_string();
    w.cmd("kill").args(["-9", &pid]).run().ok();
    super::lifecycle::wait_for(&w, b.id(), "stopped");
    w.runtime(["delete", b.id()]).ok();
}
