//! `pause`, `unpause`, `kill`, `update`, `top`, `stats`: docker's words, and what the kernel says of it.

use std::fs;

use e2e::World;

use super::lifecycle::field;

fn sleeper(w: &World, short: &str, flags: &[&str]) -> String {
    let name = w.id(short);
    let args = [&["run", "-d", "--name", &name], flags, &["busybox", "sleep", "1000"]].concat();
    w.dhow(args).ok();
    name
}

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

/// A file of the container's group: the first of these (controller and name on v1, name on v2).
fn limit(w: &World, name: &str, v1: &str, v2: &str) -> String {
    let pid = field(w, name, "/State/Pid").as_i64().unwrap();
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let (controller, file) = v1.split_once('/').unwrap();
    let own = text.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (all, path) = rest.split_once(':')?;
        all.split(',').any(|c| c == controller).then(|| path.to_owned())
    });
    let path = own.map_or_else(
        || {
            let path = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
            format!("/sys/fs/cgroup{path}/{v2}")
        },
        |path| format!("/sys/fs/cgroup/{controller}{path}/{file}"),
    );
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}")).trim().to_owned()
}

#[test]
fn pause_freezes_and_unpause_thaws_in_dockers_words() {
    let w = world();
    let (a, b) = (sleeper(&w, "a", &[]), sleeper(&w, "b", &[]));
    w.dhow(["pause", &a, &b]).ok().out_is(&format!("{a}\n{b}"));
    assert_eq!(field(&w, &a, "/State/Status"), "paused");
    assert_eq!(field(&w, &a, "/State/Paused"), true);
    w.dhow(["ps"]).ok().out_has("(Paused)");
    w.dhow(["pause", &a]).code(1).err_has("is already paused");
    w.dhow(["exec", &a, "true"]).code(1).err_has("unpause the container before exec");
    w.dhow(["top", &a]).ok().out_has("sleep 1000");
    w.dhow(["unpause", &a, &w.id("none")]).code(1).out_is(&a).err_has("No such container");
    w.dhow(["unpause", &a]).code(1).err_has("is not paused");
    w.dhow(["exec", &a, "true"]).ok();
    // Signals reach who is frozen: as docker's, they thaw.
    w.dhow(["kill", &b]).ok().out_is(&b);
    w.dhow(["wait", &b]).ok().out_is("137");
    w.dhow(["pause", &a]).ok();
    w.dhow_cmd(["stop", "-t", "0", &a]).limit(30).run().ok();
    w.dhow(["pause", &a]).code(1).err_has("is not running");
    w.dhow(["rm", &a, &b]).ok();
}

#[test]
fn kill_says_what_docker_says() {
    let w = world();
    let script = "trap 'echo hup; exit 5' HUP; echo up; while :; do sleep 0.05; done";
    let name = w.id("c");
    w.dhow(["run", "-d", "--name", &name, "busybox", "sh", "-c", script]).ok();
    e2e::until("the trap is set", || w.dhow(["logs", &name]).ok().out() == "up");
    w.dhow(["kill", "-s", "SIGHUP", &name]).ok().out_is(&name);
    w.dhow(["wait", &name]).ok().out_is("5");
    w.dhow(["kill", &name]).code(1).err_has("cannot kill container: ").err_has("is not running");
    w.dhow(["kill", "-s", "NOPE", &name]).code(1).err_has("invalid signal: NOPE");
    w.dhow(["kill", &w.id("none")]).code(1).err_has("No such container");
    w.dhow(["rm", &name]).ok();
}

#[test]
fn update_changes_what_runs_and_what_will_run() {
    let w = world();
    let name = sleeper(&w, "c", &[]);
    let change =
        ["update", "-m", "64m", "--memory-swap", "128m", "--pids-limit", "50", "--cpus", "0.5"];
    w.dhow([&change[..], &[&name]].concat()).ok().out_is(&name);
    let memory = || limit(&w, &name, "memory/memory.limit_in_bytes", "memory.max");
    assert_eq!(memory(), (64 << 20).to_string());
    assert_eq!(limit(&w, &name, "pids/pids.max", "pids.max"), "50");
    assert_eq!(field(&w, &name, "/HostConfig/Memory"), 64 << 20);
    assert_eq!(field(&w, &name, "/HostConfig/NanoCpus"), 500_000_000);
    w.dhow(["stop", "-t", "0", &name]).ok();
    w.dhow(["update", "--memory", "32m", &name]).ok();
    w.dhow(["start", &name]).ok();
    assert_eq!(memory(), (32 << 20).to_string());
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn an_update_that_fights_changes_nothing() {
    let w = world();
    let name = sleeper(&w, "c", &["--cpus", "1"]);
    let refused = |args: &[&str], words: &str| {
        w.dhow([&["update"], args, &[&name]].concat()).code(1).err_has(words);
    };
    refused(&[], "you must provide one or more flags when using this command");
    refused(&["-m", "1m"], "Minimum memory limit allowed is 6MB");
    refused(&["-m", "100m"], "update the memoryswap at the same time");
    refused(&["-m", "50m", "--memory-swap", "20m"], "Minimum memoryswap limit should be larger");
    refused(
        &["--cpu-quota", "5000"],
        "CPU Quota cannot be updated as NanoCPUs has already been set",
    );
    refused(&["--cpus", "0.5", "--cpu-quota", "5000"], "cannot both be set");
    refused(&["--cpus", "100000"], "range of CPUs is from 0.01");
    refused(&["--cpuset-cpus", "60000"], "Requested CPUs are not available");
    refused(&["--restart", "nope"], "unknown policy 'nope'");
    refused(&["--restart", "always:3"], "can only be used with 'on-failure'");
    assert_eq!(field(&w, &name, "/HostConfig/Memory"), 0);
    assert_eq!(field(&w, &name, "/HostConfig/CpuQuota"), 0);
    w.dhow(["update", "--cpus", "0.5", &w.id("none"), &name]).code(1).out_is(&name);
    // The runtime refuses a limit below what is in use: then the record has it neither.
    let big = "dd if=/dev/zero of=/dev/shm/x bs=1M count=20; sleep 1000";
    let hungry = w.id("hungry");
    w.dhow(["run", "-d", "--name", &hungry, "busybox", "sh", "-c", big]).ok();
    e2e::until("it has eaten", || w.dhow(["logs", &hungry]).ok().err().contains("records out"));
    let least = ["update", "-m", "6m", "--memory-swap", "6m", &hungry];
    if w.dhow(least).code != 0 {
        assert_eq!(field(&w, &hungry, "/HostConfig/Memory"), 0);
    }
    w.dhow(["rm", "-f", &name, &hungry]).ok();
}

#[test]
fn a_restart_policy_that_comes_later_holds() {
    let w = world();
    let name = w.id("c");
    w.dhow(["run", "-d", "--name", &name, "busybox", "sleep", "1000"]).ok();
    w.dhow(["update", "--restart", "on-failure:2", &name]).ok();
    let pid = field(&w, &name, "/State/Pid").as_i64().unwrap() as i32;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    e2e::until("it runs again", || {
        field(&w, &name, "/RestartCount") == 1 && field(&w, &name, "/State/Status") == "running"
    });
    w.dhow(["update", "--restart", "no", &name]).ok();
    let again = field(&w, &name, "/State/Pid").as_i64().unwrap() as i32;
    let pid = nix::unistd::Pid::from_raw(again);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    w.dhow(["wait", &name]).ok();
    assert_eq!(field(&w, &name, "/State/Status"), "exited");
    let gone = sleeper(&w, "gone", &["--rm"]);
    w.dhow(["update", "--restart", "always", &gone]).code(1).err_has("AutoRemove is enabled");
    w.dhow(["rm", "-f", &name, &gone]).ok();
}

#[test]
fn top_shows_the_containers_processes_and_no_others() {
    let w = world();
    let name = sleeper(&w, "c", &[]);
    w.dhow(["exec", "-d", &name, "sleep", "500"]).ok();
    let lines = w.dhow(["top", &name]).ok().lines();
    let titles = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME"];
    let head: Vec<String> = titles.iter().map(|title| format!("{title:20}")).collect();
    assert_eq!(lines[0], head.concat() + "CMD");
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[1].ends_with("sleep 1000") && lines[2].ends_with("sleep 500"), "{lines:?}");
    let pid = field(&w, &name, "/State/Pid").to_string();
    let shown = w.dhow(["top", &name, "-eo", "pid,comm"]).ok().lines();
    assert_eq!((shown[0].as_str(), shown.len()), (format!("{:20}COMMAND", "PID").as_str(), 3));
    assert_eq!(shown[1], format!("{pid:20}sleep"));
    w.dhow(["top", &name, "-o", "comm"]).code(1).err_has("Couldn't find PID field in ps output");
    w.dhow(["top", &name, "-o", "ppid=PID"]).code(1).err_has("is not allowed");
    w.dhow(["top", &name, "--nope"]).code(1).err_has("unknown gnu long option");
    // A machine without ps: the same columns out of /proc.
    let bare = w.dhow_cmd(["top", &name]).env("PATH", "/nowhere").run().ok().lines();
    assert_eq!((&bare[0], bare.len()), (&lines[0], 3));
    w.dhow(["stop", "-t", "0", &name]).ok();
    w.dhow(["top", &name]).code(1).err_has("is not running");
    w.dhow(["rm", &name]).ok();
}

#[test]
fn stats_are_docker_s_columns_and_add_up() {
    let w = world();
    let name = sleeper(&w, "c", &["-m", "64m"]);
    let busy = w.id("busy");
    w.dhow(["run", "-d", "--name", &busy, "busybox", "sh", "-c", "while :; do :; done"]).ok();
    let stopped = w.id("stopped");
    w.dhow(["create", "--name", &stopped, "busybox"]).ok();
    let shown = w.dhow(["stats", "--no-stream"]).ok().lines();
    let head: Vec<&str> = shown[0].split("   ").map(str::trim).filter(|t| !t.is_empty()).collect();
    let titles = [
        "CONTAINER ID",
        "NAME",
        "CPU %",
        "MEM USAGE / LIMIT",
        "MEM %",
        "NET I/O",
        "BLOCK I/O",
        "PIDS",
    ];
    assert_eq!((head.as_slice(), shown.len()), (&titles[..], 3));
    let all =
        w.dhow(["stats", "--no-stream", "-a", "--format", "{{.Name}} {{.PIDs}}"]).ok().lines();
    assert!(all.contains(&format!("{stopped} 0")) && all.contains(&format!("{name} 1")), "{all:?}");
    let one = w.dhow(["stats", "--no-stream", "--format", "json", &name]).ok().json();
    assert!(one["MemUsage"].as_str().unwrap().ends_with(" / 64MiB"), "{one}");
    assert_eq!((&one["Container"], &one["NetIO"]), (&name.as_str().into(), &"0B / 0B".into()));
    let cpu = w.dhow(["stats", "--no-stream", "--format", "{{.CPUPerc}}", &busy]).ok().out();
    let percent: f64 = cpu.trim_end_matches('%').parse().unwrap();
    assert!(percent > 5.0, "a loop uses a CPU: {cpu}");
    w.dhow(["stats", "--no-stream", &w.id("none")]).code(1).err_has("No such container");
    let mut live = w.dhow_pty(["stats"]);
    live.expect(&name);
    live.expect(&busy);
    w.dhow(["rm", "-f", &busy]).ok();
    let late = sleeper(&w, "late", &[]);
    live.expect(&late); // those that come are shown
    live.send("\x03").wait();
    w.dhow(["rm", "-f", &name, &stopped, &late]).ok();
}
