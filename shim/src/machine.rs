//! What the machine is: kernel, architecture, memory, cgroups. Read, never guessed.

use std::path::Path;

/// Go's name of this machine's architecture.
pub fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The kernel's name of it, `x86_64`.
pub fn hardware() -> String {
    let name = nix::sys::utsname::uname();
    name.map_or_else(|_| arch().to_owned(), |u| u.machine().to_string_lossy().into_owned())
}

/// The running kernel's release.
pub fn kernel() -> String {
    let name = nix::sys::utsname::uname();
    name.map(|u| u.release().to_string_lossy().into_owned()).unwrap_or_default()
}

/// This machine's host name.
pub fn name() -> String {
    nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned()
}

/// A value of /etc/os-release.
pub fn os_release(key: &str) -> String {
    let text = read("/etc/os-release");
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    value.unwrap_or_default().trim_matches('"').to_owned()
}

/// Bytes of memory.
pub fn memory() -> u64 {
    let text = read("/proc/meminfo");
    let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default() * 1024
}

/// Processors that this process may use.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The id systemd or dbus gave this machine; nothing where neither runs.
pub fn id() -> String {
    read("/etc/machine-id").trim().to_owned()
}

/// docker's word for the file system at `path`.
pub fn file_system(path: &Path) -> &'static str {
    let nearest = path.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/"));
    let Ok(stat) = nix::sys::statfs::statfs(nearest) else { return "<unknown>" };
    match stat.filesystem_type().0 {
        0xef53 => "extfs",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x794c_7630 => "overlayfs",
        0x0102_1994 => "tmpfs",
        0x2fc1_2fc1 => "zfs",
        0x6969 => "nfs",
        0xf2f5_2010 => "f2fs",
        _ => "<unknown>",
    }
}

/// Whether cgroup v2 is all there is.
pub fn is_unified() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// Whether containers can be given this controller.
pub fn has_controller(name: &str) -> bool {
    if is_unified() {
        return read("/sys/fs/cgroup/cgroup.controllers").split_whitespace().any(|c| c == name);
    }
    let name = if name == "io" { "blkio" } else { name };
    let all = read("/proc/cgroups");
    all.lines().filter(|l| l.starts_with(name)).any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.first() == Some(&name) && fields.get(3) == Some(&"1")
    })
}

/// Whether a group of cgroup v1 has this file; on v2 whatever replaces it is there.
pub fn has_knob(controller: &str, file: &str) -> bool {
    let dir = Path::new("/sys/fs/cgroup").join(controller);
    if is_unified() { has_controller(controller) } else { dir.join(file).exists() }
}

/// A sysctl that is on.
pub fn is_on(sysctl: &str) -> bool {
    read(&format!("/proc/sys/{sysctl}")).trim() == "1"
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
