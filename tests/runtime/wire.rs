//! The calls that engines make, as `WIRE=FILE conformance/engines/…` writes them down, each in the
//! order that the engine makes them.

use std::fs;

use e2e::bundle::Bundle;
use e2e::{Cmd, World};

const PROCESS: &str = r#"{"args":["sh","-c","echo in >/tmp/seen"],"cwd":"/","env":["PATH=/bin"],
    "user":{"uid":0,"gid":0}}"#;

/// The container, or the process, keeps its output: it is none of the command's.
const QUIET: [&str; 4] = ["sh", "-c", "exec \"$@\" >/dev/null 2>&1 </dev/null", "sh"];

fn sleeper(w: &World) -> Bundle {
    // As process 1 it ends by SIGTERM only with a handler.
    w.bundle("b", &["sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.05; done"])
}

fn seen(b: &Bundle) -> bool {
    b.rootfs("tmp/seen").exists()
}

#[test]
fn calls_of_containerds_shim() {
    let w = World::new();
    let b = sleeper(&w);
    let at = |name: &str| w.path(name).display().to_string();
    let (log, id) = (at("log.json"), b.id());
    let call = |args: &[&str]| -> Cmd {
        w.runtime_cmd(["--log", &log, "--log-format", "json"]).args(args)
    };
    let quick = |args: &[&str]| call(args).run();
    let pid = at("init.pid");
    call(&["create", "--bundle", b.path(), "--pid-file", &pid, id]).under(QUIET).run().ok();
    quick(&["start", id]).ok();
    fs::write(w.path("process"), PROCESS).unwrap();
    let (process, exec) = (at("process"), at("exec.pid"));
    let join = ["exec", "--process", &process, "--detach", "--pid-file", &exec, id];
    call(&join).under(QUIET).run().ok();
    e2e::until("the process has run", || seen(&b));
    let pids = quick(&["ps", "--format", "json", id]).ok().json();
    let init: u64 = fs::read_to_string(&pid).unwrap().parse().unwrap();
    assert!(pids.as_array().unwrap().contains(&init.into()), "{pids}");
    let limits = r#"{"memory":{"limit":67108864},"cpu":{"shares":256}}"#;
    call(&["update", "--resources", "-", id]).stdin(limits).run().ok();
    quick(&["pause", id]).ok();
    quick(&["resume", id]).ok();
    quick(&["kill", id, "15"]).ok();
    e2e::until("it has ended", || w.runtime(["state", id]).ok().json()["status"] == "stopped");
    // containerd takes these words for "not found".
    quick(&["kill", id, "15"]).refused().err_has("container not running");
    quick(&["kill", "--all", id, "9"]).ok();
    quick(&["delete", id]).ok();
    quick(&["delete", "--force", id]).ok().out_is("");
}

#[test]
fn calls_of_conmon_and_podman() {
    let w = World::new();
    let b = sleeper(&w);
    let at = |name: &str| w.path(name).display().to_string();
    let (log, pid, id) = (at("oci-log"), at("pidfile"), b.id());
    let quick = |args: &[&str]| w.runtime(args);
    let create = ["create", "--bundle", b.path(), "--pid-file", &pid, id];
    let logged = |args: &[&str]| {
        w.runtime_cmd(["--log-format=json", "--log", &log]).args(args).under(QUIET).run().ok();
    };
    logged(&create);
    quick(&["start", id]).ok();
    fs::write(w.path("process"), PROCESS).unwrap();
    let (process, exec) = (at("process"), at("exec_pid"));
    let join = ["exec", "--pid-file", &exec, "--process", &process, "--detach", id];
    logged(&join);
    e2e::until("the process has run", || seen(&b));
    fs::write(w.path("limits"), r#"{"memory":{"limit":67108864}}"#).unwrap();
    quick(&["update", &format!("--resources={}", at("limits")), id]).ok();
    quick(&["pause", id]).ok();
    quick(&["resume", id]).ok();
    quick(&["kill", id, "9"]).ok();
    quick(&["delete", "--force", id]).ok();
    quick(&["delete", "--force", id]).ok();
    // podman asks so whether a runtime can do checkpoints at all.
    quick(&["checkpoint", "--help"]).ok();
}

#[test]
fn an_error_of_create_is_one_json_line_in_the_log() {
    let w = World::new();
    let b = w.bundle("b", &["no-such-program"]);
    let log = w.path("oci-log");
    let create = w.runtime_cmd(["--log-format=json", "--log"]).arg(&log);
    create.args(["create", "--bundle", b.path(), b.id()]).run().refused();
    let text = fs::read_to_string(&log).unwrap();
    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["level"], "error");
    // podman and docker take these words for exit code 127.
    let message = line["msg"].as_str().unwrap();
    assert!(message.contains("executable file not found in $PATH"), "{message}");
}
