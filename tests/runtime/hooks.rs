//! Hooks: where they run, in which order, and what their failure does.

use std::fs;

use e2e::bundle::Bundle;
use e2e::{World, needs};
use serde_json::{Value, json};

use super::lifecycle::{create, status, wait_for};

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
fn hooks_of_one_kind_run_in_their_order_until_one_fails() {
    let w = World::new();
    let log = w.path("log");
    let say = |word: &str, code: u8| {
        let script = format!("echo {word} >>{}; exit {code}", log.display());
        json!({"path": "/bin/sh", "args": ["sh", "-c", script]})
    };
    let b = w.bundle("b", &["true"]);
    let b = b.with("/hooks/createRuntime", json!([say("one", 0), say("two", 4), say("three", 0)]));
    let done = w.runtime(["run", "-b", b.path(), b.id()]).refused();
    done.err_has("createRuntime hook #1: exit status 4");
    assert_eq!(fs::read_to_string(&log).unwrap(), "one\ntwo\n");
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
        done.err_has(&format!("error running {place} hook #0: exit status 5"))
            .err_has("the anchor is stuck")
            .err_has(&format!("/hooks/{place}/0"));
        w.runtime(["state", b.id()]).refused();
    }
}

#[test]
fn hook_over_its_time_is_ended() {
    let w = World::new();
    let slow = json!([{"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}]);
    let b = w.bundle("b", &["true"]).with("/hooks/createRuntime", slow);
    let done = w.runtime_cmd(["run", "-b", b.path(), b.id()]).limit(30).run().refused();
    done.err_has("createRuntime hook #0").err_has("timeout of 1");
}

/// One that writes to `log`: its name, where it is, its status, pid and its namespaces.
fn witness(name: &str, log: &str) -> Value {
    let look = "state=$(cat); field() { echo \"$state\" | grep -o \"\\\"$1\\\": *[^,}]*\" \
        | sed 's/.*://; s/\"//g; s/ //g'; }";
    let say = "echo $(field status) $(field pid) $PWD $(readlink /proc/self/ns/mnt) \
        $(readlink /proc/self/ns/uts)";
    hook(&format!("{look}; echo {name} $({say}) >>{log}"))
}

#[test]
fn each_hook_is_told_the_status_and_pid_of_its_time_and_runs_in_its_namespaces() {
    needs!(Root);
    let w = World::new();
    let log = w.path("log");
    let log = log.to_str().unwrap();
    let mut b = w.bundle("b", &["sleep", "1000"]);
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        b = b.with(&format!("/hooks/{kind}"), witness(kind, log));
    }
    let b = b.with("/hooks/startContainer", witness("startContainer", "/log"));
    create(&w, &b);
    let pid = w.runtime(["state", b.id()]).ok().json()["pid"].to_string();
    let spaces = |pid: &str| {
        let read = |kind| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        format!("{} {}", read("mnt").display(), read("uts").display())
    };
    let (ours, theirs) = (spaces("self"), spaces(&pid));
    let text = fs::read_to_string(log).unwrap();
    let rootfs = b.rootfs("").display().to_string();
    let rootfs = rootfs.trim_end_matches('/');
    let before = [
        format!("prestart created {pid} {} {ours}", b.path()),
        format!("createRuntime created {pid} {} {ours}", b.path()),
        format!("createContainer created 1 {rootfs} {theirs}"),
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), before);
    w.runtime(["start", b.id()]).ok();
    let inside = fs::read_to_string(b.rootfs("log")).unwrap();
    assert_eq!(inside.trim_end(), format!("startContainer created 1 / {theirs}"));
    let last = |n: usize| fs::read_to_string(log).unwrap().lines().nth(n).map(str::to_owned);
    assert_eq!(last(3).unwrap(), format!("poststart running {pid} {} {ours}", b.path()));
    w.runtime(["delete", "-f", b.id()]).ok();
    assert_eq!(last(4).unwrap(), format!("poststop stopped {} {ours}", b.path()));
}

#[test]
fn hook_without_an_environment_gets_the_runtimes_outside_and_the_programs_inside() {
    let w = World::new();
    let log = w.path("log");
    let b =
        w.bundle("b", &["cat", "/seen"]).with("/process/env", json!(["PATH=/bin", "CARGO=cloves"]));
    let b = b.with("/hooks/createRuntime", hook(&format!("echo $FLAG >{}", log.display())));
    let b = b.with("/hooks/startContainer", hook("echo $CARGO $FLAG $HOME >/seen"));
    let run = w.runtime_cmd(["run", "-b", b.path(), b.id()]).env("FLAG", "red");
    run.run().ok().out_is("cloves /root");
    assert_eq!(fs::read_to_string(&log).unwrap(), "red\n");
}

#[test]
fn failing_start_container_hook_keeps_the_program_from_running() {
    let w = World::new();
    let b = w.bundle("b", &["touch", "/ran"]);
    let b = b.with("/hooks/startContainer", hook("exit 3"));
    create(&w, &b);
    let done = w.runtime(["start", b.id()]).refused();
    done.err_has("error running startContainer hook #0: exit status 3");
    wait_for(&w, b.id(), "stopped");
    assert!(!b.rootfs("ran").exists());
    w.runtime(["delete", b.id()]).ok();
}

#[test]
fn failing_poststart_hook_is_an_error_and_removes_the_container() {
    let w = World::new();
    let after = w.path("after");
    let b = w.bundle("b", &["sleep", "1000"]).with("/hooks/poststart", hook("kill -SYS $$"));
    let b = b.with("/hooks/poststop", hook(&format!("echo a >> {}", after.display())));
    create(&w, &b);
    let done = w.runtime(["start", b.id()]).refused();
    done.err_has("error running poststart hook #0: signal: bad system call");
    w.runtime(["state", b.id()]).refused();
    let run = w.runtime(["run", "-b", b.path(), b.id()]).refused();
    run.err_has("error running poststart hook #0");
    w.runtime(["state", b.id()]).refused();
    assert_eq!(fs::read_to_string(after).unwrap(), "a\na\n");
}

#[test]
fn failing_poststop_hook_is_a_warning_and_the_next_one_runs() {
    let w = World::new();
    let log = w.path("log");
    let touch = format!("touch {}", log.display());
    let two = json!([{"path": "/bin/false"},
        {"path": "/bin/sh", "args": ["sh", "-c", touch]}]);
    let b = w.bundle("b", &["true"]).with("/hooks/poststop", two.clone());
    let done = w.runtime(["run", "-b", b.path(), b.id()]).ok();
    let done = done.err_has("level=warning").err_has("error running poststop hook #0");
    done.err_has("poststop hook failed with exit code 1");
    assert!(log.exists());
    // SPEC: runtime.md, Lifecycle: also after a create that a hook stopped.
    fs::remove_file(&log).unwrap();
    let b = b.with("/hooks/createRuntime", hook("exit 1"));
    w.runtime(["run", "-b", b.path(), b.id()]).refused().err_has("createRuntime hook #0");
    assert!(log.exists());
}

/// No verb waits for a hook that never ends, and `delete --force` ends it.
fn others_do_not_wait(w: &World, b: &Bundle, status_now: &str) {
    assert_eq!(status(w, b.id()), status_now);
    let quick = |args: &[&str]| w.runtime_cmd(args).limit(20).run();
    quick(&["list"]).ok().out_has(b.id());
    quick(&["start", b.id()]).refused();
    quick(&["delete", b.id()]).refused();
    quick(&["pause", "no-such"]).refused();
    quick(&["delete", "--force", b.id()]).ok();
    quick(&["state", b.id()]).refused();
}

/// A hook that never ends by itself; what it leaves in `sign` says that it runs.
fn endless(sign: &str) -> Value {
    hook(&format!("touch {sign}; exec sleep 1000"))
}

#[test]
fn create_hook_without_a_timeout_holds_nobody_up() {
    let w = World::new();
    for kind in ["prestart", "createRuntime", "createContainer"] {
        for verb in ["create", "run"] {
            let sign = w.path(format!("{kind}-{verb}"));
            let b = w.bundle(&format!("{kind}-{verb}"), &["sleep", "1000"]);
            let b = b.with(&format!("/hooks/{kind}"), endless(sign.to_str().unwrap()));
            let make = w.runtime_cmd([verb, "-b", b.path(), b.id()]);
            std::thread::scope(|s| {
                let making = s.spawn(|| make.run());
                e2e::until("the hook runs", || sign.exists());
                others_do_not_wait(&w, &b, "creating");
                assert_ne!(making.join().unwrap().code, 0);
            });
        }
    }
}

#[test]
fn start_hook_without_a_timeout_holds_nobody_up() {
    let w = World::new();
    for kind in ["startContainer", "poststart"] {
        let b = w.bundle(kind, &["sleep", "1000"]);
        // One of them runs inside and ends with the container, the other ends when it is told.
        let home = if kind == "poststart" { w.path("") } else { "/".into() };
        let script = "touch sign; while [ ! -e end ]; do sleep 0.05; done";
        let script = format!("cd {}; {script}", home.display());
        let b = b.with(&format!("/hooks/{kind}"), hook(&script));
        create(&w, &b);
        let start = w.runtime_cmd(["start", b.id()]).limit(30);
        std::thread::scope(|s| {
            let starting = s.spawn(|| start.run());
            e2e::until("the hook runs", || w.path("sign").exists() || b.rootfs("sign").exists());
            others_do_not_wait(&w, &b, "running");
            fs::write(w.path("end"), "").unwrap();
            starting.join().unwrap();
        });
    }
}

#[test]
fn failed_start_leaves_the_groups_that_others_made_beside_its_own() {
    needs!(CgroupV1);
    let w = World::new();
    let parent = w.cgroup_parent();
    let beside = format!("mkdir /sys/fs/cgroup/pids{parent}/other; exit 7");
    let b = w.bundle("b", &["true"]).with("/hooks/createRuntime", hook(&beside));
    let b = b.with("/linux/cgroupsPath", format!("{parent}/own").into());
    w.runtime(["run", "-b", b.path(), b.id()]).refused().err_has("exit status 7");
    let group = |path: &str| std::path::PathBuf::from(format!("/sys/fs/cgroup/{path}"));
    let (other, own) = (group(&format!("pids{parent}/other")), group(&format!("pids{parent}/own")));
    assert!(other.is_dir() && !own.exists());
    assert!(!group(&format!("memory{parent}")).exists());
    fs::remove_dir(other).unwrap();
}

/// Engines pass on an image's annotations: crun's for the hooks' output would be its author's.
#[test]
fn annotations_have_the_runtime_write_to_no_file_of_the_host() {
    let w = World::new();
    let (out, err) = (w.path("hooks out"), w.path("hooks err"));
    let b = w.bundle("b", &["true"]);
    let b = b.with("/hooks/createRuntime", hook("echo anchor; echo aweigh >&2"));
    let b = b.with("/annotations/run.oci.hooks.stdout", json!(out));
    let b = b.with("/annotations/run.oci.hooks.stderr", json!(err));
    w.runtime(["run", "-b", b.path(), b.id()]).ok();
    assert!(!out.exists() && !err.exists());
}

/// Who leaves its children's ends to nobody hands that down to what it executes.
#[test]
fn bug_a_caller_deaf_to_its_children_s_ends_made_a_run_wait_for_ever() {
    let w = World::new();
    let deaf = ["bash", "-c", "trap '' CHLD; exec \"$@\"", "bash"];
    let b = w.bundle("b", &["grep", "SigIgn", "/proc/self/status"]);
    let b = b.with("/hooks/createRuntime", hook("exit 0"));
    let run = w.runtime_cmd(["run", "-b", b.path(), b.id()]).under(deaf).limit(20).run().ok();
    run.out_is("SigIgn:\t0000000000000000");
}
