//! What a container uses at one moment, by docker's rules.
#![allow(clippy::cast_precision_loss)] // for people

use std::path::Path;
use std::time::Instant;

use super::{Groups, kin};

/// One look at a container's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When it was taken.
    pub at: Instant,
    /// Nanoseconds of CPU used so far.
    pub cpu: u64,
    /// Bytes of memory, without the page cache that nobody uses.
    pub memory: u64,
    /// Bytes it may use; the machine's memory when it has no limit.
    pub limit: u64,
    /// Bytes received and sent, but for the loopback's.
    pub network: (u64, u64),
    /// Bytes read and written.
    pub io: (u64, u64),
    /// Processes and threads.
    pub pids: u64,
}

impl Sample {
    /// Of a container that does not run.
    pub fn none() -> Self {
        let (at, none) = (Instant::now(), (0, 0));
        Self { at, cpu: 0, memory: 0, limit: 0, network: none, io: none, pids: 0 }
    }

    /// Of the groups of the container `id`, whose first process is `pid`, or of its processes where
    /// it has none; with `network` of its network namespace, too.
    pub fn take(pid: i32, id: &str, network: bool) -> Option<Self> {
        let sample = match Groups::of(pid, id) {
            Some(groups) => groups.v2().map_or_else(|| of_v1(&groups), |dir| of_v2(&dir)),
            None => of_kin(pid)?,
        };
        let network = if network {
            sum_of_devices(
                &std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default(),
            )
        } else {
            (0, 0)
        };
        let machine = machine_memory(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default());
        Some(Self { network, limit: sample.limit.min(machine), ..sample })
    }
}

/// How much of one CPU was used between two samples, in hundredths.
pub fn cpu_percent(before: &Sample, now: &Sample) -> f64 {
    let time = now.at.saturating_duration_since(before.at).as_nanos() as f64;
    let used = now.cpu.saturating_sub(before.cpu) as f64;
    if time > 0.0 { used / time * 100.0 } else { 0.0 }
}

fn read(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).unwrap_or_default()
}

fn number(dir: &Path, name: &str) -> Option<u64> {
    read(dir, name).trim().parse().ok()
}

/// The value of a `KEY VALUE` line.
fn value(text: &str, key: &str) -> Option<u64> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.find(|(k, _)| *k == key).and_then(|(_, value)| value.trim().parse().ok())
}

/// As docker: what the cache could give back at once is not counted.
fn without_cache(usage: u64, inactive: u64) -> u64 {
    if inactive < usage { usage - inactive } else { usage }
}

fn of_v1(groups: &Groups) -> Sample {
    let dir = |controller| groups.v1(controller).unwrap_or_default();
    let (memory, io) = (dir("memory"), dir("blkio"));
    let inactive = value(&read(&memory, "memory.stat"), "total_inactive_file").unwrap_or(0);
    let throttled = read(&io, "blkio.throttle.io_service_bytes_recursive");
    let counted =
        if throttled.is_empty() { read(&io, "blkio.throttle.io_service_bytes") } else { throttled };
    Sample {
        cpu: number(&dir("cpuacct"), "cpuacct.usage").unwrap_or(0),
        memory: without_cache(number(&memory, "memory.usage_in_bytes").unwrap_or(0), inactive),
        limit: number(&memory, "memory.limit_in_bytes").unwrap_or(u64::MAX),
        io: sum_of_v1_io(&counted),
        pids: number(&dir("pids"), "pids.current").unwrap_or(0),
        ..Sample::none()
    }
}

fn of_kin(pid: i32) -> Option<Sample> {
    let kin::Sum { cpu, memory, io, threads } = kin::sum(&kin::of(pid));
    let limit = u64::MAX;
    (threads > 0).then(|| Sample { cpu, memory, io, pids: threads, limit, ..Sample::none() })
}

fn of_v2(dir: &Path) -> Sample {
    let inactive = value(&read(dir, "memory.stat"), "inactive_file").unwrap_or(0);
    Sample {
        cpu: value(&read(dir, "cpu.stat"), "usage_usec").unwrap_or(0).saturating_mul(1000),
        memory: without_cache(number(dir, "memory.current").unwrap_or(0), inactive),
        limit: number(dir, "memory.max").unwrap_or(u64::MAX), // or "max"
        io: sum_of_v2_io(&read(dir, "io.stat")),
        pids: number(dir, "pids.current").unwrap_or(0),
        ..Sample::none()
    }
}

/// `8:0 Read 4096` a line and an operation.
fn sum_of_v1_io(text: &str) -> (u64, u64) {
    let mut sum = (0, 0);
    for line in text.lines() {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, what, bytes] = fields[..] else { continue };
        let bytes: u64 = bytes.parse().unwrap_or(0);
        match what {
            "Read" => sum.0 += bytes,
            "Write" => sum.1 += bytes,
            _ => {}
        }
    }
    sum
}

/// `8:0 rbytes=4096 wbytes=0 …` a line.
fn sum_of_v2_io(text: &str) -> (u64, u64) {
    let sum = |key: &str| {
        let pairs = text.split_ascii_whitespace().filter_map(|word| word.split_once('='));
        pairs.filter(|(k, _)| *k == key).filter_map(|(_, n)| n.parse::<u64>().ok()).sum()
    };
    (sum("rbytes"), sum("wbytes"))
}

/// /proc/PID/net/dev (proc(5)): bytes received are the first field of a device, bytes sent the ninth.
fn sum_of_devices(text: &str) -> (u64, u64) {
    let mut sum = (0, 0);
    for line in text.lines() {
        let Some((name, counts)) = line.split_once(':').filter(|(n, _)| n.trim() != "lo") else {
            continue;
        };
        let _ = name;
        let field =
            |at| counts.split_ascii_whitespace().nth(at).and_then(|n| n.parse::<u64>().ok());
        sum.0 += field(0).unwrap_or(0);
        sum.1 += field(8).unwrap_or(0);
    }
    sum
}

fn machine_memory(text: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.map_or(u64::MAX, |kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn write(dir: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = dir.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn v1_counters() {
        let dir = tempfile::tempdir().unwrap();
        let io = "8:0 Read 4096\n8:0 Write 8192\n8:0 Total 12288\n8:16 Read 4\nTotal 12292\n";
        write(
            dir.path(),
            &[
                ("memory/c/memory.usage_in_bytes", "1000\n"),
                ("memory/c/memory.limit_in_bytes", "9223372036854771712\n"),
                ("memory/c/memory.stat", "cache 5\ninactive_file 1\ntotal_inactive_file 300\n"),
                ("cpuacct/c/cpuacct.usage", "77\n"),
                ("pids/c/pids.current", "3\n"),
                ("blkio/c/blkio.throttle.io_service_bytes_recursive", io),
            ],
        );
        let text = "4:memory:/c\n3:cpuacct:/c\n2:pids:/c\n1:blkio:/c\n";
        let got = of_v1(&Groups::parse(dir.path(), text));
        assert_eq!((got.cpu, got.memory, got.pids, got.io), (77, 700, 3, (4100, 8192)));
        assert!(got.limit > 1 << 60);
    }

    #[test]
    fn v2_counters() {
        let dir = tempfile::tempdir().unwrap();
        write(
            dir.path(),
            &[
                ("memory.current", "1000\n"),
                ("memory.max", "max\n"),
                ("memory.stat", "anon 5\ninactive_file 100\n"),
                ("cpu.stat", "usage_usec 12\nuser_usec 3\n"),
                ("pids.current", "1\n"),
                ("io.stat", "8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2 rios=1\n"),
            ],
        );
        let got = of_v2(dir.path());
        assert_eq!((got.cpu, got.memory, got.pids, got.io), (12000, 900, 1, (11, 22)));
        assert_eq!(got.limit, u64::MAX);
    }

    #[test]
    fn devices_but_for_the_loopback() {
        let text = "Inter-|   Receive |  Transmit\n face |bytes packets\n    lo: 9 1 0 0 0 0 0 0 9 1\n  eth0: 100 1 0 0 0 0 0 0 200 1\n";
        assert_eq!(sum_of_devices(text), (100, 200));
        assert_eq!(machine_memory("MemTotal:       10 kB\nMemFree: 1 kB\n"), 10240);
    }

    #[test]
    fn half_a_cpu_over_a_second_is_50_percent() {
        let before = Sample::none();
        let now = Sample { at: before.at + Duration::from_secs(1), cpu: 500_000_000, ..before };
        assert!((cpu_percent(&before, &now) - 50.0).abs() < 0.01);
    }
}
