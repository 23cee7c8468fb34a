//! Leaving the caller's cgroups: their limits and their end are not the container's.
//!
//! The roots are where a monitor goes: they need no making, and nothing is left behind.
//! A monitor that may not go there (in a container, say) stays, and is adopted when it is killed.

use std::path::{Path, PathBuf};

/// Where hierarchies are mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// Leaves those of cgroup v1.
///
/// KERNEL: a thread that moves itself by `tasks` waits for nothing; `cgroup.procs` stops every
/// fork of the machine for some milliseconds.
pub fn leave_v1() {
    for dir in to_leave(&own(), false) {
        let _ = std::fs::write(dir.join("tasks"), "0");
    }
}

/// Leaves that of cgroup v2, which takes some milliseconds.
pub fn leave_v2() {
    for dir in to_leave(&own(), true) {
        let _ = std::fs::write(dir.join("cgroup.procs"), "0");
    }
}

fn own() -> String {
    std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default()
}

/// Roots of the hierarchies where /proc/self/cgroup says that we are elsewhere.
fn to_leave(text: &str, v2: bool) -> Vec<PathBuf> {
    let root = |controllers: &str| match controllers.strip_prefix("name=") {
        Some(name) => Path::new(ROOT).join(name),
        None if !controllers.is_empty() => Path::new(ROOT).join(controllers),
        None if Path::new(ROOT).join("cgroup.procs").exists() => ROOT.into(),
        None => Path::new(ROOT).join("unified"),
    };
    let away = text.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        (path != "/" && controllers.is_empty() == v2).then(|| root(controllers))
    });
    away.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hierarchies_where_we_are_not_at_the_root_are_left() {
        let text = "9:name=systemd:/user.slice\n4:cpu,cpuacct:/a\n3:pids:/\n0::/user.slice\n";
        let v1 = to_leave(text, false);
        assert_eq!(v1, ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/cpu,cpuacct"].map(PathBuf::from));
        assert_eq!(to_leave(text, true).len(), 1);
        assert!(to_leave("3:pids:/\n0::/\n", true).is_empty());
    }
}
