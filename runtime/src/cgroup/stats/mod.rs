//! What a container uses, as `events` shows it: runc's JSON, key for key.

mod parse;
mod v1;
mod v2;

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::record::Record;
use crate::error::Result;

/// `data` of an event of type `stats`; what is zero is left out where runc leaves it out.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Stats {
    cpu: Cpu,
    cpuset: Cpuset,
    memory: Memory,
    pids: Pids,
    blkio: BlkIo,
    hugetlb: BTreeMap<String, Huge>,
    /// The resctrl group's; the key is always there.
    pub intel_rdt: crate::resctrl::Stats,
    /// Interfaces that the runtime itself made: it makes none.
    network_interfaces: Option<Vec<u8>>,
}

fn unset<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct Cpu {
    #[serde(skip_serializing_if = "unset")]
    usage: Usage,
    #[serde(skip_serializing_if = "unset")]
    throttling: Throttling,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Psi>,
}

/// CPU time, in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct Usage {
    #[serde(skip_serializing_if = "unset")]
    total: u64,
    #[serde(skip_serializing_if = "unset")]
    percpu: Vec<u64>,
    #[serde(skip_serializing_if = "unset")]
    percpu_kernel: Vec<u64>,
    #[serde(skip_serializing_if = "unset")]
    percpu_user: Vec<u64>,
    kernel: u64,
    user: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Throttling {
    #[serde(skip_serializing_if = "unset")]
    periods: u64,
    #[serde(skip_serializing_if = "unset")]
    throttled_periods: u64,
    #[serde(skip_serializing_if = "unset")]
    throttled_time: u64,
}

/// cgroup v1's cpuset; v2 shows zeros.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct Cpuset {
    #[serde(skip_serializing_if = "unset")]
    cpus: Vec<u16>,
    cpu_exclusive: u64,
    #[serde(skip_serializing_if = "unset")]
    mems: Vec<u16>,
    mem_hardwall: u64,
    mem_exclusive: u64,
    memory_migrate: u64,
    memory_spread_page: u64,
    memory_spread_slab: u64,
    memory_pressure: u64,
    sched_load_balance: u64,
    sched_relax_domain_level: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct Memory {
    #[serde(skip_serializing_if = "unset")]
    cache: u64,
    #[serde(skip_serializing_if = "unset")]
    usage: Entry,
    #[serde(skip_serializing_if = "unset")]
    swap: Entry,
    #[serde(skip_serializing_if = "unset")]
    kernel: Entry,
    #[serde(rename = "kernelTCP", skip_serializing_if = "unset")]
    kernel_tcp: Entry,
    #[serde(skip_serializing_if = "unset")]
    raw: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Psi>,
}

/// A kind of memory, in bytes; no limit is the greatest number.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct Entry {
    limit: u64,
    #[serde(skip_serializing_if = "unset")]
    usage: u64,
    #[serde(skip_serializing_if = "unset")]
    max: u64,
    failcnt: u64,
}

/// Tasks; no limit is 0.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct Pids {
    #[serde(skip_serializing_if = "unset")]
    current: u64,
    #[serde(skip_serializing_if = "unset")]
    limit: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct BlkIo {
    #[serde(skip_serializing_if = "unset")]
    io_service_bytes_recursive: Vec<Block>,
    #[serde(skip_serializing_if = "unset")]
    io_serviced_recursive: Vec<Block>,
    #[serde(skip_serializing_if = "unset")]
    io_queue_recursive: Vec<Block>,
    #[serde(skip_serializing_if = "unset")]
    io_service_time_recursive: Vec<Block>,
    #[serde(skip_serializing_if = "unset")]
    io_wait_time_recursive: Vec<Block>,
    #[serde(skip_serializing_if = "unset")]
    io_merged_recursive: Vec<Block>,
    #[serde(skip_serializing_if = "unset")]
    io_time_recursive: Vec<Block>,
    #[serde(skip_serializing_if = "unset")]
    sectors_recursive: Vec<Block>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Psi>,
}

/// A block device's count of one operation.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct Block {
    #[serde(skip_serializing_if = "unset")]
    major: u64,
    #[serde(skip_serializing_if = "unset")]
    minor: u64,
    #[serde(skip_serializing_if = "unset")]
    op: String,
    #[serde(skip_serializing_if = "unset")]
    value: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct Huge {
    #[serde(skip_serializing_if = "unset")]
    usage: u64,
    #[serde(skip_serializing_if = "unset")]
    max: u64,
    failcnt: u64,
}

/// Pressure stall information (cgroup v2).
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct Psi {
    #[serde(skip_serializing_if = "unset")]
    some: Stall,
    #[serde(skip_serializing_if = "unset")]
    full: Stall,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct Stall {
    #[serde(serialize_with = "percent")]
    avg10: f64,
    #[serde(serialize_with = "percent")]
    avg60: f64,
    #[serde(serialize_with = "percent")]
    avg300: f64,
    total: u64,
}

/// As Go has it: a whole number without a fraction.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn percent<S: Serializer>(value: &f64, to: S) -> std::result::Result<S::Ok, S::Error> {
    if value.fract() == 0.0 { to.serialize_i64(*value as i64) } else { to.serialize_f64(*value) }
}

impl Record {
    /// What the container uses now. A controller that it has no group of shows nothing.
    pub fn stats(&self) -> Result<Stats> {
        match self.pure_v2() {
            Some(dir) => v2::read(dir),
            None => v1::read(self),
        }
    }
}

/// The sizes of huge pages that this machine has, as the files of cgroups name them.
fn huge_page_sizes() -> Vec<String> {
    let entries = std::fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter_map(|name| huge_page_size(&name)).collect()
}

/// KERNEL: mm/hugetlb_cgroup.c mem_fmt(): `hugepages-2048kB` is `2MB`.
fn huge_page_size(name: &str) -> Option<String> {
    let kib: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
    Some(match kib {
        0..0x400 => format!("{kib}KB"),
        0x400..0x10_0000 => format!("{}MB", kib >> 10),
        _ => format!("{}GB", kib >> 20),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_zero_is_left_out_as_runc_leaves_it_out() {
        let json = serde_json::to_string(&Stats::default()).unwrap();
        assert_eq!(
            json,
            r#"{"cpu":{},"cpuset":{"cpu_exclusive":0,"mem_hardwall":0,"mem_exclusive":0,"#
                .to_owned()
                + r#""memory_migrate":0,"memory_spread_page":0,"memory_spread_slab":0,"#
                + r#""memory_pressure":0,"sched_load_balance":0,"sched_relax_domain_level":0},"#
                + r#""memory":{},"pids":{},"blkio":{},"hugetlb":{},"intel_rdt":{},"#
                + r#""network_interfaces":null}"#
        );
    }

    #[test]
    fn whole_percentages_have_no_fraction() {
        let stall = Stall { avg10: 1.0, avg60: 0.25, ..Stall::default() };
        let json = serde_json::to_string(&stall).unwrap();
        assert_eq!(json, r#"{"avg10":1,"avg60":0.25,"avg300":0,"total":0}"#);
    }

    #[test]
    fn sizes_of_huge_pages_are_named_as_the_kernel_names_them() {
        assert_eq!(huge_page_size("hugepages-64kB").as_deref(), Some("64KB"));
        assert_eq!(huge_page_size("hugepages-2048kB").as_deref(), Some("2MB"));
        assert_eq!(huge_page_size("hugepages-1048576kB").as_deref(), Some("1GB"));
        assert_eq!(huge_page_size("hugepages-x"), None);
    }
}
