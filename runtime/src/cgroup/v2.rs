//! Limits as cgroup v2 has them.

use super::limit::{Absent, Limit, asked, io_weight, throttles, weight, weights};
use super::resources::{BlockIo, Cpu, Memory, Resources};
use crate::error::{Error, Result};

/// The files to write, in an order that suits both a new group and a change.
pub(super) fn limits(r: &Resources) -> Result<Vec<Limit>> {
    refuse(r)?;
    let mut out = Vec::new();
    if let Some(limit) = r.pids.limit {
        out.push(Limit::new("pids", "pids.max", super::pids(limit), "/pids/limit"));
    }
    memory(&mut out, &r.memory)?;
    block_io(&mut out, &r.block_io);
    cpu(&mut out, &r.cpu);
    for (at, huge) in r.hugepage_limits.iter().enumerate() {
        let file = |middle| format!("hugetlb.{}{middle}.max", huge.page_size);
        let pointer = format!("/hugepageLimits/{at}");
        out.push(Limit::new("hugetlb", file(""), huge.limit, pointer.clone()));
        out.push(Limit::new("hugetlb", file(".rsvd"), huge.limit, pointer).or(Absent::Skip));
    }
    super::rdma(&mut out, &r.rdma);
    unified(&mut out, r)?;
    Ok(out)
}

/// What v2 has no counterpart of, and what would be lost without a word.
fn refuse(r: &Resources) -> Result<()> {
    let none = |pointer: &str, what: &str| {
        let why = format!("cgroup v2 has no {what}; this host runs cgroup v2");
        Err(Error::config(format!("/linux/resources{pointer}"), why))
    };
    if asked(r.cpu.realtime_runtime).is_some() {
        return none("/cpu/realtimeRuntime", "realtime limits");
    }
    if asked(r.cpu.realtime_period).is_some() {
        return none("/cpu/realtimePeriod", "realtime limits");
    }
    if asked(r.network.class_id).is_some() {
        return none("/network/classID", "net_cls controller");
    }
    if !r.network.priorities.is_empty() {
        return none("/network/priorities", "net_prio controller");
    }
    if asked(r.block_io.leaf_weight).is_some() {
        return none("/blockIO/leafWeight", "leaf weights");
    }
    let leaf = |d: &super::WeightDevice| asked(d.leaf_weight).is_some();
    if let Some(at) = r.block_io.weight_device.iter().position(leaf) {
        return none(&format!("/blockIO/weightDevice/{at}/leafWeight"), "leaf weights");
    }
    Ok(())
}

/// The spec's swap is memory and swap together; v2 limits swap alone.
fn swap(memory: &Memory) -> Result<Option<String>> {
    let refuse = |why: String| Err(Error::config("/linux/resources/memory/swap", why));
    let limit = memory.limit.unwrap_or(0);
    match (asked(memory.swap), limit) {
        // As runc: no limit on memory means none on swap either.
        (None, -1) | (Some(-1), _) => Ok(Some("max".to_owned())),
        (None, _) => Ok(None),
        (Some(swap), -1) => Ok(Some(swap.to_string())),
        (Some(_), 0) => refuse("a swap limit needs a memory limit".to_owned()),
        (Some(swap), limit) if limit < 0 || swap < limit => {
            refuse(format!("{swap} is less than the memory limit, {limit}, which it includes"))
        }
        (Some(swap), limit) => Ok(Some((swap - limit).to_string())),
    }
}

fn memory(out: &mut Vec<Limit>, memory: &Memory) -> Result<()> {
    const CONTROLLER: &str = "memory";
    if let Some(value) = swap(memory)? {
        // Without swap accounting there is no swap to limit.
        let absent =
            if matches!(value.as_str(), "max" | "0") { Absent::Skip } else { Absent::Fail };
        out.push(Limit::new(CONTROLLER, "memory.swap.max", value, "/memory/swap").or(absent));
    }
    if let Some(limit) = asked(memory.limit) {
        out.push(Limit::new(CONTROLLER, "memory.max", or_max(limit), "/memory/limit"));
    }
    if let Some(soft) = asked(memory.reservation) {
        let value = or_max(soft);
        out.push(Limit::new(CONTROLLER, "memory.low", value, "/memory/reservation"));
    }
    // DIFFERS: runc passes over both without a word; crun refuses them too.
    let refused = |field: &str| {
        let why = "cgroup v2 has no such setting; leave it out";
        Err(Error::config(format!("/linux/resources/memory/{field}"), why))
    };
    if memory.use_hierarchy == Some(false) {
        let why = "cgroup v2 is always hierarchical; leave it out";
        return Err(Error::config("/linux/resources/memory/useHierarchy", why));
    }
    match (memory.disable_oom_killer, memory.swappiness) {
        (Some(true), _) => refused("disableOOMKiller"),
        // As on v1, -1 is "not asked".
        (_, Some(n)) if n != u64::MAX => refused("swappiness"),
        _ => Ok(()),
    }
}

fn or_max(value: i64) -> String {
    if value == -1 { "max".to_owned() } else { value.to_string() }
}

fn cpu(out: &mut Vec<Limit>, cpu: &Cpu) {
    const CONTROLLER: &str = "cpu";
    let mut push = |controller, file, value: String, pointer| {
        out.push(Limit::new(controller, file, value, pointer));
    };
    if let Some(idle) = cpu.idle {
        push(CONTROLLER, "cpu.idle", idle.to_string(), "/cpu/idle");
    }
    if let Some(shares) = asked(cpu.shares) {
        // KERNEL: a weight beside cpu.idle is EINVAL, and idle is the weight.
        if cpu.idle != Some(1) {
            push(CONTROLLER, "cpu.weight", weight(shares).to_string(), "/cpu/shares");
        }
    }
    let (quota, period) = (asked(cpu.quota), asked(cpu.period));
    if quota.is_some() || period.is_some() {
        let quota = quota.filter(|quota| *quota > 0).map_or("max".to_owned(), |q| q.to_string());
        // KERNEL: cgroup-v2.rst, the period when none is set.
        let value = format!("{quota} {}", period.unwrap_or(100_000));
        let pointer = if cpu.quota.is_some() { "/cpu/quota" } else { "/cpu/period" };
        push(CONTROLLER, "cpu.max", value, pointer);
    }
    if let Some(burst) = cpu.burst {
        push(CONTROLLER, "cpu.max.burst", burst.to_string(), "/cpu/burst");
    }
    if !cpu.cpus.is_empty() {
        push("cpuset", "cpuset.cpus", cpu.cpus.to_string(), "/cpu/cpus");
    }
    if !cpu.mems.is_empty() {
        push("cpuset", "cpuset.mems", cpu.mems.to_string(), "/cpu/mems");
    }
}

fn block_io(out: &mut Vec<Limit>, io: &BlockIo) {
    const CONTROLLER: &str = "io";
    // BFQ's weights where that scheduler is there, iocost's otherwise.
    if let Some(weight) = asked(io.weight) {
        let instead = Absent::Instead("io.weight".into(), io_weight(weight).to_string());
        out.push(Limit::new(CONTROLLER, "io.bfq.weight", weight, "/blockIO/weight").or(instead));
    }
    for (device, weight, pointer) in weights(&io.weight_device, "weight", |d| d.weight) {
        let instead =
            Absent::Instead("io.weight".into(), format!("{device} {}", io_weight(weight)));
        let value = format!("{device} {weight}");
        out.push(Limit::new(CONTROLLER, "io.bfq.weight", value, pointer).or(instead));
    }
    let mut throttle = |devices, key: &str, field| {
        for (device, rate, pointer) in throttles(devices, field) {
            let value = format!("{device} {key}={rate}");
            out.push(Limit::new(CONTROLLER, "io.max", value, pointer));
        }
    };
    throttle(&io.throttle_read_bps_device, "rbps", "throttleReadBpsDevice");
    throttle(&io.throttle_write_bps_device, "wbps", "throttleWriteBpsDevice");
    throttle(&io.throttle_read_iops_device, "riops", "throttleReadIOPSDevice");
    throttle(&io.throttle_write_iops_device, "wiops", "throttleWriteIOPSDevice");
}

fn unified(out: &mut Vec<Limit>, r: &Resources) -> Result<()> {
    for (key, value) in &r.unified {
        let pointer = super::pointer_to_unified(key);
        if key.contains('/') {
            return Err(Error::config(pointer, "a file's name has no slash"));
        }
        let Some((controller, _)) = key.split_once('.') else {
            let why = "must have the form CONTROLLER.PARAMETER, as memory.high";
            return Err(Error::config(pointer, why));
        };
        let pointer = pointer.trim_start_matches("/linux/resources").to_owned();
        // As runc: a file such as io.max takes one line a write.
        for line in value.lines() {
            let mut limit = Limit::new("", key.clone(), line, pointer.clone());
            // The core's own files (cgroup.*) are there without a controller.
            if controller != "cgroup" {
                limit.controller = controller.to_owned().into();
            }
            out.push(limit);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(json: &str) -> Vec<(String, String)> {
        let resources: Resources = serde_json::from_str(json).unwrap();
        limits(&resources).unwrap().into_iter().map(|l| (l.file.into_owned(), l.value)).collect()
    }

    fn fault(json: &str) -> String {
        let resources: Resources = serde_json::from_str(json).unwrap();
        limits(&resources).unwrap_err().to_string()
    }

    fn pair(file: &str, value: &str) -> (String, String) {
        (file.to_owned(), value.to_owned())
    }

    #[test]
    fn swap_is_what_exceeds_memory() {
        for (json, expected) in [
            (r#"{"memory":{"limit":100,"swap":300}}"#, vec![("swap.max", "200"), ("max", "100")]),
            (r#"{"memory":{"limit":100,"swap":100}}"#, vec![("swap.max", "0"), ("max", "100")]),
            (r#"{"memory":{"limit":100,"swap":-1}}"#, vec![("swap.max", "max"), ("max", "100")]),
            (r#"{"memory":{"limit":-1}}"#, vec![("swap.max", "max"), ("max", "max")]),
            (r#"{"memory":{"limit":100}}"#, vec![("max", "100")]),
        ] {
            let expected: Vec<_> =
                expected.iter().map(|(f, v)| pair(&format!("memory.{f}"), v)).collect();
            assert_eq!(files(json), expected, "{json}");
        }
        assert!(fault(r#"{"memory":{"swap":300}}"#).contains("/linux/resources/memory/swap"));
        assert!(fault(r#"{"memory":{"limit":300,"swap":100}}"#).contains("less than"));
    }

    #[test]
    fn memory_settings_of_v1_alone_are_refused() {
        for field in [r#""swappiness":60"#, r#""disableOOMKiller":true"#] {
            let why = fault(&format!(r#"{{"memory":{{{field}}}}}"#));
            assert!(why.contains("/linux/resources/memory/"), "{why}");
        }
        assert_eq!(files(r#"{"memory":{"disableOOMKiller":false}}"#), []);
    }

    #[test]
    fn cpu_becomes_weight_and_max() {
        assert_eq!(
            files(r#"{"cpu":{"shares":1024,"quota":5000,"period":10000,"burst":7,"cpus":"0-1"}}"#),
            [
                pair("cpu.weight", "100"),
                pair("cpu.max", "5000 10000"),
                pair("cpu.max.burst", "7"),
                pair("cpuset.cpus", "0-1"),
            ]
        );
        assert_eq!(files(r#"{"cpu":{"quota":-1}}"#), [pair("cpu.max", "max 100000")]);
        assert_eq!(files(r#"{"cpu":{"period":50000}}"#), [pair("cpu.max", "max 50000")]);
    }

    #[test]
    fn io_and_the_rest_have_their_files() {
        assert_eq!(
            files(
                r#"{"blockIO":{"weight":10,"throttleWriteIOPSDevice":[{"major":8,"minor":1,"rate":9}]},
                "hugepageLimits":[{"pageSize":"1GB","limit":1}],"rdma":{"m":{"hcaObjects":3}},
                "unified":{"io.max":"8:0 rbps=1\n8:1 rbps=2","cgroup.max.depth":"2"}}"#
            ),
            [
                pair("io.bfq.weight", "10"),
                pair("io.max", "8:1 wiops=9"),
                pair("hugetlb.1GB.max", "1"),
                pair("hugetlb.1GB.rsvd.max", "1"),
                pair("rdma.max", "m hca_object=3"),
                pair("cgroup.max.depth", "2"),
                pair("io.max", "8:0 rbps=1"),
                pair("io.max", "8:1 rbps=2"),
            ]
        );
    }

    #[test]
    fn what_v2_lacks_is_refused_by_name() {
        for (json, pointer) in [
            (r#"{"cpu":{"realtimeRuntime":1}}"#, "/cpu/realtimeRuntime"),
            (r#"{"network":{"classID":1}}"#, "/network/classID"),
            (r#"{"blockIO":{"leafWeight":1}}"#, "/blockIO/leafWeight"),
            (r#"{"unified":{"../memory.max":"1"}}"#, "/unified/..~1memory.max"),
            (r#"{"unified":{"memory":"1"}}"#, "/unified/memory"),
        ] {
            let fault = fault(json);
            assert!(fault.contains(&format!("/linux/resources{pointer}: ")), "{fault}");
        }
    }
}
