//! exec: another process in a running container.

use std::fs;

use e2e::bundle::Bundle;
use e2e::{World, needs, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::lifecycle::create;

fn running(w: &World) -> Bundle {
    let b = w.bundle("b", &["sleep", "1000"]);
    create(w, &b);
    w.runtime(["start", b.id()]).ok();
    b
}

#[test]
fn exec_is_inside_and_passes_its_exit_code_on() {
    let w = World::new();
    let b = running(&w);
    let done =
        w.runtime(["exec", b.id(), "sh", "-c", "hostname; echo err >&2; cat /proc/1/comm; exit 9"]);
    assert_eq!(done.code(9).out_is("box\nsleep").err(), "err");
    w.runtime(["delete", "-f", b.id()]).ok();
}

#[test]
fn exec_shares_every_namespace_and_cgroup_with_the_first_process() {
    let w = World::new();
    let b = running(&w);
    let look = "for n in pid net ipc uts mnt cgroup; do [ $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) ] || echo differs $n; done; \
        cmp /proc/1/cgroup /proc/self/cgroup && echo same";
    w.runtime(["exec", b.id(), "sh", "-c", look]).ok().out_is("same");
    w.runtime(["delete", "-f", b.id()]).ok();
}

#[test]
fn exec_takes_user_cwd_and_environment() {
    needs!(ManyIds);
    let w = World::new();
    let b = running(&w);
    let id = b.id();
    let look = "id -u; id -g; pwd; echo $SPICE";
    w.runtime([
        "exec",
        "--user",
        "1000:2000",
        "--cwd",
        "/tmp",
        "--env",
        "SPICE=cloves",
        id,
        "sh",
        "-c",
        look,
    ])
    .ok()
    .out_is("1000\n2000\n/tmp\ncloves");
    w.runtime(["delete", "-f", id]).ok();
}

#[test]
fn exec_adds_a_capability_when_asked() {
    let w = World::new();
    let b = running(&w);
    let caps = |extra: &[&str]| {
        let grep = [b.id(), "grep", "CapEff", "/proc/self/status"];
        w.runtime(["exec"].iter().chain(extra).chain(&grep)).ok().out()
    };
    assert_eq!(caps(&[]), "CapEff:\t0000000020000420");
    assert_eq!(caps(&["--cap", "CAP_NET_RAW"]), "CapEff:\t0000000020002420");
    w.runtime(["delete", "-f", b.id()]).ok();
}

#[test]
fn exec_of_a_process_file() {
    needs!(ManyIds);
    let w = World::new();
    let b = running(&w);
    let file = w.path("process.json");
    let process = serde_json::json!({
        "user": {"uid": 5, "gid": 6}, "args": ["sh", "-c", "id -u; id -g; pwd"], "cwd": "/etc",
        "env": ["PATH=/bin"],
    });
    fs::write(&file, process.to_string()).unwrap();
    w.runtime(["exec", "--process", file.to_str().unwrap(), b.id()]).ok().out_is("5\n6\n/etc");
    w.runtime(["delete", "-f", b.id()]).ok();
}

#[test]
fn exec_detached_writes_its_pid() {
    let w = World::new();
    let b = running(&w);
    let file = w.path("exec.pid");
    let quiet = ["sh", "-c", "exec \"$@\" >/dev/null 2>&1 </dev/null", "sh"];
    let args = ["exec", "-d", "--pid-file", file.to_str().unwrap(), b.id(), "sleep", "999"];
    w.runtime_cmd(args).under(quiet).run().ok();
    let pid = fs::read_to_string(&file).unwrap();
    let line = fs::read_to_string(format!("/proc/{}/cmdline", pid.trim())).unwrap();
    assert_eq!(line, "sleep\u{0}999\u{0}");
    w.runtime(["delete", "-f", b.id()]).ok();
}

#[test]
fn exec_reads_stdin() {
    let w = World::new();
    let b = running(&w);
    w.runtime_cmd(["exec", b.id(), "cat"]).stdin("through\n").run().ok().out_is("through");
    w.runtime(["delete", "-f", b.id()]).ok();
}

#[test]
fn exec_of_an_unknown_command_is_refused_and_leaves_the_container_alone() {
    let w = World::new();
    let b = running(&w);
    w.runtime(["exec", b.id(), "no-such-command"]).refused().err_has("no-such-command");
    w.runtime(["exec", b.id(), "true"]).ok();
    w.runtime(["delete", "-f", b.id()]).ok();
}

#[test]
fn exec_into_what_does_not_run_is_refused() {
    let w = World::new();
    w.runtime(["exec", &w.id("nobody"), "true"]).refused();
    let b = running(&w);
    w.runtime(["kill", b.id(), "KILL"]).ok();
    super::lifecycle::wait_for(&w, b.id(), "stopped");
    w.runtime(["exec", b.id(), "true"]).refused();
    w.runtime(["delete", b.id()]).ok();
}

#[test]
fn exec_takes_groups_privileges_and_the_containers_umask() {
    needs!(ManyIds);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]).with("/process/user/umask", 0o027.into());
    create(&w, &b);
    w.runtime(["start", b.id()]).ok();
    let id = b.id();
    w.runtime(["exec", "-g", "7", "--additional-gids", "9", id, "id", "-G"]).ok().out_is("0 7 9");
    let look = ["sh", "-c", "umask; grep NoNewPrivs /proc/self/status"];
    let exec = |flags: &[&str]| {
        w.runtime(["exec"].iter().chain(flags).chain(&[id]).chain(&look)).ok().out()
    };
    let own = exec(&[]);
    assert!(own.starts_with("0027\n"), "{own}");
    assert_eq!(exec(&["--no-new-privs"]), "0027\nNoNewPrivs:\t1");
    assert_eq!(exec(&["--no-new-privs=false"]), "0027\nNoNewPrivs:\t0");
    // What a process file leaves out is the container's.
    let file = w.path("p.json");
    let args = ["sh", "-c", "umask"];
    let p = serde_json::json!({"args": args, "cwd": "/", "env": ["PATH=/bin"]});
    fs::write(&file, p.to_string()).unwrap();
    w.runtime(["exec", "--process", file.to_str().unwrap(), id]).ok().out_is("0027");
    w.runtime(["exec", "--user", "root", id, "true"]).refused().err_has("--user");
    w.runtime(["exec", "--env", "NOVALUE", id, "true"]).refused().err_has("missing '='");
    w.runtime(["exec", "--cwd", "/none", id, "true"]).code(255).err_has("/none: no such file");
    w.runtime(["delete", "-f", id]).ok();
}

#[test]
fn exec_ends_as_its_process_does() {
    let w = World::new();
    let b = running(&w);
    w.runtime(["exec", b.id(), "sh", "-c", "kill -KILL $$"]).code(137);
    w.runtime(["exec", b.id(), "sh", "-c", "exit 125"]).code(125);
    w.runtime(["exec", b.id(), "no-such-command"]).code(255);
    w.runtime(["delete", "-f", b.id()]).ok();
}

#[test]
fn exec_keeps_preserved_descriptors_and_no_others() {
    let w = World::new();
    let b = running(&w);
    let file = w.path("kept");
    fs::write(&file, "kept\n").unwrap();
    let open = format!("exec 3<{0} 4<{0}; exec \"$@\"", file.display());
    let look = ["sh", "-c", "cat <&3; ls /proc/self/fd | wc -l"];
    let args = ["exec", "--preserve-fds", "1", b.id()];
    let exec = w.runtime_cmd(args.iter().chain(&look));
    // 0 to 2, 3, and the directory that ls reads.
    exec.under(["sh", "-c", &open, "sh"]).run().ok().out_is("kept\n5");
    w.runtime(["delete", "-f", b.id()]).ok();
}

#[test]
fn exec_into_a_group_below_the_containers() {
    let w = World::new();
    let b = running(&w);
    let group = format!("/sys/fs/cgroup/pids/{}/below", b.id());
    // The guest's cases are v2's.
    if fs::create_dir(&group).is_ok() {
        let look = ["grep", "pids", "/proc/self/cgroup"];
        let exec = ["exec", "--cgroup", "pids:below", b.id()];
        w.runtime(exec.iter().chain(&look)).ok().out_has("/below");
        let wrong = w.runtime(["exec", "--cgroup", "pids:../x", b.id(), "true"]).refused();
        wrong.err_has("bad sub cgroup path");
        e2e::until("the group is empty", || fs::remove_dir(&group).is_ok());
    }
    w.runtime(["delete", "-f", b.id()]).ok();
}

/// A first process gives up its namespaces some time before it has ended: here one that was executed
/// beside it, and that nobody waits for, holds it in between.
#[test]
fn a_container_on_its_way_out_is_a_stopped_one() {
    let w = World::new();
    let b = running(&w);
    let script = "touch /beside; sleep 1000";
    let mut beside = w.runtime_cmd(["exec", b.id(), "sh", "-c", script]).start();
    until("it is beside", || b.rootfs("beside").exists());
    let caller = Pid::from_raw(beside.id() as i32);
    kill(caller, Signal::SIGSTOP).unwrap();
    let init = w.runtime(["state", b.id()]).ok().json()["pid"].as_i64().unwrap();
    kill(Pid::from_raw(init as i32), Signal::SIGKILL).unwrap();
    until("it has no namespaces", || fs::read_link(format!("/proc/{init}/ns/mnt")).is_err());
    for flags in [&[][..], &["--detach"], &["--cap", "CAP_SYS_PTRACE"]] {
        let exec = [&["exec"], flags, &[b.id(), "true"]].concat();
        w.runtime(exec).refused().err_has("cannot exec in a stopped container");
    }
    kill(caller, Signal::SIGCONT).unwrap();
    assert_eq!(beside.wait().unwrap().code(), Some(137));
    w.runtime(["delete", "-f", b.id()]).ok();
}
