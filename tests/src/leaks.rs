//! What a test may have left on the machine: processes, mounts, cgroups, state.
//!
//! Everything a [`World`](crate::World) makes carries its name: in the environment of the programs,
//! in the paths of its directories, in container ids. So worlds can be checked side by side.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, statfs};

/// The environment variable that marks a world's processes.
pub const MARK: &str = "DHOW_E2E_WORLD";

/// Processes that belong to `world`, each as `pid: command line`.
///
/// Its own programs have the mark in their environment, or (a monitor, which drops it) a file of
/// the world open; a container's processes have neither, but their root's mount names the world's
/// directory, or their cgroup one of its ids.
pub fn processes(world: &str, ids: &BTreeSet<String>) -> Vec<(i32, String)> {
    let mark = format!("{MARK}={world}");
    let own = std::process::id().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(pid) = name.parse::<i32>() else { continue };
        if name == own {
            continue;
        }
        let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
        let environ = read("environ");
        let cgroup = String::from_utf8_lossy(&read("cgroup")).into_owned();
        let belongs = environ.split(|b| *b == 0).any(|v| v == mark.as_bytes())
            || contains(&read("cmdline"), world)
            || ids.iter().any(|id| cgroup.contains(id.as_str()))
            || has_open(&entry.path(), world)
            || root_is_in(&read("mountinfo"), world);
        if belongs && !is_zombie(&read("stat")) {
            let line = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
            found.push((pid, line.trim().to_owned()));
        }
    }
    found
}

/// Whether the process has a file open whose path names the world.
fn has_open(process: &Path, world: &str) -> bool {
    let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    let mut targets = files.filter_map(|f| fs::read_link(f.path()).ok());
    targets.any(|t| t.to_string_lossy().contains(world))
}

fn contains(bytes: &[u8], part: &str) -> bool {
    bytes.windows(part.len()).any(|w| w == part.as_bytes())
}

/// Whether the mount at `/` comes from the world's directory (its bind source or its overlay).
fn root_is_in(mountinfo: &[u8], world: &str) -> bool {
    let text = String::from_utf8_lossy(mountinfo);
    text.lines().any(|l| l.split(' ').nth(4) == Some("/") && l.contains(world))
}

fn is_zombie(stat: &[u8]) -> bool {
    let text = String::from_utf8_lossy(stat);
    text.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

/// Mounts in our own namespace that name the world.
pub fn mounts(world: &str) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter(|l| l.contains(world)).map(str::to_owned).collect()
}

/// The places where mounts of our own namespace stand, with their kinds.
pub fn mount_table() -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let place = |l: &str| {
        let kind = l.split(" - ").nth(1).unwrap_or("").split(' ').next().unwrap_or("").to_owned();
        format!("{} ({kind})", l.split(' ').nth(4).unwrap_or(""))
    };
    table.lines().map(place).collect()
}

/// Every cgroup there is, in all hierarchies.
pub fn cgroups() -> BTreeSet<PathBuf> {
    fn walk(dir: &Path, found: &mut BTreeSet<PathBuf>) {
        let Ok(entries) = fs::read_dir(dir) else { return };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                walk(&entry.path(), found);
                found.insert(entry.path());
            }
        }
    }
    let mut found = BTreeSet::new();
    let top = Path::new("/sys/fs/cgroup");
    let below = fs::read_dir(top).into_iter().flatten().flatten().map(|e| e.path());
    // A plain directory is no cgroup, wherever it stands: crun leaves some on a tmpfs.
    let is_cgroup = |dir: &PathBuf| {
        let kinds = [CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC];
        statfs(dir).is_ok_and(|s| kinds.contains(&s.filesystem_type()))
    };
    for hierarchy in below.filter(is_cgroup) {
        walk(&hierarchy, &mut found);
        found.insert(hierarchy);
    }
    found
}

/// Cgroups whose path holds the world's name or one of its container ids.
pub fn cgroups_of(world: &str, ids: &BTreeSet<String>) -> Vec<PathBuf> {
    let named = |p: &PathBuf| {
        let path = p.to_string_lossy();
        path.contains(world) || ids.iter().any(|id| path.contains(id.as_str()))
    };
    cgroups().into_iter().filter(named).collect()
}

/// Network namespaces that some process is in.
pub fn network_namespaces() -> BTreeSet<String> {
    let links = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        entry.file_name().to_string_lossy().parse::<i32>().ok()?;
        fs::read_link(entry.path().join("ns/net")).ok()
    });
    links.map(|l| l.to_string_lossy().into_owned()).collect()
}

/// The whole machine, to be compared before and after the suite.
#[derive(Debug, Clone)]
pub struct Machine {
    mounts: BTreeSet<String>,
    cgroups: BTreeSet<PathBuf>,
    networks: BTreeSet<String>,
    files: BTreeSet<PathBuf>,
    devices: BTreeSet<String>,
    links: BTreeSet<String>,
    tables: BTreeSet<String>,
}

impl Machine {
    /// The machine as it is.
    pub fn now() -> Self {
        let places = ["/run", "/var/lib", "/var/run", "/tmp", "/dev/shm", "/dev/mqueue"];
        let ours =
            |p: &PathBuf| p.file_name().is_some_and(|n| n.to_string_lossy().contains("dhow"));
        let list = |dir: &str| fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
        Self {
            mounts: mount_table(),
            cgroups: cgroups(),
            networks: network_namespaces(),
            files: places.into_iter().flat_map(list).filter(ours).collect(),
            devices: list("/dev").map(|p| device(&p)).collect(),
            links: list("/sys/class/net").map(|p| p.display().to_string()).collect(),
            tables: tables(),
        }
    }

    /// What is there now and was not before, a line each.
    pub fn grown_since(&self, before: &Self) -> Vec<String> {
        let mut grown = Vec::new();
        let mut add = |kind: &str, thing: String| grown.push(format!("{kind} {thing}"));
        self.mounts.difference(&before.mounts).for_each(|m| add("mount", m.clone()));
        for cgroup in self.cgroups.difference(&before.cgroups) {
            add("cgroup", cgroup.display().to_string());
        }
        self.networks.difference(&before.networks).for_each(|n| add("namespace", n.clone()));
        self.files.difference(&before.files).for_each(|f| add("file", f.display().to_string()));
        self.devices.difference(&before.devices).for_each(|d| add("device", d.clone()));
        self.links.difference(&before.links).for_each(|l| add("interface", l.clone()));
        self.tables.difference(&before.tables).for_each(|t| add("nft table", t.clone()));
        grown
    }
}

/// The firewall's tables in the machine's own network namespace.
fn tables() -> BTreeSet<String> {
    let listed = Command::new("nft").args(["list", "tables"]).output();
    let text = listed.map(|done| String::from_utf8_lossy(&done.stdout).into_owned());
    text.unwrap_or_default().lines().map(str::to_owned).collect()
}

/// What kind of thing stands in /dev: a program that writes to /dev/null must not replace it.
fn device(path: &Path) -> String {
    let numbers = fs::symlink_metadata(path).map_or(0, |m| m.rdev());
    let kind = fs::symlink_metadata(path).map_or(0, |m| m.mode() >> 12);
    format!("{} (kind {kind:o}, number {numbers:x})", path.display())
}

static BEFORE: OnceLock<Machine> = OnceLock::new();

/// Remembers the machine as it is before the first case; later calls do nothing.
pub fn baseline() {
    BEFORE.get_or_init(Machine::now);
}

/// What the machine has that it had not before the first case.
pub fn grown() -> Vec<String> {
    Machine::now().grown_since(BEFORE.get_or_init(Machine::now))
}
