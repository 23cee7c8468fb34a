//! Namespaces, resources, devices, masks.

use std::collections::HashMap;
use std::path::PathBuf;

use oci_spec::runtime::{
    Linux, LinuxCpu, LinuxMemory, LinuxNamespace, LinuxNamespaceType, LinuxPids, LinuxResources,
};

use crate::bundle::{Shares, block_io, devices, is_shared, joining, seccomp};
use crate::error::Result;
use crate::model::{HostConfig, Record};
use crate::options::rights;

const MASKED: [&str; 11] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
const POWERCAP: &str = "/sys/devices/virtual/powercap";
const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Record → the linux part.
pub fn linux(record: &Record, security: &rights::Security, shares: &Shares) -> Result<Linux> {
    let host = &record.host_config;
    let (nodes, rules) = devices::devices(host)?;
    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(namespaces(host, shares)))
        .set_resources(Some(resources(host, rules)?))
        .set_devices((!nodes.is_empty()).then_some(nodes))
        .set_cgroups_path(Some(cgroup(record)))
        .set_sysctl(sysctls(host))
        .set_seccomp(seccomp::filter(record, &security.seccomp)?)
        .set_rootfs_propagation(propagation(record))
        .set_masked_paths(None)
        .set_readonly_paths(None);
    if !host.privileged && !security.systempaths_unconfined {
        linux.set_masked_paths(Some(masked_paths()));
        linux.set_readonly_paths(Some(read_only_paths()));
    }
    Ok(linux)
}

/// What no container sees, unless it is privileged.
pub fn masked_paths() -> Vec<String> {
    MASKED.iter().chain(&[POWERCAP]).map(|p| (*p).to_owned()).collect()
}

/// What no container writes to, unless it is privileged.
pub fn read_only_paths() -> Vec<String> {
    READ_ONLY.iter().map(|p| (*p).to_owned()).collect()
}

/// One name directly under the root of each hierarchy: nothing to share, nothing left behind.
fn cgroup(record: &Record) -> PathBuf {
    let parent = record.host_config.cgroup_parent.trim_matches('/');
    let name = format!("dhow-{}", record.id);
    if parent.is_empty() {
        PathBuf::from("/").join(name)
    } else {
        PathBuf::from("/").join(parent).join(name)
    }
}

fn namespaces(host: &HostConfig, shares: &Shares) -> Vec<LinuxNamespace> {
    let space = |kind: LinuxNamespaceType, path: Option<PathBuf>| {
        let mut space = LinuxNamespace::default();
        space.set_typ(kind).set_path(path);
        space
    };
    let mut all = vec![space(LinuxNamespaceType::Mount, None)];
    match (host.pid_mode.as_str(), &shares.pid) {
        (_, Some(fd)) => all.push(space(LinuxNamespaceType::Pid, Some(joining::path(fd)))),
        ("host", None) => {}
        _ => all.push(space(LinuxNamespaceType::Pid, None)),
    }
    match (host.network_mode.as_str(), &shares.network) {
        (_, Some(fd)) => all.push(space(LinuxNamespaceType::Network, Some(joining::path(fd)))),
        ("host", None) => {}
        _ => all.push(space(LinuxNamespaceType::Network, None)),
    }
    if host.uts_mode != "host" {
        all.push(space(LinuxNamespaceType::Uts, None));
    }
    match (host.ipc_mode.as_str(), &shares.ipc) {
        (_, Some(fd)) => all.push(space(LinuxNamespaceType::Ipc, Some(joining::path(fd)))),
        ("host", None) => {}
        _ => all.push(space(LinuxNamespaceType::Ipc, None)),
    }
    // DIFFERS: docker keeps the host's cgroup namespace on cgroup v1; ours is private
    // everywhere (CVE-2023-25809 and its kind need the host's).
    if host.cgroupns_mode != "host" && !host.privileged || host.cgroupns_mode == "private" {
        all.push(space(LinuxNamespaceType::Cgroup, None));
    }
    all
}

/// Ports below 1024 and ping for every user, as docker does in a network of the container's own.
fn sysctls(host: &HostConfig) -> Option<HashMap<String, String>> {
    let mut map: HashMap<String, String> = HashMap::new();
    if crate::options::networks::is_private(&host.network_mode) {
        map.insert("net.ipv4.ip_unprivileged_port_start".into(), "0".into());
        map.insert("net.ipv4.ping_group_range".into(), "0 2147483647".into());
    }
    map.extend(host.sysctls.clone());
    (!map.is_empty()).then_some(map)
}

fn propagation(record: &Record) -> Option<String> {
    let any = |test: fn(&str) -> bool| record.mounts.iter().any(|m| test(&m.propagation));
    if any(is_shared) {
        return Some("shared".to_owned());
    }
    any(|mode| mode.ends_with("slave")).then(|| "rslave".to_owned())
}

fn resources(
    host: &HostConfig,
    rules: Vec<oci_spec::runtime::LinuxDeviceCgroup>,
) -> Result<LinuxResources> {
    let mut resources = LinuxResources::default();
    resources.set_devices(Some(rules)).set_memory(memory(host)).set_cpu(cpu(host)).set_pids(
        host.pids_limit.filter(|n| *n > 0).map(|n| {
            let mut pids = LinuxPids::default();
            pids.set_limit(n);
            pids
        }),
    );
    resources.set_block_io(block_io::limits(host)?);
    Ok(resources)
}

fn memory(host: &HostConfig) -> Option<LinuxMemory> {
    let mut memory = LinuxMemory::default();
    let set = |n: i64| (n != 0).then_some(n);
    // As docker: twice the memory when only memory was said.
    let swap = match (host.memory, host.memory_swap) {
        (0, _) => None,
        (memory, 0) => memory.checked_mul(2),
        (_, swap) => Some(swap),
    };
    memory
        .set_limit(set(host.memory))
        .set_reservation(set(host.memory_reservation))
        .set_swap(swap)
        .set_swappiness(host.memory_swappiness.map(|n| n as u64))
        .set_disable_oom_killer(host.oom_kill_disable);
    (memory != LinuxMemory::default()).then_some(memory)
}

fn cpu(host: &HostConfig) -> Option<LinuxCpu> {
    const PERIOD: i64 = 100_000;
    let mut cpu = LinuxCpu::default();
    let text = |s: &String| (!s.is_empty()).then(|| s.clone());
    cpu.set_shares((host.cpu_shares != 0).then_some(host.cpu_shares as u64))
        .set_cpus(text(&host.cpuset_cpus))
        .set_mems(text(&host.cpuset_mems));
    cpu.set_realtime_period(
        (host.cpu_realtime_period != 0).then_some(host.cpu_realtime_period as u64),
    )
    .set_realtime_runtime((host.cpu_realtime_runtime != 0).then_some(host.cpu_realtime_runtime));
    if host.nano_cpus == 0 {
        cpu.set_period((host.cpu_period != 0).then_some(host.cpu_period as u64));
        cpu.set_quota((host.cpu_quota != 0).then_some(host.cpu_quota));
    } else {
        cpu.set_period(Some(PERIOD as u64));
        cpu.set_quota(Some((host.nano_cpus / 10_000).saturating_mul(PERIOD) / 100_000));
    }
    (cpu != LinuxCpu::default()).then_some(cpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_and_a_half_cpus_are_150_of_100_milliseconds() {
        let host = HostConfig { nano_cpus: 1_500_000_000, ..HostConfig::default() };
        let cpu = cpu(&host).unwrap();
        assert_eq!((cpu.quota(), cpu.period()), (Some(150_000), Some(100_000)));
    }

    #[test]
    fn swap_is_twice_the_memory_unless_said() {
        let host = HostConfig { memory: 1 << 26, ..HostConfig::default() };
        assert_eq!(memory(&host).unwrap().swap(), Some(1 << 27));
        let host = HostConfig { memory: 1 << 26, memory_swap: -1, ..HostConfig::default() };
        assert_eq!(memory(&host).unwrap().swap(), Some(-1));
        assert_eq!(memory(&HostConfig::default()), None);
    }
}
