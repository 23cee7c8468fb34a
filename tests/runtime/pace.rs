//! Many containers, and what one costs: at once, one after another, beside others, in little memory.

use std::collections::BTreeSet;
use std::fs;

use e2e::bundle::Bundle;
use e2e::{Cmd, World, leaks, needs};
use serde_json::{Value, json};

/// More where there is time for it.
fn amount(short: usize, long: usize) -> usize {
    if std::env::var_os("DHOW_LONG").is_some() { long } else { short }
}

/// One whose containers have groups by their ids.
fn bundle(w: &World, args: &[&str]) -> Bundle {
    w.bundle("b", args).with("/linux/cgroupsPath", json!(""))
}

fn run(w: &World, b: &Bundle, id: &str) -> Cmd {
    w.runtime_cmd(["run", "-b", b.path(), id])
}

#[test]
fn fifty_start_at_once() {
    let w = World::new();
    let b = bundle(&w, &["echo", "afloat"]);
    let ids: Vec<String> = (0..50).map(|n| w.id(&format!("c{n}"))).collect();
    let started: Vec<_> = ids.iter().map(|id| run(&w, &b, id).start()).collect();
    for child in started {
        let done = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{said}");
        assert_eq!(done.stdout, b"afloat\n");
    }
    assert_eq!(fs::read_dir(w.runtime_root()).unwrap().count(), 0);
}

/// What a container could leave that nobody's name is on.
fn held() -> [usize; 3] {
    let lines = |file| fs::read_to_string(file).unwrap().lines().count();
    let namespaces = fs::read_dir("/proc").unwrap().flatten();
    let namespaces: BTreeSet<_> =
        namespaces.filter_map(|p| fs::read_link(p.path().join("ns/net")).ok()).collect();
    [lines("/proc/self/mountinfo"), namespaces.len(), leaks::cgroups().len()]
}

#[test]
fn one_after_another_leave_nothing() {
    let w = World::new();
    let b = bundle(&w, &["true"]);
    let count = amount(20, 1000);
    let before = held();
    for n in 0..count {
        run(&w, &b, &w.id(&format!("c{n}"))).run().ok().out_is("");
    }
    assert_eq!(fs::read_dir(w.runtime_root()).unwrap().count(), 0);
    // Others come and go meanwhile; what each run leaves adds up to more than that.
    if count == 1000 {
        let grown: Vec<usize> =
            held().iter().zip(before).map(|(now, then)| now.saturating_sub(then)).collect();
        assert!(
            grown.iter().all(|more| *more < count / 10),
            "mounts, namespaces, groups: {grown:?}"
        );
    }
}

/// How many system calls a run makes, its program's included; those that only a debug build
/// makes, to see that what it closes is open, are left out.
fn calls(w: &World, b: &Bundle, id: &str) -> u64 {
    let table = w.path("calls");
    let strace = ["strace", "-f", "-c", "-U", "calls,name", "-o"].map(Into::into);
    let strace = strace.into_iter().chain([table.clone().into_os_string()]);
    run(w, b, id).under(strace).run().ok();
    let text = fs::read_to_string(table).unwrap();
    let rows = text.lines().filter_map(|line| line.trim().split_once(' '));
    let rows = rows.filter(|(_, name)| !["total", "fcntl"].contains(&name.trim()));
    rows.filter_map(|(calls, _)| calls.parse::<u64>().ok()).sum()
}

#[test]
fn a_run_costs_the_same_beside_others() {
    needs!(Cgroupfs);
    let w = World::new();
    let b = bundle(&w, &["true"]);
    let sleeper = w.bundle("s", &["sleep", "1000"]).with("/linux/cgroupsPath", json!(""));
    let alone = calls(&w, &b, &w.id("alone"));
    let ids: Vec<String> = (0..amount(10, 1000)).map(|n| w.id(&format!("s{n}"))).collect();
    for id in &ids {
        // Its output is the container's, and stays open.
        let quiet = ["sh", "-c", "exec \"$@\" >/dev/null 2>&1", "sh"];
        w.runtime_cmd(["run", "-d", "-b", sleeper.path(), id]).under(quiet).run().ok();
    }
    let beside = calls(&w, &b, &w.id("beside"));
    for id in &ids {
        w.runtime(["delete", "-f", id]).ok();
    }
    // One that is reaped as an orphan, or a signal more or less.
    assert!(beside.abs_diff(alone) <= 4, "{alone} calls alone, {beside} beside {}", ids.len());
}

/// The promise of docs/performance.md; how many there are depends on the host's hierarchies.
#[test]
fn a_run_makes_few_calls() {
    needs!(Root, Cgroupfs);
    let w = World::new();
    let b = bundle(&w, &["/bin/true"]);
    let hierarchies = fs::read_to_string("/proc/self/cgroup").unwrap().lines().count() as u64;
    let calls = calls(&w, &b, &w.id("few"));
    assert!(calls <= 236 + 6 * hierarchies, "{calls} calls, {hierarchies} hierarchies");
}

#[test]
fn a_container_starts_in_256_kib() {
    let w = World::new();
    let limit: Value = json!({"limit": 256 << 10, "swap": 256 << 10});
    let b = w.bundle("b", &["/bin/true"]).with("/linux/resources/memory", limit);
    // KERNEL: memory is charged in batches, 64 pages a processor. Who comes to another one on a machine
    // with much to do may be killed before the first one's rest is given back.
    let codes = (0..20).map(|_| run(&w, &b, b.id()).run().code);
    assert_eq!(codes.filter(|&code| code == 0).take(5).count(), 5);
}
