//! cgroups: the limits asked for are there, and the groups go with the container.

use std::fs;

use e2e::{World, leaks, needs};
use serde_json::json;

/// Where a cgroup file stands: in the controller's own hierarchy, or in the one of v2.
fn group_file(id: &str, v1: &str, v2: &str) -> String {
    let (controller, file) = v1.split_once('/').unwrap();
    let old = format!("/sys/fs/cgroup/{controller}/{id}/{file}");
    if fs::exists(format!("/sys/fs/cgroup/{controller}")).unwrap() {
        return fs::read_to_string(&old).unwrap_or_else(|e| panic!("{old}: {e}")).trim().to_owned();
    }
    let new = format!("/sys/fs/cgroup/{id}/{v2}");
    fs::read_to_string(&new).unwrap_or_else(|e| panic!("{new}: {e}")).trim().to_owned()
}

/// Waits until a container's groups have gone: systemd takes its own time for a scope's.
fn groups_go(id: &str) {
    e2e::until("its groups go", || {
        !leaks::cgroups().iter().any(|group| group.to_string_lossy().contains(id))
    });
}

#[test]
fn limits_are_set_and_groups_removed() {
    needs!(Cgroupfs, Root);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let b = b.with("/linux/resources/memory", json!({"limit": 64 << 20}));
    let b = b.with("/linux/resources/pids", json!({"limit": 17}));
    let b =
        b.with("/linux/resources/cpu", json!({"shares": 512, "quota": 50_000, "period": 100_000}));
    super::lifecycle::create(&w, &b);
    let read = |v1, v2| group_file(b.id(), v1, v2);
    assert_eq!(read("memory/memory.limit_in_bytes", "memory.max"), "67108864");
    assert_eq!(read("pids/pids.max", "pids.max"), "17");
    assert!(["50000", "50000 100000"].contains(&read("cpu/cpu.cfs_quota_us", "cpu.max").as_str()));
    let pid = w.runtime(["state", b.id()]).ok().json()["pid"].to_string();
    assert!(read("pids/cgroup.procs", "cgroup.procs").lines().any(|p| p == pid));
    w.runtime(["delete", "-f", b.id()]).ok();
    groups_go(b.id());
}

#[test]
fn too_much_memory_ends_the_process() {
    let w = World::new();
    // tail holds what it reads: a zero page never has an end of line.
    let b = w.bundle("b", &["sh", "-c", "head -c 200000000 /dev/zero | tail -n 1 | wc -c"]);
    let b = b.with("/linux/resources/memory", json!({"limit": 32 << 20, "swap": 32 << 20}));
    let done = w.runtime(["run", "-b", b.path(), b.id()]);
    assert_ne!(done.out(), "200000000", "the limit did not hold");
}

#[test]
fn too_many_processes_are_refused() {
    let w = World::new();
    let b = w.bundle("b", &["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; echo all"]);
    let b = b.with("/linux/resources/pids", json!({"limit": 5}));
    let done = w.runtime(["run", "-b", b.path(), b.id()]);
    assert!(!done.out().contains("all") || done.err().contains("fork"), "{done}");
}

#[test]
fn wrong_limit_is_refused_and_leaves_no_group() {
    let w = World::new();
    let b = w.bundle("b", &["true"]);
    let b = b.with("/linux/resources/cpu", json!({"cpus": "4000-5000"}));
    w.runtime(["run", "-b", b.path(), b.id()]).refused();
    groups_go(b.id());
}

#[test]
fn cpuset_of_groups_that_were_there_and_had_none_is_inherited() {
    let w = World::new();
    let top = "/sys/fs/cgroup/cpuset";
    if !fs::exists(top).unwrap() {
        return;
    }
    let b = w.bundle("b", &["echo", "runs"]);
    let parent = format!("{}-parent", b.id());
    fs::create_dir(format!("{top}/{parent}")).unwrap();
    let b = b.with("/linux/cgroupsPath", format!("/{parent}/one").into());
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("runs");
    fs::create_dir(format!("{top}/{parent}/one")).unwrap();
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("runs");
    for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        let _ = fs::remove_dir(hierarchy.path().join(&parent));
    }
}

#[test]
fn a_denied_device_is_out_of_reach_and_all_is_a_kind_of_access() {
    needs!(Root);
    let w = World::new();
    let b = w.bundle("b", &["sh", "-c", "head -c1 /dev/held 2>&1; head -c2 /dev/zero | wc -c"]);
    let held =
        json!([{"path": "/dev/held", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666}]);
    let rules = json!([{"allow": false, "access": "rwm"},
        {"allow": false, "type": "c", "major": 1, "minor": 11, "access": "rwa"}]);
    let b = b.with("/linux/devices", held).with("/linux/resources/devices", rules);
    let done = w.runtime(["run", "-b", b.path(), b.id()]);
    assert!(done.out().contains("not permitted") && done.out().ends_with('2'), "{done}");
}

#[test]
fn device_rules_are_applied_in_their_order() {
    let w = World::new();
    if !fs::exists("/sys/fs/cgroup/devices").unwrap() {
        return;
    }
    let deny = json!({"allow": false, "access": "rwm"});
    let rule = |allow: bool, access: &str| json!({"allow": allow, "type": "c", "major": 10, "minor": 229, "access": access});
    for (name, rules, left) in [
        ("a", json!([deny, rule(true, "rwm"), rule(false, "w")]), Some("c 10:229 rm")),
        ("b", json!([rule(true, "rwm"), deny]), None),
    ] {
        let b = w.bundle(name, &["sleep", "1000"]).with("/linux/resources/devices", rules);
        super::lifecycle::create(&w, &b);
        let path = format!("/sys/fs/cgroup/devices/{}/devices.list", b.id());
        let list = fs::read_to_string(path).unwrap();
        let found = list.lines().find(|line| line.starts_with("c 10:229 "));
        assert_eq!(found, left, "{list}");
        w.runtime(["delete", "-f", b.id()]).ok();
    }
}

#[test]
fn limit_of_a_controller_that_is_not_mounted_is_an_error() {
    let w = World::new();
    if fs::exists("/sys/fs/cgroup/hugetlb").unwrap()
        || !fs::exists("/sys/fs/cgroup/cpuset").unwrap()
    {
        return;
    }
    let b = w.bundle("b", &["true"]);
    let b =
        b.with("/linux/resources/hugepageLimits", json!([{"pageSize": "2MB", "limit": 2_097_152}]));
    let done = w.runtime(["run", "-b", b.path(), b.id()]).refused();
    done.err_has("/linux/resources/hugepageLimits/0: this host has no hugetlb cgroup controller");
}

#[test]
fn memory_too_small_to_begin_with_is_named() {
    let w = World::new();
    let b = w.bundle("b", &["true"]);
    let b = b.with("/linux/resources/memory", json!({"limit": 4096, "swap": 4096}));
    let done = w.runtime(["run", "-b", b.path(), b.id()]).refused();
    done.err_has("container init was OOM-killed (memory limit too low?)");
    groups_go(b.id());
}
