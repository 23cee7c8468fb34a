//! Control groups in a guest with a pure cgroup v2: limits, statistics, freezing, killing.

use e2e::{World, needs};
use serde_json::{Value, json};

use super::guest::{for_tester, guest};

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
    needs!(Guests);
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
    needs!(Guests);
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

#[test]
fn group_of_a_user_namespace_is_handed_over_when_it_may_be_written() {
    needs!(Guests);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    let b = b.and("/linux/namespaces", json!({"type": "user"}));
    let b = b.with("/linux/uidMappings", map.clone()).with("/linux/gidMappings", map);
    drop(b.with("/linux/cgroupsPath", "/boxes/one".into()));
    let mut read_only: Value =
        serde_json::from_slice(&std::fs::read(w.path("bundle-b/config.json")).unwrap()).unwrap();
    read_only["mounts"][6]["options"] = json!(["nosuid", "noexec", "nodev", "relatime", "ro"]);
    let mut writable = read_only.clone();
    writable["mounts"][6]["options"] = json!(["nosuid", "noexec", "nodev", "relatime"]);
    let mut inherited = writable.clone();
    inherited["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "cgroup");
    for (name, config) in [("ro", read_only), ("rw", writable), ("host", inherited)] {
        let path = w.path(format!("bundle-b/{name}.json"));
        std::fs::write(path, config.to_string()).unwrap();
    }
    let script = "chown -R 100000:100000 /b/rootfs; for c in ro rw host; do \
        cp $c.json config.json; quiet rt run -d one; \
        (cd $g/boxes/one; echo $(stat -c %u . cgroup.procs cgroup.subtree_control memory.max)); \
        [ $c = rw ] && rt exec one mkdir /sys/fs/cgroup/own && echo made; rt delete -f one; done";
    let done = in_guest(&w, script).ok();
    done.out_is("0 0 0 0\n100000 100000 100000 0\nmade\n0 0 0 0");
}

#[test]
fn group_below_a_threaded_one_has_threaded_controllers_only() {
    needs!(Guests);
    let w = World::new();
    let b = w.bundle("b", &["sh", "-c", "echo runs"]);
    let b = b.with("/linux/resources/pids", json!({"limit": 20}));
    drop(b.with("/linux/cgroupsPath", "/top/thread/one".into()));
    let script = "mkdir -p $g/top/thread; echo threaded >$g/top/thread/cgroup.type; \
        echo +pids >$g/top/cgroup.subtree_control; echo $$ >$g/top/cgroup.procs; rt run one; \
        sed -i 's/\"limit\": 20/\"limit\": 20}, \"memory\": {\"limit\": 99999999/' config.json; rt run one || true; \
        rmdir $g/top/thread && echo gone";
    let done = in_guest(&w, script).ok();
    done.out_is("runs\ngone").err_has("with domain controllers: it is");
}

#[test]
fn limits_of_cgroup_v2_are_set_and_updated() {
    needs!(Guests);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let b = b.with(
        "/linux/resources",
        json!({
            "devices": [{"allow": false, "access": "rwm"}],
            "memory": {"limit": 64 << 20, "reservation": 16 << 20, "swap": 96 << 20},
            "cpu": {"shares": 3333, "quota": 500_000, "period": 1_000_000, "burst": 1000},
            "pids": {"limit": 20},
            "unified": {"memory.high": "50331648", "pids.max": "42"},
        }),
    );
    drop(b.with("/linux/cgroupsPath", "/boxes/one".into()));
    let script = "cat >/bin/look <<'E'\ncd /sys/fs/cgroup/boxes/one; \
        for f in \"$@\"; do [ -e $f ] && echo $f $(cat $f); done; true\nE\n\
        quiet rt run -d one; \
        sh /bin/look memory.max memory.low memory.swap.max memory.high pids.max cpu.weight cpu.max cpu.max.burst; \
        rt update --cpu-period 900000 one; sh /bin/look cpu.max; \
        rt update --cpu-quota -1 one; sh /bin/look cpu.max; \
        rt update --memory 80m one; sh /bin/look memory.max memory.swap.max; \
        rt update --memory-swap 100m one; sh /bin/look memory.max memory.swap.max; \
        rt update --memory -1 one; sh /bin/look memory.max memory.swap.max; \
        echo '{\"unified\":{\"pids.max\":\"10\"},\"memory\":{\"limit\":4096,\"checkBeforeUpdate\":true}}' >j; \
        rt update -r j one || true; sh /bin/look memory.max pids.max; rt delete -f one; \
        mkdir -p $g/boxes/one; quiet rt run -d one && sh /bin/look pids.max; rt delete -f one";
    let done = in_guest(&w, script).ok();
    let lines = done.lines();
    let swap = lines.iter().any(|line| line.starts_with("memory.swap.max"));
    let expected = [
        "memory.max 67108864",
        "memory.low 16777216",
        "memory.swap.max 33554432",
        "memory.high 50331648",
        "pids.max 42",
        "cpu.weight 256",
        "cpu.max 500000 1000000",
        "cpu.max.burst 1000",
        "cpu.max 500000 900000",
        "cpu.max max 900000",
        "memory.max 83886080",
        "memory.swap.max 16777216",
        "memory.max 83886080",
        "memory.swap.max 20971520",
        "memory.max max",
        "memory.swap.max max",
        "memory.max max",
        "pids.max 42",
        "pids.max 42",
    ];
    let expected = expected.iter().filter(|line| swap || !line.starts_with("memory.swap.max"));
    assert_eq!(lines, expected.copied().collect::<Vec<_>>(), "{done}");
    done.err_has("checkBeforeUpdate");
}

#[test]
fn exec_by_a_user_whose_own_group_bars_the_way_goes_without() {
    needs!(Guests);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let b = b.with("/linux/resources", json!({}));
    drop(for_tester(&w, b.with("/linux/cgroupsPath", "/u/one".into())));
    let script = "install -d -o 1000 -g 1000 /run/user /run/user/1000; chown -R 1000:1000 /b; \
        mkdir -p $g/u/session; chown 1000 $g/u $g/u/cgroup.* $g/u/session $g/u/session/cgroup.*; \
        as() { setpriv --reuid=1000 --regid=1000 --init-groups env HOME=/home/tester \
            XDG_RUNTIME_DIR=/run/user/1000 /dhow/dhow-runtime \"$@\"; }; \
        echo $$ >$g/u/session/cgroup.procs; quiet as run -d one; as exec one grep -c . /proc/self/cgroup; \
        echo $$ >$g/cgroup.procs; as exec one id -u; as delete -f one";
    in_guest(&w, script).ok().out_is("1\n0");
}

#[test]
fn without_a_cgroup_namespace_the_view_is_the_hosts_and_exec_follows_the_first_process() {
    needs!(Guests);
    let w = World::new();
    let mut b =
        w.bundle("b", &["sh", "-c", "echo 1 >/sys/fs/cgroup/other/cgroup.procs; sleep 1000"]);
    b.config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "cgroup");
    b.config["mounts"][6]["options"] = json!(["nosuid", "noexec", "nodev", "relatime"]);
    drop(b.with("/linux/cgroupsPath", "/boxes/one".into()));
    let script = "mkdir $g/other; quiet rt run -d one; \
        until grep -q . $g/other/cgroup.procs; do sleep 0.1; done; \
        rmdir $g/boxes/one; rt exec one cat /proc/self/cgroup; rt delete -f one; rmdir $g/other";
    in_guest(&w, script).ok().out_is("0::/other");
}
