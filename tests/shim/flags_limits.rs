//! Limits and devices, read back from the container's own cgroups.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;

use e2e::{World, needs};
use nix::sys::stat::{major, minor};

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

/// What the files of the container's cgroups hold, by name; one read while it lives.
fn of_groups(w: &World, flags: &[&str], files: &[&str]) -> Vec<String> {
    let name = w.id("g");
    let run = ["run", "-d", "--name", &name];
    let id = w.dhow(run.iter().chain(flags).chain(&["busybox", "sleep", "1000"])).ok().out();
    let groups = e2e::leaks::cgroups();
    let read = |file: &&str| {
        let mut of = groups.iter().filter(|g| g.to_string_lossy().contains(&id));
        of.find_map(|g| fs::read_to_string(g.join(file)).ok()).unwrap_or_default().trim().to_owned()
    };
    let texts = files.iter().map(read).collect();
    w.dhow(["rm", "-f", &name]).ok();
    texts
}

fn is_v1() -> bool {
    PathBuf::from("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists()
}

/// A whole disk of this machine, and its number.
fn disk() -> Option<(String, String)> {
    let entries = fs::read_dir("/sys/block").ok()?.flatten();
    let mut disks = entries.filter_map(|e| {
        let name = e.file_name().into_string().ok()?;
        let number = fs::read_to_string(e.path().join("dev")).ok()?.trim().to_owned();
        let path = format!("/dev/{name}");
        let real = fs::metadata(&path).ok()?.file_type().is_block_device();
        (real && !name.starts_with("zram")).then_some((path, number))
    });
    disks.next()
}

#[test]
fn block_devices_are_throttled_by_their_numbers() {
    let w = world();
    let Some((path, number)) = disk() else { return };
    let (read, write) = (format!("{path}:1mb"), format!("{path}:100"));
    let flags = ["--device-read-bps", &read, "--device-write-iops", &write];
    if is_v1() {
        let files = ["blkio.throttle.read_bps_device", "blkio.throttle.write_iops_device"];
        let got = of_groups(&w, &flags, &files);
        assert_eq!(got, [format!("{number} 1048576"), format!("{number} 100")]);
    } else {
        let got = of_groups(&w, &flags, &["io.max"]);
        assert!(got[0].contains("rbps=1048576") && got[0].contains("wiops=100"), "{got:?}");
    }
    let none = w.dhow(["run", "--rm", "--device-read-bps", "/dev/nope:1mb", "busybox"]);
    none.code(125).err_has("/dev/nope");
    let none = w.dhow(["run", "--rm", "--device-read-bps", "/dev/null:1mb", "busybox"]);
    none.code(125).err_has("/dev/null");
    w.dhow(["ps", "-aq"]).ok().out_is("");
}

#[test]
fn cpus_memory_and_processes_are_limited() {
    let w = world();
    let flags = [
        "-m",
        "64m",
        "--memory-reservation",
        "32m",
        "--memory-swap",
        "100m",
        "-c",
        "512",
        "--cpu-period",
        "50000",
        "--cpu-quota",
        "25000",
        "--cpuset-cpus",
        "0",
        "--cpuset-mems",
        "0",
        "--pids-limit",
        "33",
    ];
    if !is_v1() {
        let got = of_groups(&w, &flags, &["memory.max", "memory.low", "cpu.max", "pids.max"]);
        assert_eq!(got, ["67108864", "33554432", "25000 50000", "33"]);
        return;
    }
    let files = [
        "memory.limit_in_bytes",
        "memory.soft_limit_in_bytes",
        "memory.memsw.limit_in_bytes",
        "cpu.shares",
        "cpu.cfs_period_us",
        "cpu.cfs_quota_us",
        "cpuset.cpus",
        "cpuset.mems",
        "pids.max",
    ];
    let swap = PathBuf::from("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists();
    let swap = if swap { "104857600" } else { "" };
    let got = of_groups(&w, &flags, &files);
    let want = ["67108864", "33554432", swap, "512", "50000", "25000", "0", "0", "33"];
    assert_eq!(got, want);
}

#[test]
fn what_the_old_memory_controller_can_it_does() {
    let w = world();
    if !is_v1() {
        let done = w.dhow(["run", "--rm", "--memory-swappiness", "7", "busybox", "true"]);
        done.ok().err_has("WARNING: Your kernel does not support memory swappiness");
        return;
    }
    let flags = ["--memory-swappiness", "7", "--oom-kill-disable", "-m", "32m"];
    let got = of_groups(&w, &flags, &["memory.swappiness", "memory.oom_control"]);
    assert_eq!(got[0], "7");
    assert!(got[1].contains("oom_kill_disable 1"), "{got:?}");
    let warned = w.dhow(["run", "--rm", "--oom-kill-disable", "busybox", "true"]);
    warned.ok().err_has("WARNING: OOM killer is disabled for the container");
}

#[test]
fn a_cgroup_has_the_parent_it_was_given() {
    needs!(Root);
    let w = world();
    let parent = w.cgroup_parent();
    let run = ["run", "--rm", "--cgroupns", "host", "--cgroup-parent", &parent, "busybox"];
    let said = w.dhow(run.iter().chain(&["cat", "/proc/self/cgroup"])).ok().out();
    assert!(said.contains(&format!("{parent}/dhow-")), "{said}");
    w.dhow(["run", "--rm", "--cgroup-parent", "/a/../b", "busybox"]).code(125).err_has("\"..\"");
}

#[test]
fn resource_limits_of_the_process() {
    let w = world();
    let script = "ulimit -Sn; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj";
    let flags = [
        "run",
        "--rm",
        "--ulimit",
        "nofile=1:2",
        "--ulimit",
        "nofile=100:200",
        "--ulimit",
        "core=0",
        "--oom-score-adj",
        "500",
    ];
    let command = ["busybox", "sh", "-c", script];
    w.dhow(flags.iter().chain(&command)).ok().out_is("100\n200\n0\n500");
}

#[test]
fn devices_come_with_their_names_rights_and_directories() {
    let w = world();
    let say = |flags: &[&str], script: &str| {
        let command = ["busybox", "sh", "-c", script];
        w.dhow(["run", "--rm"].iter().chain(flags).chain(&command))
    };
    let Ok(loops) = fs::metadata("/dev/loop-control") else { return };
    say(&["--device", "/dev/loop-control:/dev/l:r"], ": </dev/l && echo read; : >/dev/l")
        .code(1)
        .out_is("read")
        .err_has("Operation not permitted");
    // A directory brings all that lies below it.
    if PathBuf::from("/dev/net/tun").exists() {
        say(&["--device", "/dev/net:/dev/nets"], "test -c /dev/nets/tun && echo there")
            .ok()
            .out_is("there");
    }
    let (major, minor) = (major(loops.rdev()), minor(loops.rdev()));
    let rule = format!("c {major}:{minor} r");
    let make = format!("mknod /k c {major} {minor} && : </k && echo read");
    say(&["--device-cgroup-rule", &rule], &make).ok().out_is("read");
    assert_ne!(say(&[], &make).code, 0, "without the rule");
    say(&["--privileged", "--device", "/dev/null:/dev/other"], "test -c /dev/other").ok();
    say(&["--device", "/dev/nope"], "true")
        .code(125)
        .err_has("error gathering device information while adding custom device \"/dev/nope\"");
    say(&["--device", "/etc/passwd"], "true").code(125).err_has("not a device node");
}

#[test]
fn real_time_is_given_or_refused() {
    let w = world();
    let run = ["run", "--rm", "--cpu-rt-runtime", "1000", "--cpu-rt-period", "500000", "busybox"];
    let files = ["/sys/fs/cgroup/cpu/cpu.rt_runtime_us", "/sys/fs/cgroup/cpu/cpu.rt_period_us"];
    if PathBuf::from(files[0]).exists() {
        w.dhow(run.iter().chain(&["cat", files[0], files[1]])).ok().out_is("1000\n500000");
    } else {
        w.dhow(run).code(125).err_has("kernel does not support CPU real-time scheduler");
    }
}
