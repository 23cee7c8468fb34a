//! In a guest with a pure cgroup v2: what this machine's own cgroups can't show.

use std::fs;

use e2e::bundle::Bundle;
use e2e::{Cmd, World, needs, program, workspace};
use serde_json::json;

/// `guest.sh OPTIONS -- bash -c SCRIPT`, with dhow-runtime's folder at /dhow and the world at /w.
/// The first use of a fresh checkout builds the guest.
pub fn guest(w: &World, options: &[&str], script: &str) -> Cmd {
    let programs = fs::canonicalize(program("dhow-runtime")).unwrap();
    let programs = format!("{}:/dhow:ro", programs.parent().unwrap().display());
    let files = format!("{}:/w:ro", w.path("").display());
    w.cmd(workspace().join("tests/guest/guest.sh"))
        .args(options)
        .args(["--share", &programs, "--share", &files, "--", "bash", "-ec", script])
        .limit(600)
}

/// The bundle in a user namespace that maps root to uid 1000, and its files readable there.
pub fn for_tester(w: &World, b: Bundle) -> Bundle {
    let one = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    let b = b.and("/linux/namespaces", json!({"type": "user"}));
    let mut b = b.with("/linux/uidMappings", one.clone()).with("/linux/gidMappings", one);
    // gid 5 isn't mapped.
    let terminals = b.config["mounts"][2]["options"].as_array_mut().unwrap();
    terminals.retain(|o| o != "gid=5");
    b.write();
    w.cmd("chown").args(["-R", "1000:1000"]).arg(w.path("")).run().ok();
    b
}

#[test]
fn memory_limit_on_cgroup_v2_as_root() {
    needs!(Guests);
    let w = World::new();
    let look = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max; cat /proc/self/cgroup";
    let b = w.bundle("b", &["sh", "-c", look]);
    let b = b.with("/linux/resources/memory", json!({"limit": 48 << 20}));
    let b = b.with("/linux/resources/pids", json!({"limit": 33}));
    let b = b.with("/linux/cgroupsPath", "/boxes/one".into());
    let script = format!(
        "cp -a /w/{} /b; cd /b; /dhow/dhow-runtime run one; \
         [ ! -e /sys/fs/cgroup/boxes/one ] && echo gone",
        b.dir().file_name().unwrap().to_string_lossy()
    );
    guest(&w, &[], &script).run().ok().out_is("50331648\n33\n0::/\ngone");
}

#[test]
fn devices_are_held_back_on_cgroup_v2() {
    needs!(Guests);
    let w = World::new();
    let b = w.bundle("b", &["sh", "-c", "head -c1 /dev/held 2>&1; head -c2 /dev/zero | wc -c"]);
    let held =
        json!([{"path": "/dev/held", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666}]);
    let b = b.with("/linux/devices", held);
    let script = format!(
        "cp -a /w/{} /b; cd /b; /dhow/dhow-runtime run one",
        b.dir().file_name().unwrap().to_string_lossy()
    );
    let done = guest(&w, &[], &script).run().ok();
    assert!(done.out().contains("not permitted") && done.out().ends_with('2'), "{done}");
}

#[test]
fn rootless_with_a_delegated_cgroup() {
    needs!(Guests);
    let w = World::new();
    let look = "id -u; cat /proc/self/uid_map; cat /sys/fs/cgroup/memory.max";
    let b = w.bundle("b", &["sh", "-c", look]);
    let b = b.with("/linux/resources", json!({"memory": {"limit": 40 << 20}}));
    let b = for_tester(&w, b.with("/linux/cgroupsPath", "/user-1000/one".into()));
    let script = format!(
        "cp -r --preserve=mode,links /w/{} ~/b; cd ~/b; /dhow/dhow-runtime run one; \
         [ ! -e /sys/fs/cgroup/user-1000/one ] && echo gone",
        b.dir().file_name().unwrap().to_string_lossy()
    );
    let done = guest(&w, &["--user"], &script).run().ok();
    let words: Vec<String> = done.out().split_whitespace().map(str::to_owned).collect();
    assert_eq!(words, ["0", "0", "1000", "1", "41943040", "gone"], "{done}");
}

#[test]
fn rootless_without_a_cgroup() {
    needs!(Guests);
    let w = World::new();
    let b = w.bundle("b", &["sh", "-c", "id -u; hostname"]);
    let b = b.with("/linux/resources", json!({}));
    let b = for_tester(&w, b.with("/linux/cgroupsPath", json!(null)));
    let script = format!(
        "cp -r --preserve=mode,links /w/{} ~/b; cd ~/b; /dhow/dhow-runtime run one",
        b.dir().file_name().unwrap().to_string_lossy()
    );
    guest(&w, &["--user"], &script).run().ok().out_is("0\nbox");
}
