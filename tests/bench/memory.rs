//! What an idle container costs in memory of its engine's: the private pages of its monitor (conmon,
//! containerd's shim), and how long many take that are started side by side.

use std::collections::BTreeSet;
use std::fs;
use std::time::Instant;

use e2e::World;

use crate::daily::engines;
use crate::peers::{Docker, release};

/// Containers alive at once, of each engine.
pub fn bench(count: usize) {
    let w = World::new();
    let docker = Docker::start(&w);
    let engines = engines(&w, docker.as_ref());
    let parent = w.cgroup_parent();
    println!("\n{count} containers alive, started side by side");
    println!("{:<12}{:>18}{:>22}{:>10}", "", "all up after s", "monitor, private KiB", "failed");
    for (name, cmd) in &engines {
        let before = processes();
        let began = Instant::now();
        let started: Vec<_> = (0..count)
            .map(|i| {
                let (name, rest) =
                    (format!("c{i}"), ["--network", "none", "busybox", "sleep", "600"]);
                let first = ["run", "-d", "--name", &name, "--cgroup-parent", &parent];
                let all: Vec<&str> = first.iter().chain(&rest).copied().collect();
                cmd(&all).start()
            })
            .collect();
        let ends = started.into_iter().filter_map(|mut c| c.wait().ok());
        let failed = ends.filter(|s| !s.success()).count();
        assert!(*name != "dhow" || failed == 0, "{failed} of {count} did not start");
        let took = began.elapsed().as_secs_f64();
        let new: Vec<i32> = processes().difference(&before).copied().collect();
        let sizes: Vec<u64> = new.iter().filter_map(|pid| private_of_a_monitor(*pid)).collect();
        let each = sizes.iter().sum::<u64>() / sizes.len().max(1) as u64;
        println!("{name:<12}{took:>18.2}{each:>22}{failed:>10}");
        let alive = cmd(&["ps", "-q"]).run().ok().lines();
        assert_eq!(alive.len() + failed, count, "{name}");
        let mut args = vec!["rm", "-f"];
        args.extend(alive.iter().map(String::as_str));
        cmd(&args).limit(600).run().ok();
    }
    release(&w, "podman");
}

fn processes() -> BTreeSet<i32> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|e| e.file_name().to_string_lossy().parse().ok()).collect()
}

/// The private memory in KiB, if this is a process that watches over a container.
fn private_of_a_monitor(pid: i32) -> Option<u64> {
    let exe = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let name = exe.file_name()?.to_str()?.to_owned();
    if !["dhow", "conmon", "containerd-shim-runc-v2"].contains(&name.as_str()) {
        return None;
    }
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let sum = rollup
        .lines()
        .filter(|l| l.starts_with("Private_"))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    Some(sum.sum())
}
