//! When and where a process runs: CPUs, scheduler, priorities, memory policy, personality.

use e2e::{World, needs};
use serde_json::json;

use super::lifecycle::create;

/// Policy, realtime priority and nice value of the process that looks.
const SCHED: &str = "awk '{print $41, $40, $19}' /proc/self/stat";

const CPUS: &str = "grep Cpus_allowed_list /proc/self/status";

/// Of these, whoever asks gets what its cpuset has, where it itself is bound to less, too.
const ANY: &str = "0-1023";

#[test]
fn scheduler_policies_are_set_on_the_first_process_and_on_exec() {
    needs!(Root);
    let w = World::new();
    for (policy, seen) in [
        (json!({"policy": "SCHED_OTHER", "nice": 7}), "0 0 7"),
        (json!({"policy": "SCHED_BATCH", "nice": -3}), "3 0 -3"),
        (json!({"policy": "SCHED_IDLE"}), "5 0 0"),
    ] {
        let word = policy["policy"].as_str().unwrap().to_owned();
        let b = w.bundle(&word, &["sh", "-c", &format!("{SCHED} >/seen; exec sleep 1000")]);
        let b = b.with("/process/scheduler", policy);
        create(&w, &b);
        w.runtime(["start", b.id()]).ok();
        w.runtime(["exec", b.id(), "sh", "-c", SCHED]).ok().out_is(seen);
        e2e::until("the first has looked", || {
            std::fs::read_to_string(b.rootfs("seen")).is_ok_and(|t| t.trim_end() == seen)
        });
        w.runtime(["delete", "-f", b.id()]).ok();
    }
}

#[test]
fn deadline_scheduling_with_the_specs_own_flag_names_is_set_after_the_hooks() {
    needs!(Root);
    let w = World::new();
    let b = w.bundle("b", &["sh", "-c", &format!("{SCHED}; true")]);
    let b = b.with("/hooks/createContainer", json!([{"path": "/bin/true"}]));
    // KERNEL: sched(7): without RESET_ON_FORK such a process can't fork; awk is a child.
    let deadline = json!({"policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 10_000_000,
        "period": 10_000_000, "flags": ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_DL_OVERRUN"]});
    let b = b.with("/process/scheduler", deadline);
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("0 0 0");
    let b = b.with("/process/args", json!(["awk", "{print $41}", "/proc/self/stat"]));
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("6");
}

#[test]
fn deadline_on_cpus_of_its_own_is_refused_in_runcs_words() {
    needs!(FullKernel);
    let w = World::new();
    let deadline = json!({"policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 10_000_000,
        "period": 10_000_000});
    let b = w.bundle("b", &["true"]).with("/process/scheduler", deadline);
    let b = b.with("/linux/resources/cpu", json!({"cpus": "0", "mems": "0"}));
    let done = w.runtime(["run", "-b", b.path(), b.id()]).refused();
    done.err_has("process scheduler can't be used together with AllowedCPUs");
}

#[test]
fn io_priority_is_set() {
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let b = b.with("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 6}));
    create(&w, &b);
    w.runtime(["start", b.id()]).ok();
    let pid = w.runtime(["state", b.id()]).ok().json()["pid"].to_string();
    w.cmd("ionice").args(["-p", &pid]).run().ok().out_is("best-effort: prio 6");
    w.runtime(["delete", "-f", b.id()]).ok();
}

#[test]
fn wrong_scheduling_is_refused_by_its_place() {
    let w = World::new();
    for (at, value, part) in [
        ("/process/scheduler", json!({"policy": "SCHED_OTHER", "priority": 3}), "priority"),
        ("/process/scheduler", json!({"policy": "SCHED_OTHER", "flags": ["X"]}), "flags/0"),
        ("/process/ioPriority", json!({"class": "IOPRIO_CLASS_RT", "priority": 8}), "priority"),
        ("/process/execCPUAffinity", json!({"final": "3-1"}), "final"),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_BIND"}), "nodes"),
    ] {
        let b = w.bundle(&at.replace('/', "-"), &["true"]).with(at, value);
        let done = w.runtime(["run", "-b", b.path(), b.id()]).refused();
        done.err_has(at).err_has(part);
    }
}

#[test]
fn memory_policy_is_set_on_the_first_process_and_on_exec() {
    needs!(Root, FullKernel);
    let w = World::new();
    let look = "head -n 1 /proc/self/numa_maps | cut -d' ' -f2";
    let b = w.bundle("b", &["sleep", "1000"]);
    let policy = json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]});
    let b = b.with("/linux/memoryPolicy", policy);
    create(&w, &b);
    w.runtime(["start", b.id()]).ok();
    w.runtime(["exec", b.id(), "sh", "-c", look]).ok().out_is("bind=static:0");
    let first = look.replace("self", "1");
    w.runtime(["exec", b.id(), "sh", "-c", &first]).ok().out_is("bind=static:0");
    w.runtime(["delete", "-f", b.id()]).ok();
    // What the kernel refuses is said with the field's name.
    let nowhere = json!({"mode": "MPOL_BIND", "nodes": "1000"});
    let b = b.with("/linux/memoryPolicy", nowhere);
    w.runtime(["run", "-b", b.path(), b.id()]).refused().err_has("linux.memoryPolicy");
}

#[test]
fn exec_cpu_affinity_final_is_where_the_process_runs() {
    needs!(FullKernel);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let b = b.with("/process/execCPUAffinity", json!({"initial": "0", "final": "0-1"}));
    create(&w, &b);
    w.runtime(["start", b.id()]).ok();
    let done = w.runtime(["--debug", "exec", b.id(), "sh", "-c", CPUS]).ok();
    assert_eq!(done.err_has("affinity: 0x1").out(), "Cpus_allowed_list:\t0-1");
    // Its own process is another matter: SPEC: config.md, not applicable to init.
    let all = w.cmd("taskset").args(["-c", ANY, "sh", "-c", CPUS]).run().ok().out();
    w.runtime(["exec", b.id(), "grep", "Cpus_allowed_list", "/proc/1/status"]).ok().out_is(&all);
    let file = w.path("process.json");
    for (affinity, seen) in [
        (json!({"initial": "1", "final": "1"}), "1"),
        (json!({"initial": "1"}), "1"),
        (json!({"final": "0"}), "0"),
    ] {
        let args = ["sh", "-c", CPUS];
        let p =
            json!({"args": args, "cwd": "/", "env": ["PATH=/bin"], "execCPUAffinity": affinity});
        std::fs::write(&file, p.to_string()).unwrap();
        let done = w.runtime(["exec", "-p", file.to_str().unwrap(), b.id()]).ok();
        done.out_is(&format!("Cpus_allowed_list:\t{seen}"));
    }
    w.runtime(["delete", "-f", b.id()]).ok();
}

#[test]
fn cpu_affinity_of_the_caller_is_not_the_containers() {
    needs!(FullKernel);
    let w = World::new();
    let all = w.cmd("taskset").args(["-c", ANY, "sh", "-c", CPUS]).run().ok().out();
    let b = w.bundle("b", &["sh", "-c", CPUS]);
    let bound = ["taskset", "-c", "0"];
    w.runtime_cmd(["run", "-b", b.path(), b.id()]).under(bound).run().ok().out_is(&all);
    let b = b.with("/linux/resources/cpu", json!({"cpus": "1", "mems": "0"}));
    let run = w.runtime_cmd(["run", "-b", b.path(), b.id()]).under(bound);
    run.run().ok().out_is("Cpus_allowed_list:\t1");
    let b = b.with("/process/args", json!(["sleep", "1000"]));
    create(&w, &b);
    w.runtime(["start", b.id()]).ok();
    let exec = w.runtime_cmd(["exec", b.id(), "sh", "-c", CPUS]).under(bound);
    exec.run().ok().out_is("Cpus_allowed_list:\t1");
    w.runtime(["delete", "-f", b.id()]).ok();
}

#[test]
fn personality_linux32_is_seen_by_the_first_process_and_by_exec() {
    needs!(FullKernel);
    let w = World::new();
    let b = w.bundle("b", &["sh", "-c", "uname -m; exec sleep 1000"]);
    let b = b.with("/linux/personality", json!({"domain": "LINUX32"}));
    create(&w, &b);
    w.runtime(["start", b.id()]).ok();
    w.runtime(["exec", b.id(), "uname", "-m"]).ok().out_is("i686");
    w.runtime(["exec", b.id(), "cat", "/proc/1/personality"]).ok().out_is("00000008");
    w.runtime(["delete", "-f", b.id()]).ok();
}

#[test]
fn intel_rdt_without_resctrl_is_refused() {
    let w = World::new();
    if std::path::Path::new("/sys/fs/resctrl/tasks").exists() {
        return;
    }
    let b = w.bundle("b", &["sleep", "1000"]);
    create(&w, &b);
    let update = w.runtime(["update", "--l3-cache-schema", "L3:0=f", b.id()]).refused();
    update.err_has("l3 cache schema is not enabled");
    let update = w.runtime(["update", "--mem-bw-schema", "MB:0=20", b.id()]).refused();
    update.err_has("memory bandwidth schema is not enabled");
    w.runtime(["delete", "-f", b.id()]).ok();
    let b = b.with("/linux/intelRdt", json!({"l3CacheSchema": "L3:0=f"}));
    let done = w.runtime(["run", "-b", b.path(), b.id()]).refused();
    done.err_has("/linux/intelRdt").err_has("Intel RDT is not enabled");
    let b = b.with("/linux/intelRdt", json!({"closID": "a/b"}));
    w.runtime(["run", "-b", b.path(), b.id()]).refused().err_has("/linux/intelRdt/closID");
}
