//! Statistics as cgroup v2 has them, put under the names that v1 gave them.

use super::parse::{devices, number, pressure, table, text, value};
use super::{BlkIo, Block, Entry, Huge, Memory, Pids, Stats, Throttling, Usage, huge_page_sizes};
use crate::error::Result;

pub(super) fn read(dir: &str) -> Result<Stats> {
    let mut stats =
        Stats { memory: memory(dir)?, pids: pids(dir)?, blkio: block_io(dir)?, ..Stats::default() };
    // There also where the controller is off.
    let cpu = table(dir, "cpu.stat")?;
    let nanoseconds = |key| value(&cpu, key) * 1000;
    stats.cpu.usage = Usage {
        total: nanoseconds("usage_usec"),
        user: nanoseconds("user_usec"),
        kernel: nanoseconds("system_usec"),
        ..Usage::default()
    };
    stats.cpu.throttling = Throttling {
        periods: value(&cpu, "nr_periods"),
        throttled_periods: value(&cpu, "nr_throttled"),
        throttled_time: nanoseconds("throttled_usec"),
    };
    stats.cpu.psi = pressure(dir, "cpu.pressure")?;
    for size in huge_page_sizes() {
        let Some(huge) = huge(dir, &size)? else { break };
        stats.hugetlb.insert(size, huge);
    }
    Ok(stats)
}

fn memory(dir: &str) -> Result<Memory> {
    let raw: std::collections::BTreeMap<_, _> = table(dir, "memory.stat")?.into_iter().collect();
    let psi = pressure(dir, "memory.pressure")?;
    // KERNEL: memory.stat is there for whom the controller is on.
    if raw.is_empty() {
        return Ok(Memory { psi, ..Memory::default() });
    }
    let usage = entry(dir, "memory")?;
    // v1's swap is memory and swap together, and has no peak that could be added up.
    let mut swap = entry(dir, "memory.swap")?;
    swap.usage += usage.usage;
    swap.max = 0;
    if swap.limit != u64::MAX {
        swap.limit = swap.limit.saturating_add(usage.limit);
    }
    let cache = raw.get("file").copied().unwrap_or(0);
    Ok(Memory { cache, usage, swap, raw, psi, ..Memory::default() })
}

fn entry(dir: &str, kind: &str) -> Result<Entry> {
    let file = |name: &str| number(dir, &format!("{kind}.{name}")).map(Option::unwrap_or_default);
    // KERNEL: memory.peak since 5.19, memory.swap.peak since 6.5.
    Ok(Entry { limit: file("max")?, usage: file("current")?, max: file("peak")?, failcnt: 0 })
}

fn pids(dir: &str) -> Result<Pids> {
    let Some(current) = number(dir, "pids.current")? else {
        // Without the controller, who is in the group can still be counted.
        let procs = match text(dir, "cgroup.procs")? {
            None => text(dir, "cgroup.threads")?,
            procs => procs,
        };
        let current = procs.unwrap_or_default().lines().count() as u64;
        return Ok(Pids { current, limit: 0 });
    };
    let limit = number(dir, "pids.max")?.unwrap_or(0);
    Ok(Pids { current, limit: if limit == u64::MAX { 0 } else { limit } })
}

fn block_io(dir: &str) -> Result<BlkIo> {
    let mut io = BlkIo { psi: pressure(dir, "io.pressure")?, ..BlkIo::default() };
    for ((major, minor), pairs) in devices(dir, "io.stat")? {
        for (key, value) in pairs {
            let (op, to) = match key.as_str() {
                "rbytes" => ("Read", &mut io.io_service_bytes_recursive),
                "wbytes" => ("Write", &mut io.io_service_bytes_recursive),
                "rios" => ("Read", &mut io.io_serviced_recursive),
                "wios" => ("Write", &mut io.io_serviced_recursive),
                _ => continue,
            };
            to.push(Block { major, minor, op: op.to_owned(), value });
        }
    }
    Ok(io)
}

/// Reservations where the kernel counts them, else what is in use.
fn huge(dir: &str, size: &str) -> Result<Option<Huge>> {
    let kind = format!("hugetlb.{size}");
    let usage = match number(dir, &format!("{kind}.rsvd.current"))? {
        None => number(dir, &format!("{kind}.current"))?,
        reserved => reserved,
    };
    let Some(usage) = usage else { return Ok(None) };
    let failcnt = value(&table(dir, &format!("{kind}.events"))?, "max");
    Ok(Some(Huge { usage, max: 0, failcnt }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn json(files: &[(&str, &str)]) -> serde_json::Value {
        let held = tempfile::tempdir().unwrap();
        for (file, text) in files {
            fs::write(held.path().join(file), format!("{text}\n")).unwrap();
        }
        serde_json::to_value(read(held.path().to_str().unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn swap_is_shown_together_with_memory() {
        let all = json(&[
            ("memory.stat", "anon 1\nfile 4096"),
            ("memory.current", "100"),
            ("memory.max", "1000"),
            ("memory.peak", "120"),
            ("memory.swap.current", "20"),
            ("memory.swap.max", "500"),
            ("memory.swap.peak", "30"),
        ]);
        let at = |pointer: &str| all.pointer(pointer).unwrap().to_string();
        assert_eq!(at("/memory/cache"), "4096");
        assert_eq!(at("/memory/usage"), r#"{"failcnt":0,"limit":1000,"max":120,"usage":100}"#);
        assert_eq!(at("/memory/swap"), r#"{"failcnt":0,"limit":1500,"usage":120}"#);
    }

    #[test]
    fn times_are_nanoseconds_and_pressure_is_shown() {
        let all = json(&[
            (
                "cpu.stat",
                "usage_usec 7\nuser_usec 4\nsystem_usec 3\nnr_periods 2\nthrottled_usec 1",
            ),
            ("cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=9"),
            ("io.stat", "8:0 rbytes=5 wbytes=6 rios=1 wios=2 dbytes=0"),
            ("cgroup.procs", "12\n13"),
        ]);
        let at = |pointer: &str| all.pointer(pointer).unwrap().to_string();
        assert_eq!(at("/cpu/usage"), r#"{"kernel":3000,"total":7000,"user":4000}"#);
        assert_eq!(at("/cpu/throttling"), r#"{"periods":2,"throttledTime":1000}"#);
        assert_eq!(at("/cpu/psi/some/total"), "9");
        assert_eq!(at("/pids"), r#"{"current":2}"#);
        assert_eq!(
            at("/blkio/ioServiceBytesRecursive"),
            r#"[{"major":8,"op":"Read","value":5},{"major":8,"op":"Write","value":6}]"#
        );
        assert_eq!(all["memory"], serde_json::json!({}));
    }
}
