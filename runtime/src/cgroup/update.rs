//! Writing limits: in an order that the kernel takes, and back again when one fails.

use super::files;
use super::limit::{Limit, asked};
use super::resources::Resources;
use crate::error::Result;

/// A limit and the directory of its group.
pub(super) type Write<'a> = (&'a str, &'a Limit);

/// Writes limits into new groups.
pub(super) fn write_all<'a>(writes: impl IntoIterator<Item = Write<'a>>) -> Result<()> {
    write_each(writes, |_| {})
}

/// Limits as they were.
#[derive(Debug, Default)]
pub(super) struct Before<'a>(Vec<(&'a str, Vec<Limit>)>);

impl Before<'_> {
    /// Writes them again. The failure that leads here is the one to hear of.
    pub(super) fn restore(&self) {
        let old = self.0.iter().rev().flat_map(|(dir, limits)| limits.iter().map(|l| (*dir, l)));
        let _ = write_each(old, |_| {});
    }
}

/// Writes limits into groups that have some; on failure they have them again.
pub(super) fn change<'a>(writes: impl IntoIterator<Item = Write<'a>>) -> Result<Before<'a>> {
    let mut before = Vec::new();
    let changed = write_each(writes, |(dir, limit)| {
        if let Some(old) = limit.read(dir) {
            before.push((dir, restoring(limit, &old)));
        }
    });
    let before = Before(before);
    match changed {
        Ok(()) => Ok(before),
        Err(e) => {
            before.restore();
            Err(e)
        }
    }
}

/// KERNEL: limits that depend on each other are refused (EINVAL) until the other is written:
/// v1's memory is never above memory and swap together, a period, a burst and a quota have to fit
/// each other and the parent's, an idle group has no weight. What is refused is tried again last.
fn write_each<'a>(
    writes: impl IntoIterator<Item = Write<'a>>,
    mut before: impl FnMut(Write<'a>),
) -> Result<()> {
    let mut again = Vec::new();
    for (dir, limit) in writes {
        before((dir, limit));
        match limit.attempt(dir) {
            Ok(()) => {}
            Err(nix::errno::Errno::EINVAL) => again.push((dir, limit)),
            Err(errno) => return Err(limit.fault(dir, errno)),
        }
    }
    again.into_iter().try_for_each(|(dir, limit)| limit.write(dir))
}

/// What to write so that a file says again what it said.
fn restoring(limit: &Limit, old: &str) -> Vec<Limit> {
    let with = |value: String| Limit { value, ..limit.clone() };
    // `8:0 rbps=5`, `eth0 3`: the file has a line for each key, and the write was about one.
    let Some((key, _)) = limit.value.split_once(' ').filter(|_| limit.file != "cpu.max") else {
        // `io.weight` lists devices below the weight of the others.
        let first = old.lines().next().unwrap_or_default();
        // KERNEL: nothing to write would be no write: cpuset.cpus is emptied by an empty line.
        return vec![with(if first.is_empty() { "\n".to_owned() } else { first.to_owned() })];
    };
    let line = old.lines().find(|line| line.split(' ').next() == Some(key));
    let none = match &*limit.file {
        "io.max" => "rbps=max wbps=max riops=max wiops=max",
        "rdma.max" => "hca_handle=max hca_object=max",
        "io.weight" | "io.bfq.weight" => "default",
        _ => "0",
    };
    vec![with(line.map_or_else(|| format!("{key} {none}"), str::to_owned))]
}

/// What an update of cgroup v2 leaves out, as it stands now, where the kernel wants it beside
/// what is asked: the quota with its period, and memory with swap, which the spec counts together.
pub(super) fn complete(r: &mut Resources, dir: &str) {
    match (asked(r.cpu.quota), asked(r.cpu.period)) {
        (Some(_), None) => {
            let now = files::read(dir, "cpu.max").unwrap_or_default();
            r.cpu.period = now.split(' ').nth(1).and_then(|period| period.parse().ok());
        }
        (None, Some(_)) => {
            let now = files::read(dir, "cpu.max").unwrap_or_default();
            r.cpu.quota = now.split(' ').next().and_then(|quota| quota.parse().ok());
        }
        _ => {}
    }
    let now = |file| files::read(dir, file).ok();
    match (asked(r.memory.limit), asked(r.memory.swap)) {
        (None, Some(_)) => {
            r.memory.limit = now("memory.max").map(|max| max.parse().unwrap_or(-1));
        }
        // As runc: the sum stays, so that what memory gains, swap loses.
        (Some(1..), None) => {
            let number = |text: Option<String>| text.and_then(|text| text.parse::<i64>().ok());
            let parts = (number(now("memory.max")), number(now("memory.swap.max")));
            if let (Some(memory), Some(swap)) = parts {
                r.memory.swap = memory.checked_add(swap);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(file: &'static str, value: &str) -> Limit {
        Limit::new("x", file, value, "/x")
    }

    fn restored(file: &'static str, written: &str, old: &str) -> String {
        restoring(&limit(file, written), old).remove(0).value
    }

    #[test]
    fn a_failed_change_is_taken_back() {
        let held = tempfile::tempdir().unwrap();
        let dir = held.path().to_str().unwrap();
        for (file, value) in [("memory.max", "100\n"), ("pids.max", "max\n")] {
            std::fs::write(held.path().join(file), value).unwrap();
        }
        let writes = [limit("memory.max", "5"), limit("pids.max", "7"), limit("absent", "1")];
        let line = change(writes.iter().map(|limit| (dir, limit))).unwrap_err().to_string();
        assert!(line.contains("this kernel has no such file"), "{line}");
        // A plain file keeps what was longer; a kernel's starts anew.
        assert!(
            std::fs::read_to_string(held.path().join("memory.max")).unwrap().starts_with("100")
        );
        assert!(std::fs::read_to_string(held.path().join("pids.max")).unwrap().starts_with("max"));
    }

    #[test]
    fn lines_with_a_key_are_restored_by_their_key() {
        let old = "8:0 rbps=1 wbps=max riops=max wiops=max\n8:16 rbps=2";
        assert_eq!(restored("io.max", "8:16 rbps=9", old), "8:16 rbps=2");
        assert_eq!(
            restored("io.max", "8:32 rbps=9", old),
            "8:32 rbps=max wbps=max riops=max wiops=max"
        );
        assert_eq!(restored("blkio.throttle.read_bps_device", "8:0 5", ""), "8:0 0");
        assert_eq!(restored("io.weight", "50", "default 100\n8:0 7"), "default 100");
        assert_eq!(restored("cpu.max", "5000 10000", "max 100000"), "max 100000");
        assert_eq!(restored("cpuset.cpus", "0", ""), "\n");
    }

    fn completed(json: &str, files: &[(&str, &str)]) -> Resources<'static> {
        let held = tempfile::tempdir().unwrap();
        for (file, value) in files {
            std::fs::write(held.path().join(file), value).unwrap();
        }
        let mut resources: Resources = serde_json::from_str(json).unwrap();
        complete(&mut resources, held.path().to_str().unwrap());
        let (memory, cpu) = (resources.memory.clone(), resources.cpu.clone());
        let cpu = super::super::resources::Cpu {
            cpus: String::new().into(),
            mems: String::new().into(),
            ..cpu
        };
        Resources { memory, cpu, ..Resources::default() }
    }

    #[test]
    fn a_quota_keeps_its_period_and_a_period_its_quota() {
        let file = [("cpu.max", "500000 1000000\n")];
        let cpu = completed(r#"{"cpu":{"period":900000}}"#, &file).cpu;
        assert_eq!((cpu.quota, cpu.period), (Some(500_000), Some(900_000)));
        let cpu = completed(r#"{"cpu":{"quota":-1}}"#, &file).cpu;
        assert_eq!((cpu.quota, cpu.period), (Some(-1), Some(1_000_000)));
        let cpu = completed(r#"{"cpu":{"period":900000}}"#, &[("cpu.max", "max 100000\n")]).cpu;
        assert_eq!((cpu.quota, cpu.period), (None, Some(900_000)));
    }

    #[test]
    fn memory_and_swap_are_one_sum_that_stays() {
        let files = [("memory.max", "100\n"), ("memory.swap.max", "50\n")];
        let memory = completed(r#"{"memory":{"limit":120}}"#, &files).memory;
        assert_eq!((memory.limit, memory.swap), (Some(120), Some(150)));
        let memory = completed(r#"{"memory":{"swap":300}}"#, &files).memory;
        assert_eq!((memory.limit, memory.swap), (Some(100), Some(300)));
        let files = [("memory.max", "max\n"), ("memory.swap.max", "max\n")];
        let memory = completed(r#"{"memory":{"limit":120}}"#, &files).memory;
        assert_eq!((memory.limit, memory.swap), (Some(120), None));
        let memory = completed(r#"{"memory":{"swap":300}}"#, &files).memory;
        assert_eq!((memory.limit, memory.swap), (Some(-1), Some(300)));
    }
}
