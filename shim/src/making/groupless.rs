//! Limits where no cgroup can be made: for an ordinary user to whom nobody has delegated one.

use crate::error::{Error, Result};
use crate::model::HostConfig;

/// Takes all limits out of `host`; the lines that say so, in docker's words.
pub fn discard(host: &mut HostConfig) -> Result<Vec<String>> {
    if host.nano_cpus != 0 {
        return Err(Error::conflict(
            "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup \
             is not mounted: without root, --cpus needs a delegated cgroup",
        ));
    }
    let mut told = Vec::new();
    let mut tell = |asked: bool, what: &str, end: &str| {
        if asked {
            told.push(format!(
                "Your kernel does not support {what} or the cgroup is not mounted. {end} discarded."
            ));
        }
    };
    let memory = host.memory != 0 || host.memory_reservation != 0 || host.memory_swap != 0;
    tell(memory, "memory limit capabilities", "Limitation");
    tell(host.memory_swappiness.is_some(), "memory swappiness capabilities", "Memory swappiness");
    tell(host.oom_kill_disable.is_some(), "OomKillDisable", "OomKillDisable");
    tell(host.pids_limit.is_some_and(|n| n > 0), "PIDs limit capabilities", "PIDs limit");
    tell(host.cpu_shares != 0, "CPU shares", "Shares");
    tell(host.cpu_period != 0 || host.cpu_quota != 0, "CPU CFS scheduler", "Period and quota");
    let sets = !host.cpuset_cpus.is_empty() || !host.cpuset_mems.is_empty();
    tell(sets, "cpuset", "Cpuset");
    let disks = host.blkio_weight != 0
        || host.blkio_weight_device.is_some()
        || host.blkio_device_read_bps.is_some()
        || host.blkio_device_write_bps.is_some()
        || host.blkio_device_read_iops.is_some()
        || host.blkio_device_write_iops.is_some();
    tell(disks, "Block I/O limits", "Block I/O limits");
    *host = HostConfig {
        memory: 0,
        memory_reservation: 0,
        memory_swap: 0,
        memory_swappiness: None,
        oom_kill_disable: None,
        pids_limit: None,
        cpu_shares: 0,
        cpu_period: 0,
        cpu_quota: 0,
        cpuset_cpus: String::new(),
        cpuset_mems: String::new(),
        blkio_weight: 0,
        blkio_weight_device: None,
        blkio_device_read_bps: None,
        blkio_device_write_bps: None,
        blkio_device_read_iops: None,
        blkio_device_write_iops: None,
        ..std::mem::take(host)
    };
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_told_one_by_one_and_gone() {
        let mut host = HostConfig { memory: 1 << 26, pids_limit: Some(5), ..HostConfig::default() };
        let told = discard(&mut host).unwrap();
        assert!(told[0].contains("memory limit") && told[1].contains("PIDs limit"), "{told:?}");
        assert_eq!((host.memory, host.pids_limit, told.len()), (0, None, 2));
        assert!(discard(&mut host).unwrap().is_empty());
        let mut host = HostConfig { nano_cpus: 1, ..HostConfig::default() };
        assert!(discard(&mut host).unwrap_err().message.contains("delegated"));
    }
}
