//! pause, resume, update: a container that runs, changed.

use e2e::bundle::Bundle;
use e2e::place::Need::Linux;
use e2e::{World, needs};

use super::lifecycle::create;

fn running(w: &World) -> Bundle {
    let b = w.bundle("b", &["sh", "-c", "while :; do echo tick; sleep 0.05; done"]);
    create(w, &b);
    w.runtime(["start", b.id()]).ok();
    b
}

#[test]
fn a_paused_container_stands_still_until_it_is_resumed() {
    let w = World::new();
    let b = running(&w);
    let id = b.id();
    let status = || w.runtime(["state", id]).ok().json()["status"].clone();
    w.runtime(["pause", id]).ok();
    assert_eq!(status(), "paused");
    w.runtime(["pause", id]).refused().err_has("not running");
    w.runtime(["exec", id, "true"]).code(255).err_has("--ignore-paused");
    w.runtime(["resume", id]).ok();
    assert_eq!(status(), "running");
    w.runtime(["resume", id]).refused().err_has("not paused");
    w.runtime(["exec", id, "true"]).ok();
    w.runtime(["delete", "-f", id]).ok();
}

#[test]
fn a_paused_container_can_be_deleted_by_force() {
    let w = World::new();
    let b = running(&w);
    w.runtime(["pause", b.id()]).ok();
    w.runtime(["delete", "-f", b.id()]).ok();
    w.runtime(["state", b.id()]).refused();
}

/// On cgroup v2 the frozen die of the signal itself, and systemd removes a scope that is empty: here it
/// has all the time for that before the runtime goes on.
#[test]
fn bug_a_kill_of_a_paused_container_failed_when_its_group_went_first() {
    let w = World::new();
    let b = running(&w);
    w.runtime(["pause", b.id()]).ok();
    let slow = ["strace", "-qq", "-e", "trace=pidfd_send_signal", "-o", "/dev/null"];
    let slow = [&slow[..], &["-e", "inject=pidfd_send_signal:delay_exit=2000000"]].concat();
    w.runtime_cmd(["kill", b.id(), "KILL"]).under(slow).run().ok();
    super::lifecycle::wait_for(&w, b.id(), "stopped");
    w.runtime(["delete", b.id()]).ok();
}

#[test]
fn update_changes_limits_up_and_down_and_keeps_the_others() {
    let w = World::new();
    let b = running(&w);
    let id = b.id();
    let limit = |v1: &str, v2: &str| {
        let look = format!("cat /sys/fs/cgroup/{v1} 2>/dev/null || cat /sys/fs/cgroup/{v2}");
        w.runtime(["exec", id, "sh", "-c", &look]).ok().out()
    };
    let memory = || limit("memory/memory.limit_in_bytes", "memory.max");
    let pids = || limit("pids/pids.max", "pids.max");
    w.runtime(["update", "--memory", "64m", "--memory-swap", "64m", "--pids-limit", "40", id]).ok();
    assert_eq!((memory(), pids()), ("67108864".into(), "40".into()));
    w.runtime(["update", "--memory", "128m", "--memory-swap", "160m", id]).ok();
    assert_eq!((memory(), pids()), ("134217728".into(), "40".into()));
    w.runtime(["update", "--memory", "32m", "--memory-swap", "32m", id]).ok();
    assert_eq!(memory(), "33554432");
    let json = r#"{"pids":{"limit":50}}"#;
    w.runtime_cmd(["update", "-r", "-", id]).stdin(json).run().ok();
    assert_eq!((memory(), pids()), ("33554432".into(), "50".into()));
    w.runtime(["update", "--memory", "lots", id]).refused();
    w.runtime(["delete", "-f", id]).ok();
}

#[test]
fn a_memory_limit_below_what_is_used_is_refused_when_asked_to_check() {
    let w = World::new();
    let b = running(&w);
    let id = b.id();
    let json = r#"{"memory":{"limit":4096,"checkBeforeUpdate":true}}"#;
    let done = w.runtime_cmd(["update", "-r", "-", id]).stdin(json).run().refused();
    done.err_has("/linux/resources/memory/limit").err_has("rejecting memory limit 4096 <= usage ");
    let json = r#"{"memory":{"limit":67108864,"checkBeforeUpdate":true}}"#;
    w.runtime_cmd(["update", "-r", "-", id]).stdin(json).run().ok();
    w.runtime(["delete", "-f", id]).ok();
}

/// A file of the container's group, by its names in v1 and v2.
fn group(w: &World, id: &str, v1: &str, v2: &str) -> String {
    let look = format!("cat /sys/fs/cgroup/{v1} 2>/dev/null || cat /sys/fs/cgroup/{v2}");
    w.runtime(["exec", id, "sh", "-c", &look]).ok().out()
}

#[test]
fn quota_and_period_are_updated_each_by_itself() {
    let w = World::new();
    let b = running(&w);
    let id = b.id();
    let cpu = || {
        let old = group(&w, id, "cpu/cpu.cfs_quota_us", "cpu.max");
        format!("{old} {}", group(&w, id, "cpu/cpu.cfs_period_us", "absent || true"))
    };
    w.runtime(["update", "--cpu-quota", "500000", "--cpu-period", "1000000", id]).ok();
    assert_eq!(cpu().trim(), "500000 1000000");
    w.runtime(["update", "--cpu-period", "900000", id]).ok();
    assert_eq!(cpu().trim(), "500000 900000");
    w.runtime(["update", "--cpu-quota", "600000", id]).ok();
    assert_eq!(cpu().trim(), "600000 900000");
    // KERNEL: 5.14.
    if Linux(5, 14).is_met() {
        w.runtime(["update", "--cpu-burst", "1000", id]).ok();
    }
    w.runtime(["update", "--cpu-period", "10000", "--cpu-quota", "3000", id]).ok();
    assert_eq!(cpu().trim(), "3000 10000");
    w.runtime(["update", "--cpu-quota", "-1", id]).ok();
    assert_eq!(cpu().trim().replace("max", "-1"), "-1 10000");
    w.runtime(["delete", "-f", id]).ok();
}

#[test]
fn an_update_that_fails_half_way_changes_nothing() {
    let w = World::new();
    let b = running(&w);
    let id = b.id();
    w.runtime(["update", "--memory", "64m", "--pids-limit", "40", "--cpu-share", "512", id]).ok();
    let all = || {
        [("memory/memory.limit_in_bytes", "memory.max"), ("pids/pids.max", "pids.max")]
            .map(|(v1, v2)| group(&w, id, v1, v2))
    };
    let before = all();
    let json = r#"{"memory":{"limit":33554432},"pids":{"limit":30},"cpu":{"shares":300,"idle":7}}"#;
    let done = w.runtime_cmd(["update", "-r", "-", id]).stdin(json).run().refused();
    done.err_has("/linux/resources/cpu/idle");
    assert_eq!(all(), before);
    let shares = group(&w, id, "cpu/cpu.shares", "cpu.weight");
    assert!(["512", "59", "60"].contains(&shares.as_str()), "{shares}");
    w.runtime(["delete", "-f", id]).ok();
}

#[test]
fn a_created_and_a_paused_container_are_updated_and_a_stopped_one_is_not() {
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let id = b.id();
    create(&w, &b);
    w.runtime(["update", "--pids-limit", "30", id]).ok();
    w.runtime(["start", id]).ok();
    assert_eq!(group(&w, id, "pids/pids.max", "pids.max"), "30");
    w.runtime(["pause", id]).ok();
    w.runtime(["update", "--pids-limit", "31", id]).ok();
    assert_eq!(super::lifecycle::status(&w, id), "paused");
    w.runtime(["resume", id]).ok();
    assert_eq!(group(&w, id, "pids/pids.max", "pids.max"), "31");
    w.runtime(["kill", id, "KILL"]).ok();
    super::lifecycle::wait_for(&w, id, "stopped");
    w.runtime(["update", "--pids-limit", "5", id]).refused().err_has("container not running");
    w.runtime(["delete", id]).ok();
}

#[test]
fn kernel_memory_is_passed_over_with_a_warning() {
    let w = World::new();
    let b = running(&w);
    let said = "Kernel memory settings are ignored and will be removed";
    w.runtime(["update", "--kernel-memory", "50m", b.id()]).ok().err_has(said);
    w.runtime(["delete", "-f", b.id()]).ok();
    let b = w
        .bundle("c", &["true"])
        .with("/linux/resources/memory", serde_json::json!({"kernelTCP": 9}));
    w.runtime(["run", "-b", b.path(), b.id()]).ok().err_has(said);
}

#[test]
fn no_tasks_at_all_means_none_until_version_1_3_and_one_since() {
    needs!(Cgroupfs, Root);
    let w = World::new();
    for (version, limit) in [("1.0.2", "max"), ("1.3.0", "1")] {
        let b = w.bundle("b", &["sleep", "1000"]).with("/ociVersion", version.into());
        let b = b.with("/linux/resources/pids", serde_json::json!({"limit": 0}));
        create(&w, &b);
        let path = ["pids/", ""].map(|old| format!("/sys/fs/cgroup/{old}{}/pids.max", b.id()));
        let found = path.iter().find_map(|path| std::fs::read_to_string(path).ok()).unwrap();
        assert_eq!(found.trim(), limit, "{version}");
        w.runtime(["delete", "-f", b.id()]).ok();
        std::fs::remove_dir_all(b.dir()).unwrap();
    }
}

#[test]
fn a_group_with_processes_or_frozen_is_no_place_for_a_container() {
    needs!(Cgroupfs, Root);
    let w = World::new();
    let b = running(&w);
    let other = w.bundle("c", &["true"]);
    let other = other.with("/linux/cgroupsPath", format!("/{}", b.id()).into());
    let done = w.runtime(["run", "-b", other.path(), other.id()]).refused();
    done.err_has("container's cgroup is not empty: ");
    w.runtime(["delete", "-f", b.id()]).ok();

    let own = format!("/{}", other.id());
    let other = other.with("/linux/cgroupsPath", own.into());
    let at = ["freezer/", ""].map(|old| format!("/sys/fs/cgroup/{old}{}", other.id()));
    let (dir, file, value) = if std::path::Path::new("/sys/fs/cgroup/freezer").exists() {
        (&at[0], "freezer.state", "FROZEN")
    } else {
        (&at[1], "cgroup.freeze", "1")
    };
    std::fs::create_dir(dir).unwrap();
    std::fs::write(format!("{dir}/{file}"), value).unwrap();
    let done = w.runtime(["run", "-b", other.path(), other.id()]).refused();
    done.err_has("container's cgroup unexpectedly frozen");
    std::fs::remove_dir(dir).unwrap();
}
