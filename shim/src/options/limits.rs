//! Limits, restart policy, log options.

use dhow_image::amount;

use crate::error::{Error, Result};
use crate::model::{HostConfig, LogConfig, RestartPolicy, Ulimit};
use crate::options::{Limits, io, size};

/// Smallest memory limit that a runtime can start a process in.
const LEAST_MEMORY: i64 = 6 << 20;

/// Limits as typed → fields of the host config. Whether the values go together is asked
/// by [`check`], after all are read.
pub fn apply(flags: &Limits, host: &mut HostConfig) -> Result<()> {
    memory(flags, host)?;
    host.nano_cpus = flags.cpus.as_deref().map_or(Ok(0), size::nano_cpus)?;
    host.cpu_shares = flags.cpu_shares.unwrap_or(0);
    host.cpu_period = flags.cpu_period.unwrap_or(0);
    host.cpu_quota = flags.cpu_quota.unwrap_or(0);
    host.cpu_realtime_period = flags.cpu_rt_period.unwrap_or(0);
    host.cpu_realtime_runtime = flags.cpu_rt_runtime.unwrap_or(0);
    host.cpuset_cpus = flags.cpuset_cpus.clone().unwrap_or_default();
    host.cpuset_mems = flags.cpuset_mems.clone().unwrap_or_default();
    host.pids_limit = flags.pids_limit;
    block_io(flags, host)?;
    host.oom_score_adj = flags.oom_score_adj.unwrap_or(0);
    host.cgroup_parent = flags.cgroup_parent.clone().unwrap_or_default();
    let mut ulimits: Vec<Ulimit> = Vec::new();
    for text in &flags.ulimit {
        let limit = ulimit(text)?;
        ulimits.retain(|other| other.name != limit.name); // the last word counts
        ulimits.push(limit);
    }
    ulimits.sort_by(|a, b| a.name.cmp(&b.name));
    host.ulimits = Some(ulimits).filter(|all| !all.is_empty());
    check(host)
}

fn memory(flags: &Limits, host: &mut HostConfig) -> Result<()> {
    let bytes = |flag, text: &Option<String>| match text {
        Some(text) => size::bytes(flag, text),
        None => Ok(0),
    };
    host.memory = bytes("-m, --memory", &flags.memory)?;
    host.memory_reservation = bytes("--memory-reservation", &flags.memory_reservation)?;
    host.memory_swap = match &flags.memory_swap {
        Some(text) => size::bytes_or_unlimited("--memory-swap", text)?,
        None => 0,
    };
    if host.memory > 0 && host.memory_swap == 0 {
        host.memory_swap = host.memory.saturating_mul(2); // as docker, when only memory was said
    }
    host.memory_swappiness = flags.memory_swappiness.filter(|n| *n != -1);
    if let Some(n) = host.memory_swappiness.filter(|n| !(0..=100).contains(n)) {
        return Err(Error::usage(format!(
            "invalid value: {n}. Valid memory swappiness range is 0-100"
        )));
    }
    host.oom_kill_disable = flags.oom_kill_disable.then_some(true);
    Ok(())
}

fn block_io(flags: &Limits, host: &mut HostConfig) -> Result<()> {
    fn all<T>(list: &[String], read: impl Fn(&str) -> Result<T>) -> Result<Option<Vec<T>>> {
        let all: Vec<T> = list.iter().map(|text| read(text)).collect::<Result<_>>()?;
        Ok((!all.is_empty()).then_some(all))
    }
    host.blkio_weight = flags.blkio_weight.unwrap_or(0);
    host.blkio_weight_device = all(&flags.blkio_weight_device, io::weight)?;
    host.blkio_device_read_bps =
        all(&flags.device_read_bps, |text| io::bytes("--device-read-bps", text))?;
    host.blkio_device_write_bps =
        all(&flags.device_write_bps, |text| io::bytes("--device-write-bps", text))?;
    host.blkio_device_read_iops =
        all(&flags.device_read_iops, |text| io::operations("--device-read-iops", text))?;
    host.blkio_device_write_iops =
        all(&flags.device_write_iops, |text| io::operations("--device-write-iops", text))?;
    Ok(())
}

/// What dockerd says of limits that can't be, or fight each other; `update` asks it as well.
pub fn check(host: &HostConfig) -> Result<()> {
    let no = |why: &str| Err(Error::conflict(why));
    match () {
        () if host.memory != 0 && host.memory < LEAST_MEMORY => {
            no("Minimum memory limit allowed is 6MB")
        }
        () if host.memory == 0 && host.memory_swap > 0 => no(
            "You should always set the Memory limit when using Memoryswap limit, see usage; give --memory",
        ),
        () if host.memory_swap > 0 && host.memory_swap < host.memory => no(
            "Minimum memoryswap limit should be larger than memory limit, see usage; --memory-swap counts both together",
        ),
        () if host.memory_reservation != 0 && host.memory_reservation < LEAST_MEMORY => {
            no("Minimum memory reservation allowed is 6MB")
        }
        () if host.memory != 0 && host.memory < host.memory_reservation => {
            no("Minimum memory limit can not be less than memory reservation limit, see usage")
        }
        () if host.nano_cpus != 0 && host.cpu_period > 0 => no(
            "Conflicting options: Nano CPUs and CPU Period cannot both be set; leave --cpus or --cpu-period away",
        ),
        () if host.nano_cpus != 0 && host.cpu_quota > 0 => no(
            "Conflicting options: Nano CPUs and CPU Quota cannot both be set; leave --cpus or --cpu-quota away",
        ),
        () if host.cpu_period != 0 && !(1_000..=1_000_000).contains(&host.cpu_period) => no(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ),
        () if host.cpu_quota > 0 && host.cpu_quota < 1_000 => {
            no("CPU cfs quota can not be less than 1ms (i.e. 1000)")
        }
        () if host.blkio_weight != 0 && !(10..=1000).contains(&host.blkio_weight) => {
            no("Range of blkio weight is from 10 to 1000")
        }
        () if host.cgroup_parent.split('/').any(|part| part == "..") => {
            no(&format!("--cgroup-parent \"{}\": no \"..\"", host.cgroup_parent))
        }
        () => processors(host),
    }?;
    if host.cpu_shares < 0 {
        let shares = host.cpu_shares;
        return no(&format!("invalid CPU shares ({shares}): value must be a positive integer"));
    }
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        let value = host.oom_score_adj;
        return no(&format!("Invalid value {value}, range for oom score adj is [-1000, 1000]"));
    }
    Ok(())
}

/// CPUs and memory nodes that this machine has.
fn processors(host: &HostConfig) -> Result<()> {
    let cpus = host.nano_cpus;
    if cpus != 0 {
        let set = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).ok();
        let count = |set: nix::sched::CpuSet| {
            (0..nix::sched::CpuSet::count()).filter(|n| set.is_set(*n).unwrap_or(false)).count()
        };
        let there = set.map_or(i64::MAX / 1_000_000_000, |set| count(set) as i64);
        // KERNEL: a quota is 1 ms at least, of a period of 100 ms.
        if cpus < 10_000_000 || cpus > there * 1_000_000_000 {
            return Err(Error::conflict(format!(
                "range of CPUs is from 0.01 to {there}.00, as there are only {there} CPUs available"
            )));
        }
    }
    let asked = [
        (&host.cpuset_cpus, "cpus", "CPUs", "/sys/devices/system/cpu/online"),
        (&host.cpuset_mems, "mems", "memory nodes", "/sys/devices/system/node/online"),
    ];
    for (text, key, what, file) in asked {
        if text.is_empty() {
            continue;
        }
        let wanted = list(text).ok_or_else(|| {
            Error::conflict(format!(
                "Invalid value {text} for cpuset {key}: invalid format: {text}; write it as 0-2,4"
            ))
        })?;
        let Ok(online) = std::fs::read_to_string(file) else { continue };
        let there = list(online.trim()).unwrap_or_default();
        let within = |(low, high): &(u16, u16)| {
            (*low..=*high).all(|n| there.iter().any(|(l, h)| (*l..=*h).contains(&n)))
        };
        if !wanted.iter().all(within) {
            let online = online.trim();
            return Err(Error::conflict(format!(
                "Requested {what} are not available - requested {text}, available: {online}"
            )));
        }
    }
    Ok(())
}

/// `0-2,4`
fn list(text: &str) -> Option<Vec<(u16, u16)>> {
    let range = |part: &str| {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let pair: (u16, u16) = (low.parse().ok()?, high.parse().ok()?);
        (pair.0 <= pair.1).then_some(pair)
    };
    text.split(',').map(range).collect()
}

/// `NAME=SOFT[:HARD]`, -1 for unlimited.
pub fn ulimit(text: &str) -> Result<Ulimit> {
    let limit = amount::ulimit(text).map_err(|why| Error::argument("--ulimit", text, &why))?;
    Ok(Ulimit { name: limit.name, hard: limit.hard, soft: limit.soft })
}

/// `no`, `on-failure[:N]`, `always`, `unless-stopped`.
pub fn restart(text: &str, rm: bool) -> Result<RestartPolicy> {
    let (name, count) = text.split_once(':').map_or((text, None), |(n, c)| (n, Some(c)));
    if name.is_empty() && count.is_some() {
        return Err(Error::usage("invalid restart policy format: no policy provided before colon"));
    }
    let count: Option<i64> = match count.filter(|c| !c.is_empty()).map(str::parse) {
        Some(Err(_)) => {
            return Err(Error::usage(
                "invalid restart policy format: maximum retry count must be an integer",
            ));
        }
        Some(Ok(n)) => Some(n),
        None => None,
    };
    if rm && !matches!(name, "" | "no") {
        return Err(Error::usage("conflicting options: cannot specify both --restart and --rm"));
    }
    let invalid = |why: &str| Err(Error::conflict(format!("invalid restart policy: {why}")));
    match (name, count) {
        ("on-failure", Some(n)) if n < 0 => {
            return invalid("maximum retry count cannot be negative");
        }
        ("on-failure", _) | ("" | "no" | "always" | "unless-stopped", None | Some(0)) => {}
        ("" | "no" | "always" | "unless-stopped", Some(_)) => {
            return invalid("maximum retry count can only be used with 'on-failure'");
        }
        _ => {
            return invalid(&format!(
                "unknown policy '{name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
            ));
        }
    }
    let maximum_retry_count = u32::try_from(count.unwrap_or(0)).unwrap_or(u32::MAX);
    let name = if name.is_empty() { "no" } else { name };
    Ok(RestartPolicy { name: name.to_owned(), maximum_retry_count })
}

/// `--log-driver`, `--log-opt`.
pub fn log(driver: Option<&str>, options: &[String]) -> Result<LogConfig> {
    let option = |text: &String| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        (key.to_owned(), value.to_owned())
    };
    let config = options.iter().map(option).collect();
    let config = LogConfig { kind: driver.unwrap_or_default().to_owned(), config };
    // Without a driver the machine's settings name one; then its options are looked at.
    if driver.is_some() {
        crate::logging::check(&config)?;
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut Limits)) -> Result<HostConfig> {
        let mut flags = Limits::default();
        change(&mut flags);
        let mut host = HostConfig::default();
        apply(&flags, &mut host).map(|()| host)
    }

    #[test]
    fn limits_that_contradict_each_other_are_refused() {
        assert!(with(|f| f.memory = Some("1m".into())).is_err());
        assert!(with(|f| f.memory_swap = Some("10m".into())).is_err());
        assert!(with(|f| f.cpuset_cpus = Some("2-1".into())).is_err());
        assert!(with(|f| f.cgroup_parent = Some("/a/../b".into())).is_err());
        assert!(
            with(|f| {
                f.cpus = Some("1".into());
                f.cpu_quota = Some(5000);
            })
            .is_err()
        );
        let host = with(|f| {
            f.memory = Some("64m".into());
            f.memory_swap = Some("-1".into());
            f.cpus = Some("0.5".into());
            f.cpuset_cpus = Some("0".into());
        })
        .unwrap();
        assert_eq!((host.memory, host.memory_swap), (64 << 20, -1));
        assert_eq!(host.nano_cpus, 500_000_000);
    }

    #[test]
    fn restart_and_log() {
        assert_eq!(restart("on-failure:3", false).unwrap().maximum_retry_count, 3);
        assert!(restart("always:3", false).is_err());
        assert!(restart("always", true).is_err());
        assert!(restart("no", true).is_ok());
        assert!(log(Some("syslog"), &[]).is_err());
        assert!(log(None, &["max-size=1m".into(), "max-file=2".into()]).is_ok());
        assert!(log(Some("local"), &["max-file=2".into()]).is_ok());
        assert!(log(Some("json-file"), &["nope".into()]).is_err());
    }
}
