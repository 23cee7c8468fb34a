//! Limits, devices, restart policy, log options.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::model::{Device, HostConfig, LogConfig, RestartPolicy, Ulimit};
use crate::options::{Limits, size};

/// Smallest memory limit that a runtime can start a process in.
const LEAST_MEMORY: i64 = 6 << 20;

/// Limits as typed → fields of the host config.
pub fn apply(flags: &Limits, host: &mut HostConfig) -> Result<()> {
    memory(flags, host)?;
    cpu(flags, host)?;
    host.pids_limit = flags.pids_limit;
    host.blkio_weight = flags.blkio_weight.unwrap_or(0);
    if host.blkio_weight != 0 && !(10..=1000).contains(&host.blkio_weight) {
        return Err(Error::usage("--blkio-weight: a number from 10 to 1000"));
    }
    host.oom_score_adj = flags.oom_score_adj.unwrap_or(0);
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        return Err(Error::usage("--oom-score-adj: a number from -1000 to 1000"));
    }
    host.cgroup_parent = flags.cgroup_parent.clone().unwrap_or_default();
    if host.cgroup_parent.split('/').any(|part| part == "..") {
        return Err(Error::usage(format!("--cgroup-parent \"{}\": no \"..\"", host.cgroup_parent)));
    }
    let ulimits: Result<Vec<Ulimit>> = flags.ulimit.iter().map(|text| ulimit(text)).collect();
    host.ulimits = Some(ulimits?).filter(|all| !all.is_empty());
    Ok(())
}

fn memory(flags: &Limits, host: &mut HostConfig) -> Result<()> {
    let bytes = |flag, text: &Option<String>| match text {
        Some(text) => size::bytes(flag, text),
        None => Ok(0),
    };
    host.memory = bytes("--memory", &flags.memory)?;
    if host.memory != 0 && host.memory < LEAST_MEMORY {
        return Err(Error::usage("--memory: Minimum memory limit allowed is 6MB"));
    }
    host.memory_reservation = bytes("--memory-reservation", &flags.memory_reservation)?;
    if host.memory != 0 && host.memory_reservation > host.memory {
        return Err(Error::usage("--memory-reservation is larger than --memory"));
    }
    host.memory_swap = match &flags.memory_swap {
        Some(text) => size::bytes_or_unlimited("--memory-swap", text)?,
        None => 0,
    };
    if host.memory_swap > 0 && host.memory == 0 {
        return Err(Error::usage("--memory-swap needs --memory (it counts both together)"));
    }
    if host.memory_swap > 0 && host.memory_swap < host.memory {
        return Err(Error::usage(
            "--memory-swap is smaller than --memory (it counts both together)",
        ));
    }
    host.memory_swappiness = flags.memory_swappiness.filter(|n| *n != -1);
    if host.memory_swappiness.is_some_and(|n| !(0..=100).contains(&n)) {
        return Err(Error::usage("--memory-swappiness: a number from 0 to 100"));
    }
    host.oom_kill_disable = flags.oom_kill_disable.then_some(true);
    Ok(())
}

fn cpu(flags: &Limits, host: &mut HostConfig) -> Result<()> {
    host.nano_cpus = flags.cpus.as_deref().map_or(Ok(0), size::nano_cpus)?;
    host.cpu_shares = flags.cpu_shares.unwrap_or(0);
    host.cpu_period = flags.cpu_period.unwrap_or(0);
    host.cpu_quota = flags.cpu_quota.unwrap_or(0);
    if host.nano_cpus != 0 && (host.cpu_period != 0 || host.cpu_quota != 0) {
        return Err(Error::usage("--cpus says the same as --cpu-period and --cpu-quota; give one"));
    }
    if host.nano_cpus != 0 && host.nano_cpus < 10_000_000 {
        return Err(Error::usage("--cpus: at least 0.01"));
    }
    if host.cpu_period != 0 && !(1_000..=1_000_000).contains(&host.cpu_period) {
        return Err(Error::usage("--cpu-period: from 1000 to 1000000 microseconds"));
    }
    if host.cpu_quota > 0 && host.cpu_quota < 1_000 {
        return Err(Error::usage("--cpu-quota: at least 1000 microseconds"));
    }
    for (flag, list) in
        [("--cpuset-cpus", &flags.cpuset_cpus), ("--cpuset-mems", &flags.cpuset_mems)]
    {
        if let Some(text) = list
            && !is_list(text)
        {
            return Err(Error::usage(format!("{flag} \"{text}\": write it as 0-2,4")));
        }
    }
    host.cpuset_cpus = flags.cpuset_cpus.clone().unwrap_or_default();
    host.cpuset_mems = flags.cpuset_mems.clone().unwrap_or_default();
    Ok(())
}

/// `0-2,4`
fn is_list(text: &str) -> bool {
    text.split(',').all(|part| {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        matches!((low.parse::<u16>(), high.parse::<u16>()), (Ok(low), Ok(high)) if low <= high)
    })
}

const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
    "locks",
];

/// `NAME=SOFT[:HARD]`, -1 for unlimited.
pub fn ulimit(text: &str) -> Result<Ulimit> {
    let bad = |why: &str| Error::usage(format!("--ulimit \"{text}\": {why}"));
    let (name, values) = text.split_once('=').ok_or_else(|| bad("write NAME=SOFT[:HARD]"))?;
    if !ULIMITS.contains(&name) {
        return Err(bad("no such limit; nofile, nproc, core, stack, memlock are usual"));
    }
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let number = |s: &str| {
        let n: i64 = s.parse().map_err(|_| bad("a limit is a number, or -1 for none"))?;
        if n < -1 { Err(bad("a limit is a number, or -1 for none")) } else { Ok(n) }
    };
    let (soft, hard) = (number(soft)?, number(hard)?);
    if hard != -1 && (soft == -1 || soft > hard) {
        return Err(bad("the soft limit is above the hard one"));
    }
    Ok(Ulimit { name: name.to_owned(), hard, soft })
}

/// `HOST[:CONTAINER[:rwm]]`.
pub fn device(text: &str) -> Result<Device> {
    let bad = |why: &str| Error::usage(format!("--device \"{text}\": {why}"));
    let parts: Vec<&str> = text.split(':').collect();
    let permissions = |p: &str| !p.is_empty() && p.bytes().all(|b| b"rwm".contains(&b));
    let (host, inside, access) = match parts[..] {
        [host] => (host, host, "rwm"),
        [host, access] if permissions(access) => (host, host, access),
        [host, inside] => (host, inside, "rwm"),
        [host, inside, access] => (host, inside, access),
        _ => return Err(bad("write HOST[:CONTAINER[:rwm]]")),
    };
    if !host.starts_with('/') {
        return Err(bad("a device is an absolute path (CDI names are not supported)"));
    }
    if !inside.starts_with('/') {
        return Err(bad("the path in the container must be absolute"));
    }
    if !permissions(access) {
        return Err(bad("permissions are some of r, w and m"));
    }
    Ok(Device {
        path_on_host: host.to_owned(),
        path_in_container: super::mounts::clean(inside),
        cgroup_permissions: access.to_owned(),
    })
}

/// `TYPE MAJOR:MINOR ACCESS`, with `*` for any number.
pub fn device_rule(text: &str) -> Result<String> {
    let parts: Vec<&str> = text.split(' ').collect();
    let number = |s: &str| s == "*" || s.parse::<u32>().is_ok();
    if let [kind, numbers, access] = parts[..]
        && matches!(kind, "a" | "b" | "c")
        && numbers.split_once(':').is_some_and(|(major, minor)| number(major) && number(minor))
        && (1..=3).contains(&access.len())
        && access.bytes().all(|b| b"rwm".contains(&b))
    {
        return Ok(text.to_owned());
    }
    Err(Error::usage(format!("--device-cgroup-rule \"{text}\": write it as \"c 1:3 mr\"")))
}

/// `no`, `on-failure[:N]`, `always`, `unless-stopped`.
pub fn restart(text: &str, rm: bool) -> Result<RestartPolicy> {
    let (name, count) = text.split_once(':').map_or((text, None), |(n, c)| (n, Some(c)));
    let maximum_retry_count = match (name, count) {
        ("on-failure", Some(n)) => n.parse().map_err(|_| {
            Error::usage(format!("--restart \"{text}\": maximum retry count must be a number"))
        })?,
        ("no" | "" | "on-failure" | "always" | "unless-stopped", None) => 0,
        (_, Some(_)) => {
            return Err(Error::usage(format!(
                "--restart \"{text}\": only on-failure takes a retry count"
            )));
        }
        _ => {
            return Err(Error::usage(format!(
                "--restart \"{text}\": use no, on-failure[:N], always or unless-stopped"
            )));
        }
    };
    let name = if name.is_empty() { "no" } else { name };
    if rm && name != "no" {
        return Err(Error::usage("conflicting options: cannot specify both --restart and --rm"));
    }
    Ok(RestartPolicy { name: name.to_owned(), maximum_retry_count })
}

/// `--log-driver`, `--log-opt`: json-file with sizes, or none.
pub fn log(driver: Option<&str>, options: &[String]) -> Result<LogConfig> {
    let kind = driver.unwrap_or("json-file");
    if !matches!(kind, "json-file" | "none") {
        return Err(Error::usage(format!(
            "--log-driver {kind} is not supported; use json-file or none"
        )));
    }
    let config: BTreeMap<String, String> = super::env::pairs("--log-opt", options)?;
    for (key, value) in &config {
        match key.as_str() {
            _ if kind == "none" => {
                return Err(Error::usage(format!(
                    "--log-opt {key}: the driver none keeps nothing"
                )));
            }
            "max-size" => drop(size::bytes("--log-opt max-size", value)?),
            "max-file" if value.parse::<u32>().is_ok_and(|n| n > 0) => {}
            "max-file" => return Err(Error::usage("--log-opt max-file: a number from 1")),
            other => {
                return Err(Error::usage(format!(
                    "--log-opt {other} is not supported; json-file takes max-size and max-file"
                )));
            }
        }
    }
    if config.contains_key("max-file") && !config.contains_key("max-size") {
        return Err(Error::usage("--log-opt max-file needs max-size as well"));
    }
    Ok(LogConfig { kind: kind.to_owned(), config })
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
            f.cpus = Some("1.5".into());
            f.cpuset_cpus = Some("0-1,3".into());
        })
        .unwrap();
        assert_eq!((host.memory, host.memory_swap), (64 << 20, -1));
        assert_eq!(host.nano_cpus, 1_500_000_000);
    }

    #[test]
    fn ulimits_devices_rules() {
        let limit = ulimit("nofile=10:20").unwrap();
        assert_eq!((limit.soft, limit.hard), (10, 20));
        for bad in ["nofile", "what=1", "nofile=2:1", "nofile=-1:1", "nofile=-2"] {
            assert!(ulimit(bad).is_err(), "{bad}");
        }
        assert_eq!(device("/dev/null:/dev/x:r").unwrap().cgroup_permissions, "r");
        assert_eq!(device("/dev/null:rw").unwrap().path_in_container, "/dev/null");
        for bad in ["null", "/dev/null:x", "/dev/null:/x:q", "a/b=c"] {
            assert!(device(bad).is_err(), "{bad}");
        }
        assert!(device_rule("c 1:* rwm").is_ok());
        assert!(device_rule("c 1 rwm").is_err());
    }

    #[test]
    fn restart_and_log() {
        assert_eq!(restart("on-failure:3", false).unwrap().maximum_retry_count, 3);
        assert!(restart("always:3", false).is_err());
        assert!(restart("always", true).is_err());
        assert!(restart("no", true).is_ok());
        assert!(log(Some("syslog"), &[]).is_err());
        assert!(log(None, &["max-size=1m".into(), "max-file=2".into()]).is_ok());
        assert!(log(None, &["max-file=2".into()]).is_err());
    }
}
