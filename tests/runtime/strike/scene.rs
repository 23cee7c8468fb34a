//! What is looked at before and after a strike, and what a container tells of itself.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use dhow_kernel::rights;
use e2e::bundle::Bundle;
use e2e::{World, leaks};
use serde_json::{Value, json};

/// Values of its groups that commands change.
const VALUES: [&str; 8] = [
    "memory.limit_in_bytes",
    "cpu.shares",
    "cpu.cfs_quota_us",
    "pids.max",
    "freezer.state",
    "memory.max",
    "cpu.max",
    "cgroup.freeze",
];

/// Processes, mounts, groups and their values, files: a line each.
pub fn look(w: &World, b: &Bundle) -> BTreeSet<String> {
    let ids = BTreeSet::from([b.id().to_owned()]);
    let mut all = BTreeSet::new();
    for (pid, line) in leaks::processes(w.name(), &ids) {
        // Who looks at all groups, as other cases do, has ours open for a moment.
        // Who has no command line any more is about to go.
        let looks = line.split(' ').next().is_some_and(|program| program.contains("/e2e"));
        if !looks && !line.is_empty() {
            all.insert(format!("process {pid} {line}"));
            all.extend(mounts_inside(pid).map(|line| format!("mount of {pid} {line}")));
        }
    }
    all.extend(leaks::mounts(w.name()).into_iter().map(|line| format!("mount {line}")));
    for group in leaks::cgroups_of(w.name(), &ids) {
        for name in VALUES {
            if let Ok(value) = fs::read_to_string(group.join(name)) {
                all.insert(format!("group {}/{name} {}", group.display(), value.trim()));
            }
        }
        all.insert(format!("group {}", group.display()));
    }
    files(&w.path(""), &mut all);
    for dir in ["/tmp", "/run", "/dev/shm", "/var/run"] {
        let names = fs::read_dir(dir).into_iter().flatten().flatten();
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let ours = names.filter(|name| name.contains(w.name()) || name.starts_with("dhow-runtime"));
        all.extend(ours.map(|name| format!("file {dir}/{name}")));
    }
    all
}

/// Mounts of a process that has its own.
fn mounts_inside(pid: i32) -> impl Iterator<Item = String> {
    let of = |who: &str| fs::read_link(format!("/proc/{who}/ns/mnt")).ok();
    let own = of(&pid.to_string()).is_some_and(|there| Some(there) != of("self"));
    let table = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    let lines: Vec<String> = table.lines().filter(|_| own).map(str::to_owned).collect();
    lines.into_iter()
}

fn files(dir: &Path, all: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(meta) = fs::symlink_metadata(entry.path()) else { continue };
        if entry.file_name() == "say" {
            continue;
        }
        let size = if meta.is_file() { meta.len() } else { 0 };
        all.insert(format!("file {} {:o} {size}", entry.path().display(), meta.mode()));
        if meta.is_dir() {
            files(&entry.path(), all);
        }
    }
}

/// A program that says what its container gives it: what differs when a step was left out. It may be killed
/// at any time, and makes nothing in its root.
pub fn portrait() -> [&'static str; 3] {
    const SCRIPT: &str = "exec 2>/dev/null; \
        cut -d' ' -f4- /proc/self/mountinfo; \
        grep -E '^(Cap|NoNew|Seccomp|Uid|Gid|Groups|Umask|SigIgn|SigBlk)' /proc/self/status; \
        cat /proc/self/cgroup /proc/self/limits /proc/self/oom_score_adj /proc/self/personality; \
        stat -c '%n %a %u %g %t:%T %N' /dev/* /dev/pts/*; \
        hostname; umask; id; env; pwd; ls /proc/self/fd; stat -c '%u %g %a' /proc/self/fd/[012]; \
        cat /sys/class/net/lo/flags /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax; \
        cat /sys/fs/cgroup/*/memory.limit_in_bytes /sys/fs/cgroup/*/cpu.shares \
            /sys/fs/cgroup/*/pids.max /sys/fs/cgroup/devices/devices.list; \
        for f in /proc/keys /proc/timer_list /proc/acpi; do wc -c <$f; ls $f; done; \
        echo x >/proc/sys/kernel/hostname; touch / && echo writes; \
        for p in /proc/self/ns/*; do readlink $p; done; \
        chmod 700 /dev/shm && echo may; mkdir /dev/shm/m 2>&1; rmdir /dev/shm/m; exit 0";
    ["sh", "-c", SCRIPT]
}

/// What of a state, a list or statistics is another's each time, or is there by chance: what was read
/// from a disk that had much to do, and cached.
const CHANGING: [&str; 4] = ["pid", "created", "blkio", "cache"];

/// The same of what a command tells as JSON: numbers that are no limits are nothing but there.
fn told(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(key, _)| !CHANGING.contains(&key.as_str()));
            let limit = |key: &str, value: Value| match value {
                Value::Number(_) if key == "limit" => value,
                value => told(value),
            };
            Value::Object(kept.map(|(key, value)| (key.clone(), limit(&key, value))).collect())
        }
        Value::Array(all) => Value::Array(all.into_iter().map(told).collect()),
        Value::Number(_) => Value::Null,
        other => other,
    }
}

/// The same without what is another's each time: numbers of namespaces and peer groups, a state's time.
pub fn plain(portrait: &str) -> String {
    if let Ok(value) = serde_json::from_str::<Value>(portrait) {
        return told(value).to_string();
    }
    let host: BTreeSet<String> = fs::read_dir("/proc/self/ns")
        .unwrap()
        .map(|link| fs::read_link(link.unwrap().path()).unwrap().to_string_lossy().into_owned())
        .collect();
    // As runc, HOME is / where /etc/passwd can't be read, for whatever reason.
    let home = |line: &str| line.starts_with("HOME=");
    let each =
        |line: &&str| !home(line) && !line.contains("\"created\": ") && !line.contains("\"pid\": ");
    let line = |line: &str| match line.split_once(":[") {
        Some((kind, _)) if host.contains(line) => format!("the host's {kind}"),
        Some((kind, _)) => format!("its own {kind}"),
        None => {
            let words = line.split(' ').map(|word| match word.split_once(':') {
                Some((kind @ ("master" | "shared" | "propagate_from"), _)) => kind,
                _ => word,
            });
            words.collect::<Vec<_>>().join(" ")
        }
    };
    let mut lines: Vec<String> = portrait.lines().filter(each).map(line).collect();
    lines.sort();
    lines.join("\n")
}

/// What one has and the other hasn't.
pub fn differ(usual: &str, now: &str) -> String {
    let (a, b): (BTreeSet<_>, BTreeSet<_>) = (usual.lines().collect(), now.lines().collect());
    let gone = a.difference(&b).map(|line| format!("- {line}"));
    gone.chain(b.difference(&a).map(|line| format!("+ {line}"))).collect::<Vec<_>>().join("\n    ")
}

/// Much of what a config can ask for.
pub fn rich(b: Bundle, from: &Path) -> Bundle {
    let bind = json!({"destination": "/from", "type": "bind", "source": from,
        "options": ["rbind", "ro", "nosuid", "nodev"]});
    let tmp = json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs",
        "options": ["nosuid", "noexec", "size=1m", "mode=1777"]});
    let errno = |names: &[&str]| json!({"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 1});
    let cap = json!(["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_CHOWN", "CAP_DAC_OVERRIDE"]);
    let limit = |name: &str, n: u32| json!({"type": name, "soft": n, "hard": n});
    b.and("/mounts", bind)
        .and("/mounts", tmp)
        .with(
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "syscalls": [errno(&["chmod", "fchmodat", "mount", "keyctl", "add_key"])]}),
        )
        .with("/process/capabilities", json!({"bounding": cap, "effective": cap, "permitted": cap}))
        .with("/process/rlimits", json!([limit("RLIMIT_NOFILE", 1024), limit("RLIMIT_CORE", 0)]))
        .with("/process/oomScoreAdj", 100.into())
        .with(
            "/process/user",
            json!({"uid": 1000, "gid": 1000, "additionalGids": [5, 6], "umask": 23}),
        )
        .with("/linux/sysctl", json!({"net.ipv4.ip_forward": "1", "kernel.shmmax": "1000000"}))
        .with("/linux/resources/memory", json!({"limit": 100_000_000}))
        .with("/linux/resources/cpu", json!({"shares": 512}))
        .with("/linux/resources/pids", json!({"limit": 100}))
        .with(
            "/linux/devices",
            json!([{"path": "/dev/fuse2", "type": "c", "major": 10, "minor": 229,
            "fileMode": 438, "uid": 0, "gid": 0}]),
        )
        .with("/root/readonly", true.into())
}

/// Users and groups of its own.
pub fn mapped(b: Bundle) -> Bundle {
    let map = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
    b.with("/linux/uidMappings", map.clone())
        .with("/linux/gidMappings", map)
        .and("/linux/namespaces", json!({"type": "user"}))
}

/// Every kind of hook.
pub fn hooked(b: Bundle) -> Bundle {
    let hook = |path: &str| json!([{"path": path, "args": ["true"]}]);
    let kinds = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];
    let mut hooks: serde_json::Map<String, Value> =
        kinds.iter().map(|kind| ((*kind).to_owned(), hook("/bin/true"))).collect();
    hooks.insert("startContainer".into(), hook("/bin/true"));
    b.with("/hooks", hooks.into())
}

/// An engine that takes terminals at this socket, and keeps them.
pub fn engine(w: &World) -> String {
    let socket = w.path("console");
    let listener = UnixListener::bind(&socket).unwrap();
    // Named, or it would pass for a case that goes on: it takes terminals to the end.
    let named = std::thread::Builder::new().name("engine".to_owned());
    let take = move || {
        let mut kept = Vec::new();
        for giver in listener.incoming() {
            let mut name = [0; 4096];
            kept.extend(rights::receive(giver.unwrap().as_fd(), &mut name).map(|(_, fds)| fds));
        }
    };
    named.spawn(take).unwrap();
    socket.display().to_string()
}
