//! Namespaces: the container's own, the host's, another container's.

use std::fs;

use e2e::{World, needs};

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

fn say(w: &World, flags: &[&str], script: &str) -> String {
    let command = ["busybox", "sh", "-c", script];
    w.dhow(["run", "--rm"].iter().chain(flags).chain(&command)).ok().out()
}

#[test]
fn namespaces_are_the_hosts_when_asked_for() {
    let w = world();
    for (flag, name) in
        [("--pid", "pid"), ("--ipc", "ipc"), ("--uts", "uts"), ("--cgroupns", "cgroup")]
    {
        let script = format!("readlink /proc/self/ns/{name}");
        let ours = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert_eq!(say(&w, &[flag, "host"], &script), ours.to_string_lossy(), "{flag}");
        assert_ne!(say(&w, &[], &script), ours.to_string_lossy(), "{flag}");
    }
    assert_eq!(say(&w, &["--userns", "host"], "echo fine"), "fine");
}

#[test]
fn shared_memory_is_private_none_or_shared_with_who_joins() {
    needs!(Root);
    let w = world();
    let donor = w.id("donor");
    let keep = "echo ours >/dev/shm/note; sleep 1000";
    let run = ["run", "-d", "--name", &donor, "--ipc", "shareable", "--shm-size", "1m", "busybox"];
    w.dhow(run.iter().chain(&["sh", "-c", keep])).ok();
    let join = format!("container:{donor}");
    let script =
        "until test -s /dev/shm/note; do :; done; cat /dev/shm/note; readlink /proc/self/ns/ipc";
    let there = w.dhow(["exec", &donor, "readlink", "/proc/self/ns/ipc"]).ok().out();
    assert_eq!(say(&w, &["--ipc", &join], script), format!("ours\n{there}"));
    let size = "df -k /dev/shm | tail -1 | awk '{print $2}'";
    assert_eq!(say(&w, &["--ipc", &join], size), "1024");
    let inspected = w.dhow(["inspect", "-f", "{{.HostConfig.IpcMode}}", &donor]).ok().out();
    assert_eq!(inspected, "shareable");
    // A restart has a /dev/shm of its own again.
    w.dhow(["restart", "-t", "0", &donor]).ok();
    assert_eq!(say(&w, &["--ipc", &join], script).lines().next(), Some("ours"));
    w.dhow(["rm", "-f", &donor]).ok();
    assert_eq!(say(&w, &["--ipc", "none"], "grep -c ' /dev/shm ' /proc/mounts || true"), "0");
    assert_eq!(say(&w, &["--ipc", "private", "--shm-size", "2m"], size), "2048");
}

#[test]
fn a_private_ipc_namespace_is_not_joined() {
    let w = world();
    let name = w.id("own");
    w.dhow(["run", "-d", "--name", &name, "busybox", "sleep", "1000"]).ok();
    let join = format!("container:{name}");
    w.dhow(["run", "--rm", "--ipc", &join, "busybox", "true"])
        .code(125)
        .err_has("non-shareable IPC (hint: use IpcMode:shareable for the donor container)");
    w.dhow(["rm", "-f", &name]).ok();
    for flag in ["--ipc", "--pid", "--network"] {
        w.dhow(["run", "--rm", flag, &join, "busybox", "true"])
            .code(125)
            .err_has(&format!("No such container: {name}"));
    }
    w.dhow(["ps", "-aq"]).ok().out_is("");
}

#[test]
fn processes_and_networks_of_another_container_are_joined() {
    let w = world();
    let name = w.id("other");
    w.dhow(["run", "-d", "--name", &name, "busybox", "sleep", "4242"]).ok();
    let join = format!("container:{name}");
    assert!(say(&w, &["--pid", &join], "ps").contains("sleep 4242"));
    let net = w.dhow(["exec", &name, "readlink", "/proc/self/ns/net"]).ok().out();
    assert_eq!(say(&w, &["--network", &join], "readlink /proc/self/ns/net"), net);
    // By id, so that a rename changes nothing.
    let late = w.id("late");
    w.dhow(["create", "--name", &late, "--pid", &join, "busybox", "ps"]).ok();
    let renamed = w.id("renamed");
    w.dhow(["rename", &name, &renamed]).ok();
    w.dhow(["start", "-a", &late]).ok().out_has("sleep 4242");
    w.dhow(["stop", "-t", "0", &renamed]).ok();
    w.dhow(["start", "-a", &late]).code(1).err_has("failed to join PID namespace");
    w.dhow(["rm", &late, &renamed]).ok();
    for bad in
        [&["--network", &join, "-h", "x"][..], &["--network", &join, "--add-host", "a:1.2.3.4"]]
    {
        let run = ["run", "--rm"].iter().chain(bad).chain(&["busybox", "true"]).copied();
        w.dhow(run.collect::<Vec<_>>()).code(125).err_has("conflicting options");
    }
}

#[test]
fn runc_joins_by_the_same_descriptors() {
    needs!(Root);
    let w = world();
    let name = w.id("donor");
    let script = "echo ours >/dev/shm/note; sleep 4242";
    w.dhow(["run", "-d", "--name", &name, "--ipc", "shareable", "busybox", "sh", "-c", script])
        .ok();
    let join = format!("container:{name}");
    let flags = ["--runtime", "/usr/sbin/runc", "--pid", &join, "--ipc", &join, "--network", &join];
    let said = say(&w, &flags, "ps; until test -s /dev/shm/note; do :; done; cat /dev/shm/note");
    assert!(said.contains("sleep 4242") && said.ends_with("ours"), "{said}");
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn rights_are_what_the_security_options_say() {
    let w = world();
    let nnp = "grep NoNewPrivs /proc/self/status | cut -f2";
    assert_eq!(say(&w, &["--security-opt", "no-new-privileges"], nnp), "1");
    assert_eq!(say(&w, &["--security-opt", "no-new-privileges:false"], nnp), "0");
    let writable = "for d in /sys/fs/cgroup /sys/fs/cgroup/memory; do \
        mkdir $d/mine 2>/dev/null && echo yes; rmdir $d/mine 2>/dev/null; done | sort -u";
    assert_eq!(say(&w, &[], writable), "");
    assert_eq!(say(&w, &["--security-opt", "writable-cgroups"], writable), "yes");
    let paths = "touch /proc/sys/kernel/domainname 2>&1; cat /proc/keys 2>&1 | wc -c";
    assert!(say(&w, &[], paths).contains("Read-only"));
    assert!(!say(&w, &["--security-opt", "systempaths=unconfined"], paths).contains("Read-only"));
    w.dhow(["run", "--rm", "--security-opt", "seccomp=/nope", "busybox"])
        .code(125)
        .err_has("opening seccomp profile (/nope) failed: open /nope: no such file or directory");
    w.dhow(["run", "--rm", "--security-opt", "what=ever", "busybox"])
        .code(125)
        .err_has("invalid --security-opt 2: \"what=ever\"");
}
