//! Rules of the runtime-spec that no other subject's file shows: what is required, listed, ignored.

use std::fs;
use std::os::unix::fs::MetadataExt;

use e2e::bundle::Bundle;
use e2e::{Done, World, needs};
use serde_json::{Value, json};

use super::lifecycle::create;

/// What `plan` says of a plain config with `value` at `pointer`: all that `create` would check.
fn plan(b: &Bundle, pointer: &str, value: Value) -> impl FnOnce(&World) -> Done {
    let mut config = b.config.clone();
    let mut place = &mut config;
    for key in pointer.trim_start_matches('/').split('/') {
        place = &mut place[key];
    }
    *place = value;
    fs::write(b.dir().join("config.json"), config.to_string()).unwrap();
    let path = b.path().to_owned();
    move |w| w.runtime(["plan", "-b", &path])
}

#[test]
fn verbs_that_are_not_told_an_id_are_refused() {
    let w = World::new();
    let b = w.bundle("b", &["true"]);
    for verb in ["state", "start", "kill", "delete"] {
        w.runtime([verb]).code(1).err_has("requires");
    }
    w.runtime(["create", "-b", b.path()]).code(1).err_has("requires");
    assert!(!w.runtime_root().exists());
}

#[test]
fn what_a_config_must_have_is_asked_for_by_its_place() {
    let w = World::new();
    let b = w.bundle("b", &["true"]);
    let call = json!({"names": ["alarm"], "action": "SCMP_ACT_ERRNO"});
    let filter = |part: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [part]});
    for (at, value, says) in [
        ("/ociVersion", Value::Null, "/ociVersion"),
        ("/root", json!({}), "/root/path"),
        ("/process/args", json!([]), "/process/args"),
        ("/process/cwd", Value::Null, "/process/cwd"),
        ("/process/rlimits", json!([{"soft": 1, "hard": 1}]), "/process/rlimits/0/type"),
        ("/process/scheduler", json!({"nice": 1}), "/process/scheduler/policy"),
        ("/process/ioPriority", json!({"priority": 1}), "/process/ioPriority/class"),
        ("/mounts", json!([{"type": "tmpfs"}]), "/mounts/0/destination: must be set"),
        ("/hooks", json!({"poststop": [{"args": ["x"]}]}), "/hooks/poststop/0/path"),
        ("/linux/namespaces", json!([{"path": "/x"}]), "/linux/namespaces/0/type"),
        ("/linux/devices", json!([{"path": "/dev/x", "major": 1}]), "/linux/devices/0/type"),
        ("/linux/devices", json!([{"type": "p"}]), "/linux/devices/0/path"),
        ("/linux/memoryPolicy", json!({"nodes": "0"}), "/linux/memoryPolicy/mode"),
        ("/linux/personality", json!({}), "/linux/personality/domain"),
        ("/linux/seccomp", json!({"syscalls": [call]}), "/linux/seccomp/defaultAction"),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "m"}),
            "/linux/seccomp/listenerMetadata",
        ),
        ("/linux/seccomp", filter(json!({"action": "SCMP_ACT_LOG"})), "syscalls/0/names"),
        ("/linux/seccomp", filter(json!({"names": ["alarm"]})), "syscalls/0/action"),
        (
            "/linux/seccomp",
            filter(json!({"names": ["alarm"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0}]})),
            "syscalls/0/args/0/op",
        ),
    ] {
        plan(&b, at, value)(&w).refused().err_has(says);
    }
}

#[test]
fn a_virtual_machine_is_refused_with_the_reason() {
    let w = World::new();
    let b = w.bundle("b", &["true"]);
    let machine = json!({"kernel": {"path": "/boot/k"}, "image": {"path": "/i", "format": "raw"},
        "hwConfig": {"vcpus": 2}});
    let b = b.with("/vm", machine);
    let done = w.runtime(["create", "-b", b.path(), b.id()]).refused();
    done.err_has("/vm: ").err_has("no virtual machines");
    assert!(!w.runtime_root().exists());
    let b = b.with("/vm", Value::Null);
    w.runtime(["run", "-b", b.path(), b.id()]).ok();
}

#[test]
fn annotations_are_told_by_state_and_unknown_ones_are_like_any_unknown_property() {
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let notes = json!({"org.opencontainers.image.os": "linux", "org.opencontainers.none": "",
        "example.harbour": "Lamu"});
    let b = b.with("/annotations", notes.clone()).with("/harbour", json!({"of": "Lamu"}));
    create(&w, &b);
    assert_eq!(w.runtime(["state", b.id()]).ok().json()["annotations"], notes);
    w.runtime(["delete", "-f", b.id()]).ok();
    for (bad, says) in [(json!({"": "x"}), "/annotations"), (json!({"n": 7}), "/annotations/n")] {
        plan(&b, "/annotations", bad)(&w).refused().err_has(says);
    }
}

#[test]
fn kill_without_a_signal_sends_the_one_of_the_image() {
    let w = World::new();
    let script = "trap 'echo usr2 >/said' USR2; trap 'echo term >/said' TERM; touch /up; \
        while ! test -e /said; do sleep 0.05; done";
    for (says, sent) in [("SIGUSR2", "usr2\n"), ("12", "usr2\n"), ("", "term\n"), ("no", "term\n")]
    {
        let b = w.bundle("b", &["sh", "-c", script]);
        let b = b.with("/annotations", json!({"org.opencontainers.image.stopSignal": says}));
        create(&w, &b);
        w.runtime(["start", b.id()]).ok();
        e2e::until("the traps are set", || b.rootfs("up").exists());
        let done = w.runtime(["kill", b.id()]).ok();
        assert_eq!(done.err().contains("stopSignal"), says == "no", "{done}");
        super::lifecycle::wait_for(&w, b.id(), "stopped");
        assert_eq!(fs::read_to_string(b.rootfs("said")).unwrap(), sent, "{says}");
        w.runtime(["delete", b.id()]).ok();
        fs::remove_dir_all(b.dir()).unwrap();
    }
}

#[test]
fn mounts_are_made_in_the_order_of_the_list() {
    let w = World::new();
    for order in [["one", "two"], ["two", "one"]] {
        let mut b = w.bundle("b", &["cat", "/in/name"]);
        for name in order {
            fs::create_dir_all(w.path(name)).unwrap();
            fs::write(w.path(name).join("name"), name).unwrap();
            let bind = json!({"destination": "/in", "source": w.path(name), "options": ["bind"]});
            b = b.and("/mounts", bind);
        }
        w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is(order[1]);
        fs::remove_dir_all(b.dir()).unwrap();
    }
}

#[test]
fn console_size_without_a_terminal_is_ignored() {
    let w = World::new();
    let b = w.bundle("b", &["echo", "afloat"]);
    let b = b.with("/process/consoleSize", json!({"height": 70_000, "width": 70_000}));
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("afloat");
}

#[test]
fn oom_score_stays_the_callers_when_none_is_asked_for() {
    let w = World::new();
    let b = w.bundle("b", &["cat", "/proc/self/oom_score_adj"]);
    let raise = ["sh", "-c", "echo 333 >/proc/self/oom_score_adj; exec \"$@\"", "sh"];
    w.runtime_cmd(["run", "-b", b.path(), b.id()]).under(raise).run().ok().out_is("333");
}

fn with_users(w: &World, b: Bundle) -> Bundle {
    w.cmd("chmod").arg("755").arg(w.path("")).run().ok();
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let b = b.and("/linux/namespaces", json!({"type": "user"}));
    b.with("/linux/uidMappings", map.clone()).with("/linux/gidMappings", map)
}

#[test]
fn no_owner_is_changed_for_a_user_namespace() {
    needs!(CgroupV1);
    let w = World::new();
    let b = with_users(&w, w.bundle("b", &["sleep", "1000"]));
    // One that may be written: on cgroup v2 the group would be the container's.
    let b = b.with("/mounts/6/options", json!(["nosuid", "noexec", "nodev", "relatime"]));
    let owners = || {
        let list = w.cmd("find").arg(b.rootfs("bin")).args(["-printf", "%p %U:%G\n"]).run();
        let top = fs::metadata(b.rootfs("")).unwrap();
        (list.ok().out(), top.uid(), top.gid())
    };
    let before = owners();
    create(&w, &b);
    assert_eq!(owners(), before);
    // SPEC: config-linux.md, Cgroup ownership: never with cgroup v1.
    let groups = e2e::leaks::cgroups();
    let ours = groups.iter().filter(|g| g.to_string_lossy().ends_with(b.id()));
    let ours: Vec<_> = ours.filter(|g| !g.starts_with("/sys/fs/cgroup/unified")).collect();
    assert!(!ours.is_empty());
    assert!(ours.iter().all(|g| fs::metadata(g).unwrap().uid() == 0), "{ours:?}");
    w.runtime(["delete", "-f", b.id()]).ok();
}

#[test]
fn one_cgroups_path_is_one_place() {
    needs!(Cgroupfs, Root);
    let w = World::new();
    let path = format!("/{}", w.id("berth"));
    let mut seen = Vec::new();
    for name in ["a", "b"] {
        let mut b = w.bundle(name, &["cat", "/proc/self/cgroup"]);
        b.config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "cgroup");
        let b = b.with("/linux/cgroupsPath", path.clone().into());
        seen.push(w.runtime(["run", "-b", b.path(), b.id()]).ok().out());
    }
    assert_eq!(seen[0], seen[1]);
    assert!(seen[0].lines().any(|line| line.ends_with(&path)), "{seen:?}");
}

#[test]
fn features_are_the_programs_own_and_not_the_hosts() {
    needs!(Root);
    let w = World::new();
    let here = w.runtime(["features"]).ok().out();
    let script = "mount -t tmpfs none /sys && mount -t tmpfs none /proc && exec \"$@\"";
    let bare = ["unshare", "-m", "sh", "-c", script, "sh"];
    let there = w.runtime_cmd(["features"]).under(bare).run().ok().out();
    assert_eq!(here, there);
}

/// A config that names `word`, an element of `list`.
fn naming(b: &Bundle, list: &str, word: &str) -> (String, Value) {
    let call = |action: &str, args: Value| {
        let call = json!({"names": ["alarm"], "action": action, "args": args});
        json!({"defaultAction": "SCMP_ACT_LOG", "listenerPath": "/agent", "syscalls": [call]})
    };
    let memory = |flags: Value| json!({"mode": "MPOL_BIND", "nodes": "0", "flags": flags});
    let (at, value) = match list {
        "/hooks" => ("/hooks", json!({word: [{"path": "/bin/true"}]})),
        "/mountOptions" => {
            let maps = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
            let mut mount = json!({"destination": "/x", "source": b.path(), "options": ["bind"]});
            if word.ends_with("idmap") {
                mount["uidMappings"] = maps.clone();
                mount["gidMappings"] = maps;
            }
            mount["options"].as_array_mut().unwrap().push(word.into());
            ("/mounts", json!([mount]))
        }
        "/linux/namespaces" => ("/linux/namespaces", {
            let rest = b.config["linux"]["namespaces"].as_array().unwrap().iter().cloned();
            let rest = rest.filter(|space| space["type"] != word);
            rest.chain([json!({"type": word})]).collect()
        }),
        "/linux/capabilities" => ("/process/capabilities", json!({"bounding": [word]})),
        "/linux/memoryPolicy/modes" => ("/linux/memoryPolicy", {
            let nodes = if ["MPOL_DEFAULT", "MPOL_LOCAL"].contains(&word) { "" } else { "0" };
            json!({"mode": word, "nodes": nodes})
        }),
        "/linux/memoryPolicy/flags" => ("/linux/memoryPolicy", memory(json!([word]))),
        "/linux/seccomp/actions" => ("/linux/seccomp", call(word, json!([]))),
        "/linux/seccomp/operators" => {
            let arg = json!([{"index": 0, "value": 1, "op": word}]);
            ("/linux/seccomp", call("SCMP_ACT_ERRNO", arg))
        }
        "/linux/seccomp/archs" => ("/linux/seccomp", {
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": [word]})
        }),
        _ => ("/linux/seccomp", {
            let mut filter = call("SCMP_ACT_NOTIFY", json!([]));
            filter["flags"] = json!([word]);
            filter
        }),
    };
    (at.to_owned(), value)
}

#[test]
fn everything_that_features_lists_is_taken_in_a_config() {
    let w = World::new();
    let b = w.bundle("b", &["true"]);
    let features = w.runtime(["features"]).ok().json();
    for end in ["ociVersionMin", "ociVersionMax"] {
        plan(&b, "/ociVersion", features[end].clone())(&w).ok();
    }
    for list in [
        "/hooks",
        "/mountOptions",
        "/linux/namespaces",
        "/linux/capabilities",
        "/linux/memoryPolicy/modes",
        "/linux/memoryPolicy/flags",
        "/linux/seccomp/actions",
        "/linux/seccomp/operators",
        "/linux/seccomp/archs",
        "/linux/seccomp/knownFlags",
    ] {
        let words = features.pointer(list).unwrap().as_array().unwrap();
        assert!(words.len() >= 3, "{list}");
        for word in words {
            let word = word.as_str().unwrap();
            let (at, value) = naming(&b, list, word);
            let done = plan(&b, &at, value)(&w);
            assert_eq!(done.code, 0, "{list} {word}: {done}");
            if list == "/linux/capabilities" {
                let found = w.runtime(["check", "-b", b.path()]).out();
                assert!(!found.contains(word), "{found}");
            }
        }
    }
    // The words are looked at: one that is in no list is refused, and so is a hook without a path.
    for word in features["hooks"].as_array().unwrap() {
        let word = word.as_str().unwrap();
        let done = plan(&b, "/hooks", json!({word: [{"path": "here"}]}))(&w);
        done.refused().err_has(&format!("/hooks/{word}/0/path"));
    }
    for list in ["/linux/namespaces", "/linux/memoryPolicy/modes", "/linux/seccomp/archs"] {
        let (at, value) = naming(&b, list, "harbour");
        plan(&b, &at, value)(&w).refused().err_has("harbour");
    }
}
