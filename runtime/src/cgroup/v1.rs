//! Limits as cgroup v1 has them.

use super::limit::{Absent, Limit, asked, throttles, weights};
use super::resources::{BlockIo, Cpu, Memory, Resources};
use crate::error::{Error, Result};

/// The files to write, in an order that suits both a new group and a change.
pub(super) fn limits(r: &Resources) -> Result<Vec<Limit>> {
    if let Some(key) = r.unified.keys().next() {
        let why = "invalid configuration: cannot use unified on cgroup v1, which this host runs";
        return Err(Error::config(super::pointer_to_unified(key), why));
    }
    let mut out = Vec::new();
    cpuset(&mut out, &r.cpu);
    memory(&mut out, &r.memory)?;
    cpu(&mut out, &r.cpu)?;
    if let Some(limit) = r.pids.limit {
        out.push(Limit::new("pids", "pids.max", super::pids(limit), "/pids/limit"));
    }
    block_io(&mut out, &r.block_io);
    for (at, huge) in r.hugepage_limits.iter().enumerate() {
        let file = |middle| format!("hugetlb.{}{middle}.limit_in_bytes", huge.page_size);
        let pointer = format!("/hugepageLimits/{at}");
        out.push(Limit::new("hugetlb", file(""), huge.limit, pointer.clone()));
        out.push(Limit::new("hugetlb", file(".rsvd"), huge.limit, pointer).or(Absent::Skip));
    }
    if let Some(class) = asked(r.network.class_id) {
        out.push(Limit::new("net_cls", "net_cls.classid", class, "/network/classID"));
    }
    for (at, p) in r.network.priorities.iter().enumerate() {
        let value = format!("{} {}", p.name, p.priority);
        let pointer = format!("/network/priorities/{at}");
        out.push(Limit::new("net_prio", "net_prio.ifpriomap", value, pointer));
    }
    super::rdma(&mut out, &r.rdma);
    Ok(out)
}

fn cpuset(out: &mut Vec<Limit>, cpu: &Cpu) {
    if !cpu.cpus.is_empty() {
        out.push(Limit::new("cpuset", "cpuset.cpus", &cpu.cpus, "/cpu/cpus"));
    }
    if !cpu.mems.is_empty() {
        out.push(Limit::new("cpuset", "cpuset.mems", &cpu.mems, "/cpu/mems"));
    }
}

fn memory(out: &mut Vec<Limit>, memory: &Memory) -> Result<()> {
    const CONTROLLER: &str = "memory";
    if let Some(limit) = asked(memory.limit) {
        out.push(Limit::new(CONTROLLER, "memory.limit_in_bytes", limit, "/memory/limit"));
    }
    let file = "memory.memsw.limit_in_bytes";
    match (asked(memory.limit), asked(memory.swap)) {
        (_, Some(swap)) => out.push(Limit::new(CONTROLLER, file, swap, "/memory/swap")),
        // As runc: no limit on memory means none on swap either.
        (Some(-1), None) => {
            out.push(Limit::new(CONTROLLER, file, -1, "/memory/limit").or(Absent::Skip));
        }
        _ => {}
    }
    if let Some(soft) = asked(memory.reservation) {
        let file = "memory.soft_limit_in_bytes";
        out.push(Limit::new(CONTROLLER, file, soft, "/memory/reservation"));
    }
    if memory.disable_oom_killer == Some(true) {
        let pointer = "/memory/disableOOMKiller";
        out.push(Limit::new(CONTROLLER, "memory.oom_control", 1, pointer));
    }
    if let Some(whole) = memory.use_hierarchy {
        let pointer = "/memory/useHierarchy";
        let value = u8::from(whole);
        // KERNEL: since 5.11 nothing else is possible; the file takes a 1 still.
        let limit = Limit::new(CONTROLLER, "memory.use_hierarchy", value, pointer);
        out.push(if whole { limit.or(Absent::Skip) } else { limit });
    }
    match memory.swappiness {
        // As runc: -1, as docker once wrote it, is "not asked".
        None | Some(u64::MAX) => {}
        Some(value @ 0..=100) => {
            out.push(Limit::new(CONTROLLER, "memory.swappiness", value, "/memory/swappiness"));
        }
        Some(value) => {
            let why = format!("{value} is out of range (0 to 100)");
            return Err(Error::config("/linux/resources/memory/swappiness", why));
        }
    }
    Ok(())
}

fn cpu(out: &mut Vec<Limit>, cpu: &Cpu) -> Result<()> {
    const CONTROLLER: &str = "cpu";
    let mut push = |file, value: String, pointer| {
        out.push(Limit::new(CONTROLLER, file, value, pointer));
    };
    if let Some(shares) = asked(cpu.shares) {
        // KERNEL: kernel/sched/core.c MIN_SHARES and MAX_SHARES; it would clamp.
        if !(2..=262_144).contains(&shares) {
            let why = format!("{shares} is out of range (2 to 262144)");
            return Err(Error::config("/linux/resources/cpu/shares", why));
        }
        push("cpu.shares", shares.to_string(), "/cpu/shares");
    }
    if let Some(period) = asked(cpu.period) {
        push("cpu.cfs_period_us", period.to_string(), "/cpu/period");
    }
    if let Some(quota) = asked(cpu.quota) {
        push("cpu.cfs_quota_us", quota.to_string(), "/cpu/quota");
    }
    if let Some(burst) = cpu.burst {
        push("cpu.cfs_burst_us", burst.to_string(), "/cpu/burst");
    }
    if let Some(idle) = cpu.idle {
        push("cpu.idle", idle.to_string(), "/cpu/idle");
    }
    if let Some(period) = asked(cpu.realtime_period) {
        push("cpu.rt_period_us", period.to_string(), "/cpu/realtimePeriod");
    }
    if let Some(runtime) = asked(cpu.realtime_runtime) {
        push("cpu.rt_runtime_us", runtime.to_string(), "/cpu/realtimeRuntime");
    }
    Ok(())
}

fn block_io(out: &mut Vec<Limit>, io: &BlockIo) {
    const CONTROLLER: &str = "blkio";
    // KERNEL: the plain files went with CFQ in 5.0, BFQ brought its own.
    if let Some(weight) = asked(io.weight) {
        let instead = Absent::Instead("blkio.bfq.weight".into(), weight.to_string());
        out.push(Limit::new(CONTROLLER, "blkio.weight", weight, "/blockIO/weight").or(instead));
    }
    if let Some(weight) = asked(io.leaf_weight) {
        let pointer = "/blockIO/leafWeight";
        out.push(Limit::new(CONTROLLER, "blkio.leaf_weight", weight, pointer));
    }
    for (device, weight, pointer) in weights(&io.weight_device, "weight", |d| d.weight) {
        let value = format!("{device} {weight}");
        let instead = Absent::Instead("blkio.bfq.weight_device".into(), value.clone());
        out.push(Limit::new(CONTROLLER, "blkio.weight_device", value, pointer).or(instead));
    }
    for (device, weight, pointer) in weights(&io.weight_device, "leafWeight", |d| d.leaf_weight) {
        let value = format!("{device} {weight}");
        out.push(Limit::new(CONTROLLER, "blkio.leaf_weight_device", value, pointer));
    }
    let mut throttle = |devices, file, field| {
        for (device, rate, pointer) in throttles(devices, field) {
            out.push(Limit::new(CONTROLLER, file, format!("{device} {rate}"), pointer));
        }
    };
    throttle(
        &io.throttle_read_bps_device,
        "blkio.throttle.read_bps_device",
        "throttleReadBpsDevice",
    );
    throttle(
        &io.throttle_write_bps_device,
        "blkio.throttle.write_bps_device",
        "throttleWriteBpsDevice",
    );
    throttle(
        &io.throttle_read_iops_device,
        "blkio.throttle.read_iops_device",
        "throttleReadIOPSDevice",
    );
    throttle(
        &io.throttle_write_iops_device,
        "blkio.throttle.write_iops_device",
        "throttleWriteIOPSDevice",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(json: &str) -> Vec<(String, String)> {
        let resources: Resources = serde_json::from_str(json).unwrap();
        limits(&resources).unwrap().into_iter().map(|l| (l.file.into_owned(), l.value)).collect()
    }

    fn pair(file: &str, value: &str) -> (String, String) {
        (file.to_owned(), value.to_owned())
    }

    #[test]
    fn memory_is_limited_before_memory_and_swap() {
        assert_eq!(
            files(
                r#"{"memory":{"limit":1048576,"swap":2097152,"reservation":524288,
                "kernel":1,"swappiness":0,"disableOOMKiller":true}}"#
            ),
            [
                pair("memory.limit_in_bytes", "1048576"),
                pair("memory.memsw.limit_in_bytes", "2097152"),
                pair("memory.soft_limit_in_bytes", "524288"),
                pair("memory.oom_control", "1"),
                pair("memory.swappiness", "0"),
            ]
        );
    }

    #[test]
    fn zero_and_null_ask_nothing() {
        assert!(
            files(r#"{"memory":{"limit":0},"cpu":{"shares":0,"cpus":""},"pids":null}"#).is_empty()
        );
        assert!(files(r#"{"devices":null,"rdma":null,"hugepageLimits":null}"#).is_empty());
    }

    #[test]
    fn pids_zero_and_below_is_no_limit() {
        assert_eq!(files(r#"{"pids":{"limit":0}}"#), [pair("pids.max", "max")]);
        assert_eq!(files(r#"{"pids":{"limit":-1}}"#), [pair("pids.max", "max")]);
        assert_eq!(files(r#"{"pids":{"limit":20}}"#), [pair("pids.max", "20")]);
    }

    #[test]
    fn everything_else_has_its_file() {
        assert_eq!(
            files(
                r#"{"cpu":{"shares":512,"quota":5000,"period":10000,"burst":0,"idle":1,
                    "realtimeRuntime":10,"realtimePeriod":20,"cpus":"0","mems":"0"},
                "blockIO":{"weight":500,"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":100}]},
                "hugepageLimits":[{"pageSize":"2MB","limit":4194304}],
                "network":{"classID":7,"priorities":[{"name":"eth0","priority":3}]},
                "rdma":{"mlx5_0":{"hcaHandles":2}}}"#
            ),
            [
                pair("cpuset.cpus", "0"),
                pair("cpuset.mems", "0"),
                pair("cpu.shares", "512"),
                pair("cpu.cfs_period_us", "10000"),
                pair("cpu.cfs_quota_us", "5000"),
                pair("cpu.cfs_burst_us", "0"),
                pair("cpu.idle", "1"),
                pair("cpu.rt_period_us", "20"),
                pair("cpu.rt_runtime_us", "10"),
                pair("blkio.weight", "500"),
                pair("blkio.throttle.read_bps_device", "8:0 100"),
                pair("hugetlb.2MB.limit_in_bytes", "4194304"),
                pair("hugetlb.2MB.rsvd.limit_in_bytes", "4194304"),
                pair("net_cls.classid", "7"),
                pair("net_prio.ifpriomap", "eth0 3"),
                pair("rdma.max", "mlx5_0 hca_handle=2"),
            ]
        );
    }

    #[test]
    fn unified_is_refused() {
        let resources: Resources =
            serde_json::from_str(r#"{"unified":{"memory.high":"1"}}"#).unwrap();
        let fault = limits(&resources).unwrap_err().to_string();
        assert!(fault.contains("/linux/resources/unified/memory.high"), "{fault}");
    }
}
