//! Where a container's cgroups are.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where cgroups are mounted, on every system there is.
const MOUNT: &str = "/sys/fs/cgroup";

/// The groups that a process is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups {
    mount: PathBuf,
    /// Each hierarchy's controllers and the path below it; v2 has no controllers here.
    paths: Vec<(String, String)>,
}

impl Groups {
    /// The groups of process `pid`, the first one of the container `id`; none when it has gone, or
    /// the groups are those of its caller: a container's own have its id in their names.
    pub fn of(pid: i32, id: &str) -> Option<Self> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        Self::named(Path::new(MOUNT), &text, id)
    }

    /// KERNEL: cgroups(7): of v1 a process on its way out is shown in the root group, where all the
    /// host's are, while v2 still tells where it was.
    fn named(mount: &Path, text: &str, id: &str) -> Option<Self> {
        let mut groups = Self::parse(mount, text);
        groups.paths.retain(|(_, path)| path.contains(id));
        (!groups.paths.is_empty()).then_some(groups)
    }

    /// /proc/PID/cgroup, of hierarchies mounted below `mount` (cgroups(7)).
    pub fn parse(mount: &Path, text: &str) -> Self {
        let path = |line: &str| {
            let mut fields = line.splitn(3, ':').skip(1);
            Some((fields.next()?.to_owned(), fields.next()?.trim_start_matches('/').to_owned()))
        };
        Self { mount: mount.to_owned(), paths: text.lines().filter_map(path).collect() }
    }

    /// The v1 group of `controller`.
    pub fn v1(&self, controller: &str) -> Option<PathBuf> {
        let named = |(all, _): &&(String, String)| all.split(',').any(|one| one == controller);
        let (all, path) = self.paths.iter().find(named)?;
        // Mounted by one controller's name or by all of them, as the distribution likes it.
        let dirs = [controller, all.as_str()].map(|dir| self.mount.join(dir));
        dirs.into_iter().find(|dir| dir.is_dir()).map(|dir| dir.join(path))
    }

    /// The v2 group.
    pub fn v2(&self) -> Option<PathBuf> {
        let (_, path) = self.paths.iter().find(|(all, _)| all.is_empty())?;
        self.mount.join("cgroup.controllers").exists().then(|| self.mount.join(path))
    }

    /// The pids in the group and those below it.
    pub fn pids(&self) -> BTreeSet<i32> {
        let v1 = || ["pids", "memory", "cpu", "freezer"].into_iter().find_map(|c| self.v1(c));
        let mut open: Vec<PathBuf> = self.v2().or_else(v1).into_iter().collect();
        let mut pids = BTreeSet::new();
        while let Some(dir) = open.pop() {
            let text = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
            let entries = std::fs::read_dir(&dir).into_iter().flatten().flatten();
            open.extend(
                entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()),
            );
        }
        pids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bug_all_the_hosts_processes_were_those_of_a_container_on_its_way_out() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("pids")).unwrap();
        std::fs::write(dir.path().join("pids/cgroup.procs"), "1\n2\n").unwrap();
        let of = |text: &str| Groups::named(dir.path(), text, "dhow-a").map(|groups| groups.pids());
        assert_eq!(of("4:pids:/\n0::/dhow-a\n"), Some(BTreeSet::new()));
        assert_eq!(of("4:pids:/\n0::/\n"), None);
    }

    #[test]
    fn both_versions_are_found_with_the_groups_below() {
        let dir = tempfile::tempdir().unwrap();
        let v1 = dir.path().join("v1");
        for (group, pids) in [("pids/dhow-a", "7\n9\n"), ("pids/dhow-a/sub", "8\n")] {
            std::fs::create_dir_all(v1.join(group)).unwrap();
            std::fs::write(v1.join(group).join("cgroup.procs"), pids).unwrap();
        }
        std::fs::create_dir_all(v1.join("cpu,cpuacct")).unwrap();
        let groups = Groups::parse(&v1, "4:pids:/dhow-a\n3:cpu,cpuacct:/dhow-a\n0::/dhow-a\n");
        assert_eq!(groups.pids().into_iter().collect::<Vec<_>>(), [7, 8, 9]);
        assert_eq!(groups.v1("cpuacct"), Some(v1.join("cpu,cpuacct/dhow-a")));
        assert_eq!((groups.v1("memory"), groups.v2()), (None, None));
        let v2 = dir.path().join("v2");
        std::fs::create_dir_all(v2.join("x")).unwrap();
        std::fs::write(v2.join("cgroup.controllers"), "memory").unwrap();
        std::fs::write(v2.join("x/cgroup.procs"), "5\n").unwrap();
        let groups = Groups::parse(&v2, "0::/x\n");
        assert_eq!(groups.v2(), Some(v2.join("x")));
        assert_eq!(groups.pids().into_iter().collect::<Vec<_>>(), [5]);
    }
}
