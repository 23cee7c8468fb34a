//! Whether the kernel killed a container for memory.

use std::path::{Path, PathBuf};

/// The file that counts a container's kills, read before the runtime removes it.
pub struct Counter(Option<PathBuf>);

impl Counter {
    /// The counter of the group that process `pid` of the container `id` is in. Others' groups, which
    /// have no such name, count others' deaths: the caller's, or v1's root for one that has ended.
    pub fn of(pid: i32, id: &str) -> Self {
        let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        Self(file_of(&text).filter(|file| file.to_string_lossy().contains(id)))
    }

    /// It has counted a kill.
    pub fn counted(&self) -> bool {
        let Some(path) = &self.0 else { return false };
        kills(&std::fs::read_to_string(path).unwrap_or_default())
    }
}

/// /proc/PID/cgroup → where its memory controller counts (cgroups(7)).
fn file_of(text: &str) -> Option<PathBuf> {
    let line = |wanted: &str| {
        text.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let named = fields.next()?.split(',').any(|name| name == wanted);
            fields.next().filter(|_| named)
        })
    };
    let root = Path::new("/sys/fs/cgroup");
    let below = |path: &str| path.trim_start_matches('/').to_owned();
    match (line("memory"), line("")) {
        (Some(v1), _) => Some(root.join("memory").join(below(v1)).join("memory.oom_control")),
        (None, Some(v2)) => Some(root.join(below(v2)).join("memory.events")),
        (None, None) => None,
    }
}

fn kills(text: &str) -> bool {
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
    count.is_some_and(|n: u64| n > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_cgroup_versions_are_read() {
        let v1 = "3:cpu,cpuacct:/x\n5:memory:/dhow/a\n0::/y\n";
        let v1_file = "/sys/fs/cgroup/memory/dhow/a/memory.oom_control";
        assert_eq!(file_of(v1), Some(v1_file.into()));
        assert_eq!(file_of("0::/y\n"), Some("/sys/fs/cgroup/y/memory.events".into()));
        assert_eq!(file_of(""), None);
        assert!(kills("low 0\noom 2\noom_kill 1\n"));
        assert!(!kills("oom_kill_disable 1\nunder_oom 0\noom_kill 0\n"));
    }
}
