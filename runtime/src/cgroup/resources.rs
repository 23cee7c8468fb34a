//! `linux.resources` of config.json as it is written; nothing is judged here.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use crate::null;

/// SPEC: config-linux.md §Control groups.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Resources<'a> {
    /// The device rules, in order; the runtime's own follow them.
    #[serde(borrow, deserialize_with = "null::is_default")]
    pub devices: Vec<Device<'a>>,
    /// Memory, in bytes.
    #[serde(deserialize_with = "null::is_default")]
    pub memory: Memory,
    /// CPU time and placement.
    #[serde(borrow, deserialize_with = "null::is_default")]
    pub cpu: Cpu<'a>,
    /// The number of tasks.
    #[serde(deserialize_with = "null::is_default")]
    pub pids: Pids,
    /// Block devices.
    #[serde(rename = "blockIO", deserialize_with = "null::is_default")]
    pub block_io: BlockIo,
    /// Huge pages.
    #[serde(borrow, rename = "hugepageLimits", deserialize_with = "null::is_default")]
    pub hugepage_limits: Vec<HugepageLimit<'a>>,
    /// Marks on network packets (cgroup v1).
    #[serde(borrow, deserialize_with = "null::is_default")]
    pub network: Network<'a>,
    /// RDMA devices, by name.
    #[serde(deserialize_with = "null::is_default")]
    pub rdma: BTreeMap<String, Rdma>,
    /// cgroup v2 files and their values.
    #[serde(deserialize_with = "null::is_default")]
    pub unified: BTreeMap<String, String>,
}

/// A device rule; absent numbers stand for all.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Device<'a> {
    /// Whether access is granted or taken.
    pub allow: bool,
    /// `a`, `b` or `c`; absent is `a`.
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
    /// Major number.
    pub major: Option<i64>,
    /// Minor number.
    pub minor: Option<i64>,
    /// Of `r`, `w` and `m`.
    #[serde(borrow)]
    pub access: Cow<'a, str>,
}

/// `linux.resources.memory`; -1 is no limit, 0 is not asked.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Memory {
    /// Hard limit.
    pub limit: Option<i64>,
    /// Soft limit.
    pub reservation: Option<i64>,
    /// Hard limit of memory and swap together.
    pub swap: Option<i64>,
    /// Kernel memory: the kernel has no such limit any more.
    pub kernel: Option<i64>,
    /// Kernel memory for TCP: likewise.
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: Option<i64>,
    /// 0 to 100 (cgroup v1).
    pub swappiness: Option<u64>,
    /// Stop tasks instead of killing them (cgroup v1).
    #[serde(rename = "disableOOMKiller")]
    pub disable_oom_killer: Option<bool>,
    /// Whether groups below count as part of this one; the kernel knows nothing else any more.
    pub use_hierarchy: Option<bool>,
    /// Whether an update below the present usage is refused.
    pub check_before_update: Option<bool>,
}

/// `linux.resources.cpu`; times in microseconds, 0 is not asked.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Cpu<'a> {
    /// Relative weight, 2 to 262144.
    pub shares: Option<u64>,
    /// Time in each period; negative is no limit.
    pub quota: Option<i64>,
    /// Time that may be saved up.
    pub burst: Option<u64>,
    /// The period.
    pub period: Option<u64>,
    /// Real-time tasks' time in each of their periods (cgroup v1).
    pub realtime_runtime: Option<i64>,
    /// Real-time tasks' period (cgroup v1).
    pub realtime_period: Option<u64>,
    /// CPUs, as `0-3,7`.
    #[serde(borrow)]
    pub cpus: Cow<'a, str>,
    /// Memory nodes, likewise.
    #[serde(borrow)]
    pub mems: Cow<'a, str>,
    /// 1: run only when nothing else wants to.
    pub idle: Option<i64>,
}

/// `linux.resources.pids`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Pids {
    /// The most tasks; below zero is no limit.
    pub limit: Option<i64>,
}

impl Pids {
    /// What a limit of 0 means to whoever wrote a config of this `ociVersion`.
    ///
    /// SPEC: config-linux.md §PIDs: since 1.3 it is a limit (as runc, the least that a container
    /// can live with); until then it stood for an absent one, and engines write it so.
    pub fn settle(&mut self, version: &str) {
        let minor = version.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
        if self.limit == Some(0) {
            self.limit = Some(if minor.is_some_and(|minor| minor >= 3) { 1 } else { -1 });
        }
    }
}

impl Resources<'_> {
    /// What is passed over, said as runc says it.
    pub fn warning(&self) -> Option<&'static str> {
        let kernel = self.memory.kernel.is_some() || self.memory.kernel_tcp.is_some();
        kernel.then_some("Kernel memory settings are ignored and will be removed")
    }
}

/// `linux.resources.blockIO`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BlockIo {
    /// Relative weight, 10 to 1000.
    pub weight: Option<u16>,
    /// Weight of the tasks against child groups (CFQ only).
    pub leaf_weight: Option<u16>,
    /// Weights by device.
    #[serde(deserialize_with = "null::is_default")]
    pub weight_device: Vec<WeightDevice>,
    /// Bytes read in a second, by device.
    #[serde(deserialize_with = "null::is_default")]
    pub throttle_read_bps_device: Vec<ThrottleDevice>,
    /// Bytes written in a second, by device.
    #[serde(deserialize_with = "null::is_default")]
    pub throttle_write_bps_device: Vec<ThrottleDevice>,
    /// Reads in a second, by device.
    #[serde(rename = "throttleReadIOPSDevice", deserialize_with = "null::is_default")]
    pub throttle_read_iops_device: Vec<ThrottleDevice>,
    /// Writes in a second, by device.
    #[serde(rename = "throttleWriteIOPSDevice", deserialize_with = "null::is_default")]
    pub throttle_write_iops_device: Vec<ThrottleDevice>,
}

/// A device's weight.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WeightDevice {
    /// Major number.
    pub major: i64,
    /// Minor number.
    pub minor: i64,
    /// Relative weight.
    pub weight: Option<u16>,
    /// Weight against child groups (CFQ only).
    pub leaf_weight: Option<u16>,
}

/// A device's rate.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ThrottleDevice {
    /// Major number.
    pub major: i64,
    /// Minor number.
    pub minor: i64,
    /// In a second.
    pub rate: u64,
}

/// One of `linux.resources.hugepageLimits`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HugepageLimit<'a> {
    /// As `2MB`.
    #[serde(borrow)]
    pub page_size: Cow<'a, str>,
    /// In bytes.
    pub limit: u64,
}

/// `linux.resources.network`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Network<'a> {
    /// Class of the packets.
    #[serde(rename = "classID")]
    pub class_id: Option<u32>,
    /// Priorities by interface.
    #[serde(borrow, deserialize_with = "null::is_default")]
    pub priorities: Vec<Priority<'a>>,
}

/// The priority of packets on an interface.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Priority<'a> {
    /// The interface's name.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// The priority.
    pub priority: u32,
}

/// Limits of an RDMA device.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Rdma {
    /// The most handles.
    pub hca_handles: Option<u32>,
    /// The most objects.
    pub hca_objects: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_tasks_is_a_limit_since_version_1_3() {
        for (version, limit, settled) in [
            ("1.0.2-dev", 0, -1),
            ("1.2.1", 0, -1),
            ("1.3.0", 0, 1),
            ("1.3.0", -1, -1),
            ("1.0.0", 9, 9),
        ] {
            let mut pids = Pids { limit: Some(limit) };
            pids.settle(version);
            assert_eq!(pids.limit, Some(settled), "{version} {limit}");
        }
    }
}
