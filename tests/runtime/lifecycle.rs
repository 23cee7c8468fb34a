//! The OCI state machine: creating, created, running, stopped.

use std::fs;

use e2e::bundle::Bundle;
use e2e::{World, needs};
use serde_json::json;

/// The `status` that `state` prints.
pub fn status(w: &World, id: &str) -> String {
    w.runtime(["state", id]).ok().json()["status"].as_str().unwrap().to_owned()
}

/// Waits until `state` says so.
#[track_caller]
pub fn wait_for(w: &World, id: &str, wanted: &str) {
    e2e::until(&format!("{id} is {wanted}"), || status(w, id) == wanted);
}

/// Creates the container with its stdio on /dev/null, so that it outlives the call.
pub fn create(w: &World, b: &Bundle) {
    let quiet = ["sh", "-c", "exec \"$@\" >/dev/null 2>&1 </dev/null", "sh"];
    w.runtime_cmd(["create", "-b", b.path(), b.id()]).under(quiet).run().ok();
}

/// Whoever gets hold of a descriptor of a waiting container's finds nothing of the host's.
#[test]
fn created_container_holds_its_fifo_and_its_link_alone() {
    needs!(Root);
    let w = World::new();
    let b = w.bundle("b", &["true"]);
    create(&w, &b);
    let pid = w.runtime(["state", b.id()]).ok().json()["pid"].clone();
    let held = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().map(|fd| fd.unwrap());
    let held = held.filter(|fd| fd.file_name().to_str().unwrap().parse::<u32>().unwrap() > 2);
    let mut held: Vec<_> = held
        .map(|fd| std::fs::read_link(fd.path()).unwrap().to_string_lossy().into_owned())
        .map(|to| to.rsplit('/').next().unwrap().split(':').next().unwrap().to_owned())
        .collect();
    held.sort();
    assert_eq!(held, ["exec.fifo", "socket"]);
    w.runtime(["start", b.id()]).ok();
    w.runtime(["delete", "--force", b.id()]).ok();
}

/// Scripts ask for its state until there is one, and start it then.
#[test]
fn bug_who_asked_while_it_was_being_made_could_not_start_it() {
    let w = World::new();
    for n in 0..5 {
        let b = w.bundle(&format!("b{n}"), &["true"]);
        std::thread::scope(|s| {
            s.spawn(|| create(&w, &b));
            let mut state = w.runtime(["state", b.id()]);
            while state.code != 0 {
                state = w.runtime(["state", b.id()]);
            }
            assert_eq!(state.json()["status"], "created");
            w.runtime(["start", b.id()]).ok();
        });
        w.runtime(["delete", "--force", b.id()]).ok();
    }
}

#[test]
fn states_follow_the_specification() {
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    w.runtime(["state", b.id()]).refused();
    create(&w, &b);
    let state = w.runtime(["state", b.id()]).ok().json();
    assert_eq!(state["status"], "created");
    assert_eq!(state["id"], b.id());
    assert_eq!(state["bundle"], b.path());
    assert!(state["ociVersion"].as_str().unwrap().starts_with("1."));
    let pid = state["pid"].as_i64().unwrap();
    assert!(fs::exists(format!("/proc/{pid}")).unwrap());

    w.runtime(["start", b.id()]).ok();
    assert_eq!(status(&w, b.id()), "running");
    w.runtime(["start", b.id()]).refused();
    w.runtime(["delete", b.id()]).refused();
    assert_eq!(status(&w, b.id()), "running");

    w.runtime(["kill", b.id(), "KILL"]).ok();
    wait_for(&w, b.id(), "stopped");
    w.runtime(["kill", b.id(), "TERM"]).refused();
    w.runtime(["start", b.id()]).refused();
    w.runtime(["delete", b.id()]).ok();
    w.runtime(["state", b.id()]).refused();
    w.runtime(["delete", b.id()]).refused();
    let b = b.with("/process/args", json!(["echo", "the id is free again"]));
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("the id is free again");
}

#[test]
fn delete_right_after_start_waits_for_a_short_program() {
    let w = World::new();
    let b = w.bundle("b", &["sleep", "0.02"]);
    create(&w, &b);
    w.runtime(["start", b.id()]).ok();
    w.runtime(["delete", b.id()]).ok();
    w.runtime(["state", b.id()]).refused();
}

#[test]
fn created_container_waits_for_start() {
    let w = World::new();
    let b = w.bundle("b", &["touch", "/started"]);
    create(&w, &b);
    assert!(!b.rootfs("started").exists());
    w.runtime(["start", b.id()]).ok();
    wait_for(&w, b.id(), "stopped");
    assert!(b.rootfs("started").exists());
    w.runtime(["delete", b.id()]).ok();
}

#[test]
fn create_refuses_an_id_in_use() {
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    create(&w, &b);
    w.runtime(["create", "-b", b.path(), b.id()]).refused().err_has(b.id());
    assert_eq!(status(&w, b.id()), "created");
    w.runtime(["delete", "--force", b.id()]).ok();
}

#[test]
fn config_changed_after_create_has_no_effect() {
    let w = World::new();
    let b = w.bundle("b", &["touch", "/first"]);
    create(&w, &b);
    let b = b.with("/process/args", json!(["touch", "/second"]));
    w.runtime(["start", b.id()]).ok();
    wait_for(&w, b.id(), "stopped");
    assert!(b.rootfs("first").exists() && !b.rootfs("second").exists());
    w.runtime(["delete", b.id()]).ok();
}

#[test]
fn created_container_can_be_killed_and_deleted() {
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    create(&w, &b);
    w.runtime(["kill", b.id(), "SIGKILL"]).ok();
    wait_for(&w, b.id(), "stopped");
    w.runtime(["delete", b.id()]).ok();
}

#[test]
fn delete_leaves_a_created_container_alone_unless_forced() {
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    create(&w, &b);
    let words = format!("cannot delete container {} that is not stopped: created", b.id());
    w.runtime(["delete", b.id()]).code(1).err_has(&words);
    assert_eq!(status(&w, b.id()), "created");
    w.runtime(["delete", "--force", b.id()]).ok();
}

#[test]
fn created_container_can_be_asked_to_end() {
    let w = World::new();
    for signal in ["TERM", "INT", "HUP"] {
        let b = w.bundle(signal, &["sleep", "1000"]);
        create(&w, &b);
        w.runtime(["kill", b.id(), signal]).ok();
        wait_for(&w, b.id(), "stopped");
        w.runtime(["delete", b.id()]).ok();
    }
}

#[test]
fn signals_of_the_program_have_their_default_actions() {
    let w = World::new();
    let b = w.bundle("b", &["grep", "-E", "Sig(Blk|Ign|Cgt)", "/proc/self/status"]);
    let run = w.runtime_cmd(["run", "-b", b.path(), b.id()]);
    let done = run.under(["sh", "-c", "trap '' HUP USR1; exec \"$@\"", "sh"]).run().ok();
    for line in done.lines() {
        let mask = u64::from_str_radix(line.split('\t').nth(1).unwrap(), 16).unwrap();
        // 32 and 33 are the C library's own.
        assert_eq!(mask & !(0b11 << 31), 0, "{line}");
    }
}

#[test]
fn delete_force_ends_a_running_container_and_forgives_an_unknown_one() {
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    create(&w, &b);
    w.runtime(["start", b.id()]).ok();
    w.runtime(["delete", "-f", b.id()]).ok();
    w.runtime(["delete", "--force", b.id()]).ok();
}

#[test]
fn kill_takes_names_and_numbers_of_signals() {
    let w = World::new();
    let script = "trap 'echo usr1 >>/got' USR1; trap 'echo hup >>/got' HUP; trap 'echo term >>/got; exit' TERM; \
        touch /ready; while :; do sleep 0.05; done";
    let b = w.bundle("b", &["sh", "-c", script]);
    create(&w, &b);
    w.runtime(["start", b.id()]).ok();
    e2e::until("the traps are set", || b.rootfs("ready").exists());
    for signal in ["USR1", "1", "SIGTERM"] {
        w.runtime(["kill", b.id(), signal]).ok();
        let lines = || fs::read_to_string(b.rootfs("got")).unwrap_or_default().lines().count();
        let before = ["USR1", "1", "SIGTERM"].iter().position(|s| *s == signal).unwrap();
        e2e::until("the signal has come", || lines() == before + 1);
    }
    assert_eq!(fs::read_to_string(b.rootfs("got")).unwrap(), "usr1\nhup\nterm\n");
    wait_for(&w, b.id(), "stopped");
    w.runtime(["delete", b.id()]).ok();
}

#[test]
fn pid_file_names_the_container_process() {
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let file = w.path("pid");
    let pid_file = ["create", "-b", b.path(), "--pid-file", file.to_str().unwrap(), b.id()];
    let quiet = ["sh", "-c", "exec \"$@\" >/dev/null 2>&1 </dev/null", "sh"];
    w.runtime_cmd(pid_file).under(quiet).run().ok();
    let pid = fs::read_to_string(&file).unwrap();
    let state = w.runtime(["state", b.id()]).ok().json();
    assert_eq!(pid.trim(), state["pid"].to_string());
    w.runtime(["delete", "-f", b.id()]).ok();
}

#[test]
fn pid_file_that_can_not_be_written_leaves_nothing() {
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let dir = w.path("taken");
    fs::create_dir(&dir).unwrap();
    let args = ["create", "-b", b.path(), "--pid-file", dir.to_str().unwrap(), b.id()];
    w.runtime(args).refused().err_has("is a directory");
    assert!(!w.path(".taken").exists());
    w.runtime(["state", b.id()]).refused();
}

#[test]
fn run_detached_comes_back_and_leaves_it_running() {
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let quiet = ["sh", "-c", "exec \"$@\" >/dev/null 2>&1 </dev/null", "sh"];
    w.runtime_cmd(["run", "-d", "-b", b.path(), b.id()]).under(quiet).run().ok();
    assert_eq!(status(&w, b.id()), "running");
    w.runtime(["delete", "-f", b.id()]).ok();
}

#[test]
fn the_end_of_the_first_process_ends_all() {
    let w = World::new();
    let b = w.bundle("b", &["sh", "-c", "sleep 1000 & exit 4"]);
    w.runtime(["run", "-b", b.path(), b.id()]).code(4);
}
