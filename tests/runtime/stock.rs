//! What a stock kernel has and User Mode Linux hasn't: in guests of QEMU (`conformance/qemu.sh`).

use e2e::bundle::Bundle;
use e2e::{Cmd, World, fixtures, needs, program};
use serde_json::json;

use super::lifecycle::create;

/// The group's own files, and where a process of it may run.
const SETS: &str = "cd /sys/fs/cgroup; cat cpuset.cpus cpuset.cpus.effective cpuset.mems; \
    grep Cpus_allowed_list /proc/self/status";

fn sets(w: &World, b: &Bundle) -> Vec<String> {
    w.runtime(["exec", b.id(), "sh", "-c", SETS]).ok().lines()
}

#[test]
fn cpuset_of_cgroup_v2_holds_and_follows_an_update() {
    needs!(StockKernel);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let b = b.with("/linux/resources/cpu", json!({"cpus": "1", "mems": "0"}));
    create(&w, &b);
    w.runtime(["start", b.id()]).ok();
    assert_eq!(sets(&w, &b), ["1", "1", "0", "Cpus_allowed_list:\t1"]);
    w.runtime(["update", "--cpuset-cpus", "0", b.id()]).ok();
    assert_eq!(sets(&w, &b), ["0", "0", "0", "Cpus_allowed_list:\t0"]);
    w.runtime(["update", "--cpuset-cpus", "0-1", "--cpuset-mems", "0", b.id()]).ok();
    assert_eq!(sets(&w, &b), ["0-1", "0-1", "0", "Cpus_allowed_list:\t0-1"]);
    w.runtime(["update", "--cpuset-mems", "7", b.id()]).refused().err_has("cpuset.mems");
    assert_eq!(sets(&w, &b)[2], "0");
    w.runtime(["delete", "-f", b.id()]).ok();
}

/// A process of `exec` begins on the CPUs that the config says, inside of the group's own.
#[test]
fn affinity_of_exec_stays_inside_the_cpuset() {
    needs!(StockKernel);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let b = b.with("/linux/resources/cpu", json!({"cpus": "0-1", "mems": "0"}));
    let b = b.with("/process/execCPUAffinity", json!({"initial": "1", "final": "1"}));
    create(&w, &b);
    w.runtime(["start", b.id()]).ok();
    assert_eq!(sets(&w, &b), ["0-1", "0-1", "0", "Cpus_allowed_list:\t1"]);
    w.runtime(["delete", "-f", b.id()]).ok();
}

#[test]
fn a_quota_holds_what_runs_on_two_processors() {
    needs!(StockKernel);
    let w = World::new();
    let busy = "for i in 1 2; do (while [ ! -e /end ]; do :; done) & done; sleep 4; : >/end; wait; \
        sed -n 's/^usage_usec //p' /sys/fs/cgroup/cpu.stat";
    let used = |cpu: serde_json::Value| {
        let b = w.bundle("b", &["sh", "-c", busy]).with("/linux/resources/cpu", cpu);
        let begun = std::time::Instant::now();
        let used = w.runtime(["run", "-b", b.path(), b.id()]).ok().out().parse::<f64>().unwrap();
        std::fs::remove_dir_all(b.dir()).unwrap();
        used / 1e6 / begun.elapsed().as_secs_f64()
    };
    let (all, half) = (used(json!({})), used(json!({"quota": 50_000, "period": 100_000})));
    // The host may be busy, and lend the guest less than its two.
    assert!(half < 0.7, "with a quota of half a CPU: {half} CPUs");
    assert!(all > half * 1.2, "without a quota: {all} CPUs, with one: {half}");
}

#[test]
fn apparmor_s_profile_is_enforced_on_a_stock_kernel() {
    needs!(StockKernel, Root);
    let w = World::new();
    let profile = "profile dhow-stock flags=(attach_disconnected) { file, capability, network, \
        signal, mount, deny /tmp/held w, }";
    std::fs::write(w.path("profile"), profile).unwrap();
    w.cmd("apparmor_parser").args(["-r", "-W"]).arg(w.path("profile")).run().ok();
    let script = "cat /proc/self/attr/current; echo x >/tmp/held 2>/dev/null || echo denied; \
        echo x >/tmp/free && echo written";
    let b = w.bundle("b", &["sh", "-c", script]);
    let b = b.with("/process/apparmorProfile", "dhow-stock".into());
    let expected = "dhow-stock (enforce)\ndenied\nwritten";
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is(expected);
    let b = b.with("/process/args", json!(["sleep", "1000"]));
    create(&w, &b);
    w.runtime(["start", b.id()]).ok();
    w.runtime(["exec", b.id(), "sh", "-c", script]).ok().out_is(expected);
    w.runtime(["delete", "-f", b.id()]).ok();
    let b = b.with("/process/apparmorProfile", "dhow-none".into());
    w.runtime(["run", "-b", b.path(), b.id()]).refused().err_has("dhow-none");
    w.cmd("apparmor_parser").arg("-R").arg(w.path("profile")).run().ok();
}

/// podman's, of Debian, with a store in the world.
fn podman(w: &World, args: &[&str]) -> Cmd {
    let manager = if e2e::place::mode().by_systemd() { "systemd" } else { "cgroupfs" };
    w.cmd("podman")
        .arg("--root")
        .arg(w.path("podman"))
        .arg("--runroot")
        .arg(w.path("podman-run"))
        .arg("--runtime")
        .arg(program("dhow-runtime"))
        .args(["--cgroup-manager", manager, "--events-backend=none", "--log-level=error"])
        .args(args)
        .limit(120)
}

#[test]
fn podman_checkpoints_and_restores() {
    needs!(StockKernel, Root);
    let w = World::new();
    let policy = w.path("policy.json");
    std::fs::write(&policy, r#"{"default":[{"type":"insecureAcceptAnything"}]}"#).unwrap();
    let archive = fixtures::archives().join("busybox.tar").display().to_string();
    let policy = policy.to_str().unwrap();
    podman(&w, &["load", "-q", "--signature-policy", policy, "-i", &archive]).run().ok();
    let count = "i=0; while :; do i=$((i+1)); echo $i >/count; sleep 0.1; done";
    let run = ["run", "-d", "--name", "c", "--network=none", "busybox", "sh", "-c", count];
    podman(&w, &run).run().ok();
    let counted = || {
        let done = podman(&w, &["exec", "c", "cat", "/count"]).run();
        done.ok().out().parse::<u32>().unwrap_or(0)
    };
    e2e::until("it counts", || counted() > 3);
    let status = || podman(&w, &["inspect", "-f", "{{.State.Status}}", "c"]).run().ok().out();
    for keep in [false, true] {
        let before = counted();
        podman(
            &w,
            if keep {
                &["container", "checkpoint", "--keep", "c"]
            } else {
                &["container", "checkpoint", "c"]
            },
        )
        .run()
        .ok();
        assert_eq!(status(), "exited");
        podman(&w, &["container", "restore", "c"]).run().ok();
        assert_eq!(status(), "running");
        assert!(counted() >= before, "it went on");
    }
    podman(&w, &["rm", "-f", "-t", "0", "c"]).run().ok();
}
