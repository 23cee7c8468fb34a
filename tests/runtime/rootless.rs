//! The runtime as a user who isn't root, on the machine's own cgroups (where it has none).

use std::fs;

use e2e::bundle::Bundle;
use e2e::{Done, World, needs, program};
use serde_json::json;

/// A bundle for uid 1000, without what needs a real root.
pub fn bundle(w: &World, name: &str, args: &[&str]) -> Bundle {
    let b = w.bundle(name, args);
    let one = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    let b = b.and("/linux/namespaces", json!({"type": "user"}));
    let b = b.with("/linux/uidMappings", one.clone()).with("/linux/gidMappings", one);
    let b = b.with("/linux/cgroupsPath", json!(null)).with("/linux/resources", json!({}));
    let mut b = b;
    // What needs a real root: a gid that isn't mapped, a sysfs of a network namespace is fine.
    for mount in b.config["mounts"].as_array_mut().unwrap() {
        let options = mount["options"].as_array_mut().unwrap();
        options.retain(|o| o != "gid=5");
    }
    b.write();
    b
}

/// `dhow-runtime run` of uid 1000, with commands before it.
fn run_as_user(w: &World, b: &Bundle, under: &[&str]) -> Done {
    // The programs may stand where uid 1000 can't go.
    let copy = w.path("dhow-runtime");
    fs::copy(program("dhow-runtime"), &copy).unwrap();
    w.cmd("chown").args(["-R", "1000:1000"]).arg(w.path("")).run().ok();
    let user = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"];
    let run =
        w.cmd(copy).arg("--root").arg(w.path("runtime")).env("XDG_RUNTIME_DIR", w.path("home"));
    run.args(["run", "-b", b.path(), b.id()]).under([&user, under].concat()).run()
}

#[test]
fn uid_1000_runs_a_container_in_its_own_user_namespace() {
    needs!(Root);
    let w = World::new();
    let b = bundle(&w, "b", &["sh", "-c", "id -u; cat /proc/self/uid_map"]);
    let done = run_as_user(&w, &b, &[]).ok();
    let words: Vec<String> = done.out().split_whitespace().map(str::to_owned).collect();
    assert_eq!(words, ["0", "0", "1000", "1"]);
}

/// Once the container's first process is root in its namespace, its files in /proc are root's alone;
/// a runtime that is slow at opening them was too late.
#[test]
fn bug_a_user_s_oom_score_was_now_and_then_set_too_late() {
    needs!(Root);
    let w = World::new();
    let b = bundle(&w, "b", &["cat", "/proc/self/oom_score_adj"]);
    let b = b.with("/process/oomScoreAdj", 700.into());
    let slow = ["strace", "-qq", "-e", "trace=openat,openat2", "-o", "/dev/null"];
    let slow = [&slow[..], &["-e", "inject=openat,openat2:delay_enter=20000"]].concat();
    run_as_user(&w, &b, &slow).ok().out_is("700");
}
