//! create, start, stop, kill, rm, ps, wait, inspect.

use std::fs;
use std::time::Instant;

use e2e::{World, needs};

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

/// A field of `inspect`.
#[track_caller]
pub fn field(w: &World, name: &str, pointer: &str) -> serde_json::Value {
    let all = w.dhow(["inspect", name]).ok().json();
    all[0].pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {all}")).clone()
}

#[test]
fn created_started_ended_started_again() {
    let w = world();
    let name = w.id("c");
    let id = w
        .dhow(["create", "--name", &name, "busybox", "sh", "-c", "echo run >>/count; exit 3"])
        .ok()
        .out();
    assert_eq!(id.len(), 64);
    assert_eq!(field(&w, &name, "/State/Status"), "created");
    for _ in 0..2 {
        w.dhow(["start", &name]).ok().out_is(&name);
        w.dhow(["wait", &name]).ok().out_is("3");
    }
    assert_eq!(field(&w, &name, "/State/Status"), "exited");
    assert_eq!(field(&w, &name, "/State/ExitCode"), 3);
    // The second start found what the first had written.
    let count = w.root().join("containers").join(&id).join("upper/count");
    assert_eq!(fs::read_to_string(count).unwrap(), "run\nrun\n");
    w.dhow(["rm", &name]).ok().out_is(&name);
    w.dhow(["inspect", &name]).code(1);
}

#[test]
fn start_attached_gives_output_and_exit_code() {
    let w = world();
    let name = w.id("c");
    w.dhow(["create", "--name", &name, "busybox", "sh", "-c", "echo here; exit 4"]).ok();
    w.dhow(["start", "-a", &name]).code(4).out_is("here");
    w.dhow(["rm", &name]).ok();
}

#[test]
fn ps_shows_what_runs_and_with_a_all() {
    let w = world();
    let (up, down) = (w.id("up"), w.id("down"));
    let id = w.dhow(["run", "-d", "--name", &up, "busybox", "sleep", "1000"]).ok().out();
    w.dhow(["run", "--name", &down, "busybox", "sh", "-c", "exit 2"]).code(2);
    let table = w.dhow(["ps"]).ok();
    let lines = table.lines();
    assert_eq!(lines.len(), 2, "{table}");
    let heads = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"];
    assert_eq!(
        lines[0].split("   ").map(str::trim).filter(|s| !s.is_empty()).collect::<Vec<_>>(),
        heads
    );
    assert!(
        lines[1].starts_with(&id[..12])
            && lines[1].contains("\"sleep 1000\"")
            && lines[1].ends_with(&up),
        "{table}"
    );
    assert!(w.dhow(["ps", "-a"]).ok().out().contains("Exited (2)"));
    w.dhow(["ps", "-q"]).ok().out_is(&id[..12]);
    w.dhow(["ps", "-q", "--no-trunc"]).ok().out_is(&id);
    assert_eq!(w.dhow(["ps", "-aq"]).ok().lines().len(), 2);
    w.dhow(["rm", &up]).code(1).err_has(&up);
    w.dhow(["rm", "-f", &up, &down]).ok();
    w.dhow(["ps", "-aq"]).ok().out_is("");
}

#[test]
fn stop_sends_the_stop_signal_then_kills() {
    let w = world();
    let (good, deaf) = (w.id("good"), w.id("deaf"));
    let script = "trap 'exit 9' TERM; touch /ready; while :; do sleep 0.05; done";
    w.dhow(["run", "-d", "--name", &good, "busybox", "sh", "-c", script]).ok();
    let ready = || w.dhow(["exec", &good, "ls", "/ready"]).code == 0;
    e2e::until("the trap is set", ready);
    w.dhow(["stop", &good]).ok().out_is(&good);
    assert_eq!(field(&w, &good, "/State/ExitCode"), 9);
    // Without a handler the first process of a container doesn't hear SIGTERM.
    w.dhow(["run", "-d", "--name", &deaf, "busybox", "sleep", "1000"]).ok();
    let before = Instant::now();
    w.dhow(["stop", "-t", "1", &deaf]).ok();
    assert!(before.elapsed().as_millis() >= 1000);
    assert_eq!(field(&w, &deaf, "/State/ExitCode"), 137);
    w.dhow(["rm", &good, &deaf]).ok();
}

#[test]
fn ids_are_found_by_their_beginning_and_names_whole() {
    let w = world();
    let name = w.id("c");
    let id = w.dhow(["run", "-d", "--name", &name, "busybox", "sleep", "1000"]).ok().out();
    assert_eq!(field(&w, &id[..8], "/Id"), id);
    assert_eq!(field(&w, &name, "/Id"), id);
    w.dhow(["inspect", &name[..name.len() - 1]]).code(1);
    w.dhow(["rm", "-f", &id[..12]]).ok();
}

#[test]
fn rm_flag_removes_after_the_end_detached_too() {
    let w = world();
    let name = w.id("c");
    w.dhow(["run", "-d", "--rm", "--name", &name, "busybox", "true"]).ok();
    e2e::until("it is removed", || w.dhow(["ps", "-aq"]).ok().out().is_empty());
    let dir = w.root().join("containers");
    e2e::until("its files are gone", || fs::read_dir(&dir).unwrap().count() == 0);
}

#[test]
fn inspect_tells_the_state_of_a_running_container() {
    let w = world();
    let name = w.id("c");
    w.dhow(["run", "-d", "--name", &name, "-e", "A=1", "-w", "/tmp", "busybox", "sleep", "1000"])
        .ok();
    let pid = field(&w, &name, "/State/Pid").as_i64().unwrap();
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert_eq!(line, "sleep\u{0}1000\u{0}");
    assert_eq!(field(&w, &name, "/State/Running"), true);
    assert_eq!(field(&w, &name, "/Config/WorkingDir"), "/tmp");
    assert_eq!(field(&w, &name, "/Config/Cmd"), serde_json::json!(["sleep", "1000"]));
    assert!(field(&w, &name, "/Image").as_str().unwrap().starts_with("sha256:"));
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn many_containers_side_by_side() {
    needs!(Speed);
    let w = world();
    std::thread::scope(|s| {
        for i in 0..8 {
            let w = &w;
            s.spawn(move || {
                let line = format!("echo number {i}; exit {i}");
                w.dhow(["run", "--rm", "busybox", "sh", "-c", &line])
                    .code(i)
                    .out_is(&format!("number {i}"));
            });
        }
    });
    w.dhow(["ps", "-aq"]).ok().out_is("");
}

#[test]
fn version_and_info() {
    let w = world();
    w.dhow(["version"]).ok().out_has("Version");
    w.dhow(["info"]).ok().out_has(w.root().to_str().unwrap());
    w.dhow(["--version"]).ok();
    let info = w.dhow_cmd(["info"]).env("HTTPS_PROXY", "http://me:hunter2@proxy:1").run().ok();
    info.out_has("HTTPS Proxy: http://xxxxx:xxxxx@proxy:1");
}
