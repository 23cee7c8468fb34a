//! Control groups in a guest with a pure cgroup v2: limits, statistics, freezing, killing.

use e2e::World;
use serde_json::{Value, json};

use super::guest::guest;

/// Runs a script in a guest where the world's bundle `b` is /b, and `rt` is dhow-runtime.
fn in_guest(w: &World, script: &str) -> e2e::Done {
    let dir = w.path("bundle-b");
    let head = format!(
        "cp -a /w/{} /b; cd /b; rt() {{ /dhow/dhow-runtime \"$@\"; }}; g=/sys/fs/cgroup; \
         quiet() {{ \"$@\" </dev/null >/dev/null 2>&1; }}; ",
        dir.file_name().unwrap().to_string_lossy()
    );
    guest(w, &[], &(head + script)).run()
}

#[test]
fn events_on_cgroup_v2() {
    let w = World::new();
    let hog = "while [ ! -e /go ]; do sleep 0.1; done; head -c 99000000 /dev/zero | tail -n 1; \
        touch /done; sleep 1000";
    let b = w.bundle("b", &["sh", "-c", hog]);
    let b = b.with("/linux/resources/memory", json!({"limit": 16 << 20, "swap": 16 << 20}));
    let b = b.with("/linux/resources/pids", json!({"limit": 33}));
    drop(b.with("/linux/cgroupsPath", "/boxes/one".into()));
    let script = "quiet rt run -d one; rt events --stats one; \
        rt events --interval 200ms one >/log & \
        sleep 0.5; touch /b/rootfs/go; while [ ! -e /b/rootfs/done ]; do sleep 0.1; done; \
        rt kill one KILL; wait; tail -n 1 /log; grep -c '{\"type\":\"oom\",\"id\":\"one\"}' /log; \
        rt events --stats one || true; rt delete one";
    let done = in_guest(&w, script).ok();
    let lines = done.lines();
    let stats: Value = serde_json::from_str(&lines[0]).unwrap();
    let at = |pointer: &str| stats.pointer(pointer).cloned().unwrap_or_default();
    assert_eq!(at("/data/memory/usage/limit"), 16 << 20, "{done}");
    assert_eq!(at("/data/pids/limit"), 33, "{done}");
    assert!(at("/data/cpu/usage/total").as_u64().unwrap() > 0, "{done}");
    assert!(at("/data/memory/raw/anon").is_u64(), "{done}");
    assert_eq!(at("/data/cpuset/sched_load_balance"), 0, "{done}");
    assert!(lines.last().unwrap().parse::<u32>().unwrap() >= 1, "{done}");
    done.err_has("container with id one is not running");
}

#[test]
fn exec_on_cgroup_v2_goes_where_the_first_process_has_gone() {
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let mount = json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", "rw"]});
    drop(b.with("/mounts/6", mount).with("/linux/cgroupsPath", "/boxes/one".into()));
    let script = "quiet rt run -d one; inside() { rt exec one sh -c \"$1\"; }; \
        inside 'mkdir /sys/fs/cgroup/foo; echo 1 >/sys/fs/cgroup/foo/cgroup.procs'; \
        inside 'cat /proc/self/cgroup'; \
        inside 'echo $$ >/sys/fs/cgroup/foo/cgroup.procs; echo +memory >/sys/fs/cgroup/cgroup.subtree_control'; \
        inside 'cat /proc/self/cgroup'; rt ps -f json one; \
        rt exec --cgroup / one true && echo joined; \
        rt pause one; rt state one | grep status; cat $g/boxes/one/cgroup.freeze; \
        rt delete -f one; [ -e $g/boxes/one ] || echo gone";
    let done = in_guest(&w, script).ok();
    let lines = done.lines();
    assert_eq!(lines[..2], ["0::/", "0::/foo"], "{done}");
    assert!(lines[2].starts_with('['), "{done}");
    assert!(lines[3].contains("paused"), "{done}");
    assert_eq!(lines[4..], ["1", "gone"], "{done}");
    done.err_has("device or resource busy");
}
