//! Namespaces: each its own, shared where the config says a path, mapped users.

use std::fs;
use std::os::unix::fs::MetadataExt;

use e2e::bundle::Bundle;
use e2e::{World, needs};
use serde_json::{Value, json};

#[test]
fn every_namespace_is_new() {
    let w = World::new();
    let look = "for n in pid net ipc uts mnt cgroup; do readlink /proc/self/ns/$n; done";
    let b = w.bundle("b", &["sh", "-c", look]);
    let inside = w.runtime(["run", "-b", b.path(), b.id()]).ok().lines();
    let outside = w.cmd("sh").args(["-c", look]).run().ok().lines();
    assert_eq!(inside.len(), 6);
    for (i, o) in inside.iter().zip(&outside) {
        assert_ne!(i, o);
    }
}

#[test]
fn time_namespace_shifts_the_clock() {
    needs!(FullKernel);
    let w = World::new();
    let b = w.bundle("b", &["cut", "-d.", "-f1", "/proc/uptime"]);
    let b = b.and("/linux/namespaces", json!({"type": "time"}));
    let b = b.with("/linux/timeOffsets", json!({"boottime": {"secs": 5_000_000}}));
    let uptime: u64 = w.runtime(["run", "-b", b.path(), b.id()]).ok().out().parse().unwrap();
    assert!(uptime >= 5_000_000, "{uptime}");
}

#[test]
fn namespace_given_by_path_is_joined() {
    needs!(Root);
    let w = World::new();
    let b = w.bundle("b", &["readlink", "/proc/self/ns/net"]);
    let host = json!([{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"},
        {"type": "network", "path": "/proc/self/ns/net"}]);
    let b = b.with("/linux/namespaces", host);
    let ours = fs::read_link("/proc/self/ns/net").unwrap();
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is(&ours.to_string_lossy());
}

/// Its number in there is another process's here: what is recorded, signalled and entered
/// has to be its number here.
#[test]
fn bug_a_first_process_in_joined_user_and_pid_namespaces_was_taken_for_another() {
    needs!(ManyIds);
    let w = World::new();
    let map = json!([{"containerID": 0, "hostID": 300_000, "size": 65536}]);
    let open = |b: &Bundle| {
        w.cmd("chown").args(["-hR", "300000:300000"]).arg(b.rootfs("")).run().ok();
        w.cmd("chmod").arg("755").arg(w.path("")).run().ok();
    };
    let first = w.bundle("first", &["sleep", "60"]);
    let first = first.and("/linux/namespaces", json!({"type": "user"}));
    let first = first.with("/linux/uidMappings", map.clone()).with("/linux/gidMappings", map);
    open(&first);
    super::lifecycle::create(&w, &first);
    w.runtime(["start", first.id()]).ok();
    let pid = |id: &str| w.runtime(["state", id]).ok().json()["pid"].clone();
    let path = |kind: &str| format!("/proc/{}/ns/{kind}", pid(first.id()));

    let second = w.bundle("second", &["sleep", "61"]);
    let kinds =
        [("pid", "pid"), ("user", "user"), ("ipc", "ipc"), ("uts", "uts"), ("network", "net")];
    let mut joined = vec![json!({"type": "mount"})];
    joined.extend(kinds.map(|(kind, file)| json!({"type": kind, "path": path(file)})));
    let second = second.with("/linux/namespaces", joined.into());
    let second = second.with("/hostname", Value::Null);
    open(&second);
    super::lifecycle::create(&w, &second);
    w.runtime(["start", second.id()]).ok();
    let theirs = fs::read_link(path("pid")).unwrap();
    let ours = fs::read_link(format!("/proc/{}/ns/pid", pid(second.id()))).unwrap();
    assert_eq!(ours, theirs);
    let line = fs::read(format!("/proc/{}/cmdline", pid(second.id()))).unwrap();
    assert_eq!(line, b"sleep\x0061\x00");
    w.runtime(["exec", second.id(), "cut", "-c-40", "/proc/self/uid_map"]).ok().out_has("300000");
    w.runtime(["delete", "--force", second.id()]).ok();
    w.runtime(["delete", "--force", first.id()]).ok();
}

#[test]
fn user_namespace_maps_ids() {
    needs!(ManyIds);
    let w = World::new();
    let b = w
        .bundle("b", &["sh", "-c", "id -u; cat /proc/self/uid_map; touch /made; stat -c %u /made"]);
    let map = json!([{"containerID": 0, "hostID": 300_000, "size": 65536}]);
    let b = b.and("/linux/namespaces", json!({"type": "user"}));
    let b = b.with("/linux/uidMappings", map.clone()).with("/linux/gidMappings", map);
    w.cmd("chown").args(["-hR", "300000:300000"]).arg(b.rootfs("")).run().ok();
    // The way to the rootfs must be open to the mapped root.
    w.cmd("chmod").arg("755").arg(w.path("")).run().ok();
    let lines = w.runtime(["run", "-b", b.path(), b.id()]).ok().lines();
    let words: Vec<_> = lines[1].split_whitespace().collect();
    assert_eq!((lines[0].as_str(), words), ("0", vec!["0", "300000", "65536"]));
    assert_eq!(lines[2], "0");
    assert_eq!(fs::metadata(b.rootfs("made")).unwrap().uid(), 300_000);
}

#[test]
fn host_pid_and_network_can_be_kept() {
    needs!(Root);
    let w = World::new();
    let b = w.bundle("b", &["readlink", "/proc/self/ns/net"]);
    let b =
        b.with("/linux/namespaces", json!([{"type": "mount"}, {"type": "uts"}, {"type": "pid"}]));
    let ours = fs::read_link("/proc/self/ns/net").unwrap();
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is(&ours.to_string_lossy());
}
