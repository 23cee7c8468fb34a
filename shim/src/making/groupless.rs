//! Limits that nobody can hold: of controllers that the kernel hasn't, or an ordinary user's that
//! nobody has delegated.

use crate::delegation::Delegation;
use crate::error::{Error, Result};
use crate::model::HostConfig;

/// Takes out of `host` what `groups` has no controller for; the lines that say so, in docker's words,
/// and why.
pub fn discard(host: &mut HostConfig, groups: &Delegation) -> Result<Vec<String>> {
    let lack = groups.lack();
    let mut told = without(host, |controller| groups.has(controller)).map_err(|e| {
        let why = format!("{}: without root, --cpus needs a delegated cgroup: {lack}", e.message);
        Error::new(e.kind, why)
    })?;
    if !told.is_empty() {
        told.push(format!("Without root, limits need a cgroup that is delegated: {lack}"));
    }
    Ok(told)
}

/// The same for the controllers that there are; nothing is said of why.
pub fn without(host: &mut HostConfig, has: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    if host.nano_cpus != 0 && !has("cpu") {
        return Err(Error::conflict(
            "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup \
             is not mounted",
        ));
    }
    let mut told = Vec::new();
    for (controller, discard) in PARTS {
        if !has(controller) {
            discard(host, &mut |what, end| {
                told.push(format!(
                    "Your kernel does not support {what} or the cgroup is not mounted. {end} discarded."
                ));
            });
        }
    }
    Ok(told)
}

/// Says what is taken out: docker's name for it, and what is discarded.
type Tell<'a> = &'a mut dyn FnMut(&str, &str);

/// Takes out what is one controller's.
type Discard = fn(&mut HostConfig, Tell<'_>);

/// Each controller, and what is its.
const PARTS: [(&str, Discard); 5] =
    [("memory", memory), ("pids", tasks), ("cpu", cpu), ("cpuset", sets), ("io", block_io)];

fn memory(host: &mut HostConfig, tell: Tell<'_>) {
    if host.memory != 0 || host.memory_reservation != 0 || host.memory_swap != 0 {
        tell("memory limit capabilities", "Limitation");
    }
    if host.memory_swappiness.take().is_some() {
        tell("memory swappiness capabilities", "Memory swappiness");
    }
    if host.oom_kill_disable.take().is_some() {
        tell("OomKillDisable", "OomKillDisable");
    }
    (host.memory, host.memory_reservation, host.memory_swap) = (0, 0, 0);
}

fn tasks(host: &mut HostConfig, tell: Tell<'_>) {
    if host.pids_limit.take().is_some_and(|n| n > 0) {
        tell("PIDs limit capabilities", "PIDs limit");
    }
}

fn cpu(host: &mut HostConfig, tell: Tell<'_>) {
    if host.cpu_shares != 0 {
        tell("CPU shares", "Shares");
    }
    if host.cpu_period != 0 || host.cpu_quota != 0 {
        tell("CPU CFS scheduler", "Period and quota");
    }
    (host.cpu_shares, host.cpu_period, host.cpu_quota) = (0, 0, 0);
}

fn sets(host: &mut HostConfig, tell: Tell<'_>) {
    let sets = [&mut host.cpuset_cpus, &mut host.cpuset_mems].map(std::mem::take);
    if sets.iter().any(|set| !set.is_empty()) {
        tell("cpuset", "Cpuset");
    }
}

fn block_io(host: &mut HostConfig, tell: Tell<'_>) {
    let rates = [
        &mut host.blkio_device_read_bps,
        &mut host.blkio_device_write_bps,
        &mut host.blkio_device_read_iops,
        &mut host.blkio_device_write_iops,
    ];
    let rated = rates.map(Option::take).iter().any(Option::is_some);
    let weighed = host.blkio_weight_device.take().is_some();
    if std::mem::take(&mut host.blkio_weight) != 0 || rated || weighed {
        tell("Block I/O limits", "Block I/O limits");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Delegation = Delegation::Nobody("nobody gave one");

    #[test]
    fn limits_are_told_one_by_one_and_gone() {
        let mut host = HostConfig { memory: 1 << 26, pids_limit: Some(5), ..HostConfig::default() };
        let told = discard(&mut host, &NONE).unwrap();
        assert!(told[0].contains("memory limit") && told[1].contains("PIDs limit"), "{told:?}");
        assert!(told[2].ends_with("nobody gave one"), "{told:?}");
        assert_eq!((host.memory, host.pids_limit, told.len()), (0, None, 3));
        assert!(discard(&mut host, &NONE).unwrap().is_empty());
        let mut host = HostConfig { nano_cpus: 1, ..HostConfig::default() };
        assert!(discard(&mut host, &NONE).unwrap_err().message.contains("delegated"));
    }

    #[test]
    fn bug_a_cpuset_was_an_error_where_the_kernel_has_none() {
        let asked = || HostConfig {
            memory: 1 << 26,
            cpuset_cpus: "0".into(),
            cpuset_mems: "0".into(),
            ..HostConfig::default()
        };
        let mut host = asked();
        let told = without(&mut host, |controller| controller != "cpuset").unwrap();
        let words =
            "Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.";
        assert_eq!(told, [words]);
        assert_eq!(host, HostConfig { memory: 1 << 26, ..HostConfig::default() });
        assert!(without(&mut asked(), |_| true).unwrap().is_empty());
        let mut host = HostConfig { nano_cpus: 1, ..HostConfig::default() };
        let refused = without(&mut host, |_| false).unwrap_err().message;
        assert!(refused.contains("CPU CFS") && !refused.contains("root"), "{refused}");
    }

    #[test]
    fn what_is_delegated_stays() {
        let groups = Delegation::Own { controllers: vec!["memory".into(), "cpu".into()] };
        let asked = || HostConfig {
            memory: 1 << 26,
            nano_cpus: 5,
            cpuset_cpus: "0".into(),
            blkio_weight: 20,
            ..HostConfig::default()
        };
        let mut host = asked();
        let told = discard(&mut host, &groups).unwrap();
        let rest = HostConfig { cpuset_cpus: String::new(), blkio_weight: 0, ..asked() };
        assert_eq!(host, rest);
        assert!(told[0].contains("cpuset") && told[1].contains("Block I/O"), "{told:?}");
        assert!(told[2].contains("cgroup.controllers"), "{told:?}");
    }
}
