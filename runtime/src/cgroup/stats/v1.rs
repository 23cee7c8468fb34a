//! Statistics as cgroup v1 has them, each controller's in its own group.

use super::parse::{blocks, list, number, numbers, table, text, value};
use super::{BlkIo, Block, Cpuset, Entry, Huge, Stats, Throttling, Usage, huge_page_sizes};
use crate::cgroup::record::Record;
use crate::error::Result;

/// KERNEL: cpuacct.stat counts in USER_HZ, which is 100 everywhere.
const TICK: u64 = 10_000_000;

pub(super) fn read(record: &Record) -> Result<Stats> {
    let mut stats = Stats::default();
    if let Some(dir) = record.of("cpuset") {
        stats.cpuset = cpuset(dir)?;
    }
    if let Some(dir) = record.of("memory") {
        memory(dir, &mut stats)?;
    }
    if let Some(dir) = record.of("cpu") {
        let table = table(dir, "cpu.stat")?;
        stats.cpu.throttling = Throttling {
            periods: value(&table, "nr_periods"),
            throttled_periods: value(&table, "nr_throttled"),
            throttled_time: value(&table, "throttled_time"),
        };
    }
    if let Some(dir) = record.of("cpuacct") {
        stats.cpu.usage = usage(dir)?;
    }
    if let Some(dir) = record.of("pids") {
        stats.pids.current = number(dir, "pids.current")?.unwrap_or(0);
        let limit = number(dir, "pids.max")?.unwrap_or(0);
        stats.pids.limit = if limit == u64::MAX { 0 } else { limit };
    }
    if let Some(dir) = record.of("blkio") {
        block_io(dir, &mut stats.blkio)?;
    }
    if let Some(dir) = record.of("hugetlb") {
        for size in huge_page_sizes() {
            let huge = huge(dir, &size)?;
            stats.hugetlb.insert(size, huge);
        }
    }
    Ok(stats)
}

fn cpuset(dir: &str) -> Result<Cpuset> {
    let flag = |name: &str| number(dir, &format!("cpuset.{name}")).map(Option::unwrap_or_default);
    // It is -1 where nothing was set.
    let level = text(dir, "cpuset.sched_relax_domain_level")?.and_then(|text| text.parse().ok());
    Ok(Cpuset {
        cpus: list(dir, "cpuset.cpus")?,
        cpu_exclusive: flag("cpu_exclusive")?,
        mems: list(dir, "cpuset.mems")?,
        mem_hardwall: flag("mem_hardwall")?,
        mem_exclusive: flag("mem_exclusive")?,
        memory_migrate: flag("memory_migrate")?,
        memory_spread_page: flag("memory_spread_page")?,
        memory_spread_slab: flag("memory_spread_slab")?,
        memory_pressure: flag("memory_pressure")?,
        sched_load_balance: flag("sched_load_balance")?,
        sched_relax_domain_level: level.unwrap_or(0),
    })
}

fn memory(dir: &str, stats: &mut Stats) -> Result<()> {
    let memory = &mut stats.memory;
    memory.raw = table(dir, "memory.stat")?.into_iter().collect();
    memory.cache = memory.raw.get("cache").copied().unwrap_or(0);
    memory.usage = entry(dir, "memory")?;
    // Swap and kernel memory are options of the kernel's.
    memory.swap = entry(dir, "memory.memsw")?;
    memory.kernel = entry(dir, "memory.kmem")?;
    memory.kernel_tcp = entry(dir, "memory.kmem.tcp")?;
    Ok(())
}

fn entry(dir: &str, kind: &str) -> Result<Entry> {
    let file = |name: &str| number(dir, &format!("{kind}.{name}")).map(Option::unwrap_or_default);
    Ok(Entry {
        limit: file("limit_in_bytes")?,
        usage: file("usage_in_bytes")?,
        max: file("max_usage_in_bytes")?,
        failcnt: file("failcnt")?,
    })
}

fn usage(dir: &str) -> Result<Usage> {
    let ticks = table(dir, "cpuacct.stat")?;
    let (mut percpu_user, mut percpu_kernel) = (vec![], vec![]);
    // A heading, then CPU, user, system.
    let all = text(dir, "cpuacct.usage_all")?.unwrap_or_default();
    for line in all.lines().skip(1) {
        let mut fields = line.split(' ').skip(1).map(|field| field.parse().unwrap_or(0));
        if let (Some(user), Some(kernel)) = (fields.next(), fields.next()) {
            percpu_user.push(user);
            percpu_kernel.push(kernel);
        }
    }
    Ok(Usage {
        total: number(dir, "cpuacct.usage")?.unwrap_or(0),
        percpu: numbers(dir, "cpuacct.usage_percpu")?,
        percpu_kernel,
        percpu_user,
        kernel: value(&ticks, "system") * TICK,
        user: value(&ticks, "user") * TICK,
    })
}

type Field = fn(&mut BlkIo) -> &mut Vec<Block>;

/// Files that count the same thing: prefix, suffix, and what is between with what it fills.
type Family = (&'static str, &'static str, Vec<(&'static str, Field)>);

/// Names of files by what counts, the best first, and what each of them fills.
///
/// As runc: BFQ's with its debug counters, BFQ's, CFQ's, and the throttle's, with and without
/// the groups below. The first family that has counted anything is shown.
fn families() -> [Family; 5] {
    let served: [(&str, Field); 2] = [
        ("io_serviced", |io| &mut io.io_serviced_recursive),
        ("io_service_bytes", |io| &mut io.io_service_bytes_recursive),
    ];
    let timed = |queued, time| -> Vec<(&'static str, Field)> {
        let mut all: Vec<(&str, Field)> = vec![
            ("sectors", |io| &mut io.sectors_recursive),
            ("io_service_time", |io| &mut io.io_service_time_recursive),
            ("io_wait_time", |io| &mut io.io_wait_time_recursive),
            ("io_merged", |io| &mut io.io_merged_recursive),
            (queued, |io| &mut io.io_queue_recursive),
            (time, |io| &mut io.io_time_recursive),
        ];
        all.extend(served);
        all
    };
    [
        ("blkio.bfq.", "_recursive", timed("io_queued", "time")),
        ("blkio.bfq.", "_recursive", served.to_vec()),
        ("blkio.", "_recursive", timed("io_queued", "time")),
        ("blkio.throttle.", "_recursive", served.to_vec()),
        ("blkio.throttle.", "", served.to_vec()),
    ]
}

fn block_io(dir: &str, io: &mut BlkIo) -> Result<()> {
    for (prefix, suffix, files) in families() {
        let name = |stem: &str| format!("{prefix}{stem}{suffix}");
        if blocks(dir, &name(files[0].0))?.is_empty() {
            continue;
        }
        for (stem, field) in files {
            *field(io) = blocks(dir, &name(stem))?;
        }
        break;
    }
    Ok(())
}

/// Reservations where the kernel counts them, else what is in use.
fn huge(dir: &str, size: &str) -> Result<Huge> {
    let reserved = format!("hugetlb.{size}.rsvd");
    let kind = match number(dir, &format!("{reserved}.usage_in_bytes"))? {
        Some(_) => reserved,
        None => format!("hugetlb.{size}"),
    };
    let file = |name: &str| number(dir, &format!("{kind}.{name}")).map(Option::unwrap_or_default);
    Ok(Huge {
        usage: file("usage_in_bytes")?,
        max: file("max_usage_in_bytes")?,
        failcnt: file("failcnt")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_group_of_cgroup_v1_is_read_whole() {
        let held = tempfile::tempdir().unwrap();
        let dir = held.path().to_str().unwrap().to_owned();
        for (file, text) in [
            ("cpuset.cpus", "0-1"),
            ("cpuset.sched_relax_domain_level", "-1"),
            ("memory.stat", "cache 4096\nrss 8192"),
            ("memory.usage_in_bytes", "12288"),
            ("memory.max_usage_in_bytes", "20480"),
            ("memory.limit_in_bytes", "9223372036854771712"),
            ("memory.failcnt", "2"),
            ("cpu.stat", "nr_periods 3\nnr_throttled 1\nthrottled_time 500"),
            ("cpuacct.stat", "user 7\nsystem 3"),
            ("cpuacct.usage", "100"),
            ("cpuacct.usage_percpu", "60 40 "),
            ("cpuacct.usage_all", "cpu user system\n0 50 10\n1 30 10"),
            ("pids.current", "2"),
            ("pids.max", "max"),
            ("blkio.throttle.io_serviced_recursive", "8:0 Read 5\nTotal 5"),
            ("blkio.throttle.io_service_bytes_recursive", "8:0 Read 20480\nTotal 20480"),
        ] {
            fs::write(held.path().join(file), format!("{text}\n")).unwrap();
        }
        let paths = [("cpuset,memory,cpu,cpuacct,pids,blkio".to_owned(), dir)].into();
        let json = serde_json::to_value(Record { paths, unit: None }.stats().unwrap()).unwrap();
        let at = |pointer: &str| json.pointer(pointer).unwrap().to_string();
        assert_eq!(at("/cpuset/cpus"), "[0,1]");
        assert_eq!(at("/cpuset/sched_relax_domain_level"), "-1");
        assert_eq!(at("/memory/cache"), "4096");
        assert_eq!(
            at("/memory/usage"),
            r#"{"failcnt":2,"limit":9223372036854771712,"max":20480,"usage":12288}"#
        );
        assert_eq!(at("/memory/raw"), r#"{"cache":4096,"rss":8192}"#);
        assert_eq!(json.pointer("/memory/swap"), None);
        assert_eq!(
            at("/cpu/throttling"),
            r#"{"periods":3,"throttledPeriods":1,"throttledTime":500}"#
        );
        assert_eq!(at("/cpu/usage/user"), "70000000");
        assert_eq!(at("/cpu/usage/percpu_kernel"), "[10,10]");
        assert_eq!(at("/pids"), r#"{"current":2}"#);
        assert_eq!(at("/blkio/ioServicedRecursive"), r#"[{"major":8,"op":"Read","value":5}]"#);
    }
}
