//! A container that has no group of its own, as an ordinary user's where nobody delegates one: its
//! processes are those of its pid namespace and what these have begun, by /proc alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use nix::unistd::{SysconfVar, sysconf};

/// Clock ticks of /proc/PID/stat: USER_HZ, the same on every architecture that Linux has.
const TICK: u64 = 1_000_000_000 / 100;

/// What processes have used together.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sum {
    /// Nanoseconds of CPU, of those that live.
    pub cpu: u64,
    /// Bytes of memory that are nobody else's.
    pub memory: u64,
    /// Bytes read and written.
    pub io: (u64, u64),
    /// Threads.
    pub threads: u64,
}

/// The process `first` with its kin.
pub(super) fn of(first: i32) -> BTreeSet<i32> {
    let space = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let ours = space(std::process::id() as i32);
    let theirs = space(first).filter(|space| Some(space) != ours.as_ref());
    let member = |pid: i32| pid == first || theirs.is_some() && space(pid) == theirs;
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let parents: BTreeMap<i32, i32> =
        pids.filter_map(|pid| Some((pid, parent(&read(pid, "stat")?)?))).collect();
    with_descendants(&parents, member)
}

/// Those of `parents` (each with its parent) that are members, or have one above them.
fn with_descendants(parents: &BTreeMap<i32, i32>, member: impl Fn(i32) -> bool) -> BTreeSet<i32> {
    let mut kin: BTreeSet<i32> = parents.keys().copied().filter(|&pid| member(pid)).collect();
    loop {
        let born =
            parents.iter().filter(|(pid, parent)| !kin.contains(pid) && kin.contains(parent));
        let born: Vec<i32> = born.map(|(&pid, _)| pid).collect();
        if born.is_empty() {
            return kin;
        }
        kin.extend(born);
    }
}

/// What these processes use.
pub(super) fn sum(pids: &BTreeSet<i32>) -> Sum {
    let mut sum = Sum::default();
    // KERNEL: proc(5): statm counts pages, of 4 KiB to 64 KiB by architecture and kernel.
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().map_or(4096, |size| size as u64);
    for &pid in pids {
        let Some(stat) = read(pid, "stat") else { continue };
        let field = |at: usize| fields(&stat).nth(at).and_then(|f| f.parse().ok()).unwrap_or(0u64);
        sum.cpu += (field(11) + field(12)) * TICK;
        sum.threads += field(17);
        let statm = read(pid, "statm").unwrap_or_default();
        let mut pages = statm.split(' ').skip(1).map(|n| n.parse::<u64>().unwrap_or(0));
        let (resident, shared) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
        sum.memory += resident.saturating_sub(shared) * page;
        let io = read(pid, "io").unwrap_or_default();
        let bytes = |key: &str| {
            let line = io.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|n| n.trim().parse::<u64>().ok()).unwrap_or(0)
        };
        sum.io.0 += bytes("read_bytes:");
        sum.io.1 += bytes("write_bytes:");
    }
    sum
}

fn read(pid: i32, name: &str) -> Option<String> {
    fs::read_to_string(PathBuf::from(format!("/proc/{pid}/{name}"))).ok()
}

/// Those of /proc/PID/stat behind the name, which may hold anything: the state is the first.
fn fields(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace()
}

fn parent(stat: &str) -> Option<i32> {
    fields(stat).nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kin_are_the_members_and_all_below_them() {
        let parents = [(1, 0), (5, 1), (9, 5), (7, 9), (8, 1), (20, 8)].into();
        let kin = with_descendants(&parents, |pid| pid == 5 || pid == 20);
        assert_eq!(kin.into_iter().collect::<Vec<_>>(), [5, 7, 9, 20]);
        assert_eq!(parent("7 (a) b) S 3 7 7"), Some(3));
    }

    #[test]
    fn one_s_own_process_is_there_and_uses_something() {
        let own = std::process::id() as i32;
        let kin = of(own);
        assert!(kin.contains(&own) && !kin.contains(&1));
        let sum = sum(&[own].into());
        assert!(sum.memory > 0 && sum.threads > 0, "{sum:?}");
    }
}
