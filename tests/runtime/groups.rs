//! What becomes of the processes in a container's groups: paused, killed, shown, joined.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use e2e::bundle::Bundle;
use e2e::{World, needs};
use serde_json::{Value, json};

use super::lifecycle::{create, status, wait_for};

/// Whether a process is there and no zombie.
fn alive(pid: i64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

fn pids(w: &World, id: &str) -> Vec<i64> {
    let list = w.runtime(["ps", "--format", "json", id]).ok().json();
    list.as_array().into_iter().flatten().map(|pid| pid.as_i64().unwrap()).collect()
}

/// A running container in the host's pid namespace, with three more processes in it.
fn without_pid_namespace(w: &World) -> (Bundle, Vec<i64>) {
    let mut b = w.bundle("b", &["sleep", "1000"]);
    b.config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "pid");
    b.write();
    create(w, &b);
    w.runtime(["start", b.id()]).ok();
    let quiet = ["sh", "-c", "exec \"$@\" >/dev/null 2>&1 </dev/null", "sh"];
    for _ in 0..3 {
        w.runtime_cmd(["exec", "-d", b.id(), "sleep", "1000"]).under(quiet).run().ok();
    }
    let all = pids(w, b.id());
    assert_eq!(all.len(), 4);
    (b, all)
}

fn kill_first(w: &World, b: &Bundle) {
    let first = w.runtime(["state", b.id()]).ok().json()["pid"].as_i64().unwrap();
    w.cmd("kill").arg("-9").arg(first.to_string()).run().ok();
    wait_for(w, b.id(), "stopped");
}

#[test]
fn kill_ends_all_processes_of_a_container_without_a_pid_namespace() {
    needs!(Root);
    let w = World::new();
    let (b, all) = without_pid_namespace(&w);
    w.runtime(["kill", b.id(), "KILL"]).ok();
    e2e::until("all have ended", || !all.iter().any(|pid| alive(*pid)));
    wait_for(&w, b.id(), "stopped");
    e2e::until("it is over", || !w.runtime(["kill", b.id(), "KILL"]).err().is_empty());
    w.runtime(["kill", b.id(), "KILL"]).refused().err_has("container not running");
    w.runtime(["kill", "--all", b.id(), "KILL"]).ok();
    w.runtime(["delete", b.id()]).ok();
}

#[test]
fn kill_ends_what_outlived_the_first_process() {
    needs!(Root);
    let w = World::new();
    let (b, all) = without_pid_namespace(&w);
    kill_first(&w, &b);
    w.runtime(["kill", b.id(), "TERM"]).refused().err_has("container not running");
    assert_eq!(all.iter().filter(|pid| alive(**pid)).count(), 3);
    w.runtime(["kill", b.id(), "KILL"]).ok();
    e2e::until("all have ended", || !all.iter().any(|pid| alive(*pid)));
    w.runtime(["delete", b.id()]).ok();
}

#[test]
fn delete_ends_what_outlived_the_first_process() {
    needs!(Root);
    for force in [&["delete"][..], &["delete", "--force"]] {
        let w = World::new();
        let (b, all) = without_pid_namespace(&w);
        kill_first(&w, &b);
        w.runtime(force.iter().chain(&[b.id()])).ok();
        assert!(!all.iter().any(|pid| alive(*pid)));
    }
}

#[test]
fn a_created_container_that_is_paused_is_paused_and_not_started() {
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    create(&w, &b);
    w.runtime(["pause", b.id()]).ok();
    assert_eq!(status(&w, b.id()), "paused");
    w.runtime(["start", b.id()]).refused().err_has("paused state");
    w.runtime(["delete", b.id()]).refused().err_has("not stopped: paused");
    w.runtime(["resume", b.id()]).ok();
    assert_eq!(status(&w, b.id()), "created");
    w.runtime(["start", b.id()]).ok();
    assert_eq!(status(&w, b.id()), "running");
    w.runtime(["pause", b.id()]).ok();
    w.runtime(["kill", b.id(), "KILL"]).ok();
    wait_for(&w, b.id(), "stopped");
    w.runtime(["pause", b.id()]).refused().err_has("container not running");
    w.runtime(["resume", b.id()]).refused().err_has("container not paused");
    w.runtime(["delete", b.id()]).ok();
}

#[test]
fn a_process_that_joins_a_paused_container_runs_when_it_is_resumed() {
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    create(&w, &b);
    w.runtime(["start", b.id()]).ok();
    w.runtime(["pause", b.id()]).ok();
    let mut late = w.runtime_cmd(["exec", "--ignore-paused", b.id(), "echo", "late"]).start();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(late.try_wait().unwrap().is_none(), "it ran in a paused container");
    w.runtime(["resume", b.id()]).ok();
    let done = late.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(done.stdout).unwrap(), "late\n");
    w.runtime(["delete", "-f", b.id()]).ok();
}

#[test]
fn ps_shows_groups_below_and_nothing_of_a_stopped_container() {
    needs!(FullKernel);
    let w = World::new();
    let b = w.bundle("b", &["sh", "-c", "sleep 1002 & sleep 1003; true"]);
    create(&w, &b);
    w.runtime(["start", b.id()]).ok();
    let said = || w.runtime(["ps", b.id()]).ok().out();
    e2e::until("both sleep", || said().contains("sleep 1002") && said().contains("sleep 1003"));
    // Numbers begin anew after the highest.
    let mut all = pids(&w, b.id());
    all.sort_unstable();
    assert_eq!(all.len(), 3, "{all:?}");
    // Into a group below, in the hierarchies that are asked.
    let tops =
        ["freezer", "pids", "devices", "unified", "."].map(|h| format!("/sys/fs/cgroup/{h}"));
    let below =
        tops.iter().map(|top| format!("{top}/{}", b.id())).filter(|d| Path::new(d).exists());
    for dir in below {
        fs::create_dir(format!("{dir}/below")).unwrap();
        fs::write(format!("{dir}/below/cgroup.procs"), all[2].to_string()).unwrap();
    }
    let mut again = pids(&w, b.id());
    again.sort_unstable();
    assert_eq!(again, all);
    // Without -e, ps leaves out what is not of its own terminal.
    let table = w.runtime(["ps", b.id(), "-e", "-o", "pid,cmd"]).ok();
    assert!(table.lines().len() == 4 && table.out().contains("sleep 1003"), "{table}");
    w.runtime(["ps", b.id(), "-o", "cmd"])
        .refused()
        .err_has("couldn't find PID field in ps output");
    w.runtime(["ps", "--format", "xml", b.id()]).refused().err_has("invalid format option");
    w.runtime(["kill", b.id(), "KILL"]).ok();
    wait_for(&w, b.id(), "stopped");
    e2e::until("all have ended", || pids(&w, b.id()).is_empty());
    assert_eq!(w.runtime(["ps", "-f", "json", b.id()]).ok().json(), Value::Null);
    assert_eq!(w.runtime(["ps", b.id()]).ok().lines().len(), 1);
    w.runtime(["delete", b.id()]).ok();
}

#[test]
fn containerds_path_is_taken_literally_and_its_groups_go() {
    needs!(Cgroupfs);
    let w = World::new();
    let path = format!("system.slice:cri:{}", w.id("x"));
    let b = w.bundle("b", &["cat", "/proc/self/cgroup"]);
    let b = b.with("/linux/cgroupsPath", path.clone().into());
    let mut b = b.with("/linux/resources/pids", json!({"limit": 20}));
    b.config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "cgroup");
    b.write();
    let done = w.runtime(["run", "-b", b.path(), b.id()]).ok();
    assert!(done.lines().iter().all(|line| line.ends_with(&path)), "{done}");
    let left = e2e::leaks::cgroups();
    assert!(left.iter().all(|c| !c.to_string_lossy().contains(&path)));
}

#[test]
fn deleting_a_container_spares_another_in_a_group_below() {
    needs!(Cgroupfs, Root);
    let w = World::new();
    let (outer, inner) = (w.bundle("a", &["sleep", "1000"]), w.bundle("b", &["sleep", "1000"]));
    let below = format!("/{}/{}", outer.id(), inner.id());
    let inner = inner.with("/linux/cgroupsPath", below.into());
    for b in [&outer, &inner] {
        create(&w, b);
        w.runtime(["start", b.id()]).ok();
    }
    w.runtime(["kill", outer.id(), "KILL"]).ok();
    wait_for(&w, outer.id(), "stopped");
    w.runtime(["delete", outer.id()]).refused().err_has("busy");
    assert_eq!(status(&w, inner.id()), "running");
    w.runtime(["delete", "-f", inner.id()]).ok();
    w.runtime(["delete", outer.id()]).ok();
    let left = e2e::leaks::cgroups();
    assert!(left.iter().all(|c| !c.to_string_lossy().contains(outer.id())));
}

#[test]
fn a_create_that_fails_after_the_groups_were_made_leaves_none() {
    needs!(Cgroupfs, Root);
    let w = World::new();
    let b = w.bundle("b", &["true"]);
    let deep = format!("/{}/deep/er", b.id());
    let b = b.with("/linux/cgroupsPath", deep.into());
    let gone = || {
        let left = e2e::leaks::cgroups();
        assert!(left.iter().all(|c| !c.to_string_lossy().contains(b.id())));
    };
    let run = |b: &Bundle| w.runtime(["run", "-b", b.path(), b.id()]).refused();
    let no_program = w.bundle("c", &["/absent"]);
    let no_program = no_program.with("/linux/cgroupsPath", format!("/{}/deep", b.id()).into());
    run(&no_program);
    gone();
    // Found out by its execution.
    fs::write(no_program.rootfs("text"), "no program").unwrap();
    fs::set_permissions(no_program.rootfs("text"), fs::Permissions::from_mode(0o755)).unwrap();
    let no_program = no_program.with("/process/args", json!(["/text"]));
    run(&no_program).err_has("exec format error");
    gone();
    let hook = json!([{"path": "/bin/false"}]);
    let no_program = no_program.with("/process/args", json!(["true"]));
    run(&no_program.with("/hooks/createRuntime", hook));
    gone();
}

#[test]
fn exec_joins_groups_below_in_the_hierarchies_that_are_named() {
    let w = World::new();
    let top = Path::new("/sys/fs/cgroup");
    if !top.join("memory").exists() {
        return;
    }
    let mut b = w.bundle("b", &["sleep", "1000"]);
    b.config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "cgroup");
    b.write();
    create(&w, &b);
    w.runtime(["start", b.id()]).ok();
    let id = b.id();
    let exec = |asked: &[&str]| {
        let mut args = vec!["exec"];
        for group in asked {
            args.extend(["--cgroup", group]);
        }
        args.extend([id, "cat", "/proc/self/cgroup"]);
        w.runtime(args)
    };
    exec(&[".."]).code(255).err_has("bad sub cgroup path");
    for absent in ["absent", "cpu:absent"] {
        exec(&[absent]).code(255).err_has(" adding pid ").err_has("no such file or directory");
    }
    exec(&["whaaat:/"]).code(255).err_has("unknown controller ");
    for whole in [&[][..], &["/"]] {
        assert!(exec(whole).ok().lines().iter().all(|line| line.ends_with(&format!(":/{id}"))));
    }
    for (controller, name) in [("memory", "m"), ("cpu", "c"), ("cpuacct", "c")] {
        fs::create_dir_all(top.join(controller).join(id).join(name)).unwrap();
    }
    let done = exec(&["memory:m", "cpu,cpuacct:c"]).ok();
    let ends = |end: &str| done.lines().iter().any(|line| line.ends_with(end));
    assert!(ends(&format!(":memory:/{id}/m")) && ends(&format!(":/{id}/c")), "{done}");
    w.runtime(["delete", "-f", id]).ok();
}

/// v1 controllers are in use elsewhere; what is at the usual place is v2.
#[test]
fn bug_with_v1_elsewhere_v2_at_the_usual_place_was_passed_over() {
    needs!(Root, Machine);
    let w = World::new();
    let over =
        ["unshare", "-m", "sh", "-ec", "mount -t cgroup2 none /sys/fs/cgroup; exec \"$@\"", "sh"];
    let b = w.bundle("b", &["true"]);
    w.runtime_cmd(["run", "-b", b.path(), b.id()]).under(over).run().ok();
}
