//! `--memory`, `--ulimit` and their like, for RUNs.

use super::{LimitFlags, refuse};
use crate::amount;
use crate::build::run::Limits;
use crate::error::{Error, Result};

/// What is meant.
pub fn limits(typed: &LimitFlags) -> Result<Limits> {
    let typed = with_resources(typed.clone())?;
    let bytes = |flag: &str, text: &Option<String>| match text {
        Some(text) => self::bytes(flag, text),
        None => Ok(0),
    };
    let mut limits = Limits {
        memory: bytes("-m, --memory", &typed.memory)?,
        memory_swap: match typed.memory_swap.as_deref() {
            Some("-1") => -1,
            _ => bytes("--memory-swap", &typed.memory_swap)?,
        },
        cpu_shares: typed.cpu_shares.unwrap_or_default(),
        cpu_period: typed.cpu_period.unwrap_or_default(),
        cpu_quota: typed.cpu_quota.unwrap_or_default(),
        cpuset_cpus: typed.cpuset_cpus.unwrap_or_default(),
        cpuset_mems: typed.cpuset_mems.unwrap_or_default(),
        shm_size: bytes("--shm-size", &typed.shm_size)?,
        ulimits: Vec::new(),
        cgroup_parent: typed.cgroup_parent.unwrap_or_default(),
    };
    for text in &typed.ulimit {
        let new = amount::ulimit(text).map_err(|why| argument("--ulimit", text, &why))?;
        let new = (new.name, new.soft, new.hard);
        limits.ulimits.retain(|known| known.0 != new.0); // the last word counts
        limits.ulimits.push(new);
    }
    check(&limits)?;
    Ok(limits)
}

fn with_resources(mut typed: LimitFlags) -> Result<LimitFlags> {
    for entry in std::mem::take(&mut typed.resource) {
        let Some((key, value)) = entry.split_once('=') else {
            return Err(refuse(format!("invalid resource {entry:?}, expected key=value")));
        };
        let value = value.trim();
        let number = || {
            let bad = |_| refuse(format!("invalid value {value:?} for resource {key}"));
            value.parse::<i64>().map(Some).map_err(bad)
        };
        let text = || Some(value.to_owned());
        match key.trim() {
            "memory" => typed.memory = text(),
            "memory-swap" => typed.memory_swap = text(),
            "cpu-shares" => typed.cpu_shares = number()?,
            "cpu-period" => typed.cpu_period = number()?,
            "cpu-quota" => typed.cpu_quota = number()?,
            "cpuset-cpus" => typed.cpuset_cpus = text(),
            "cpuset-mems" => typed.cpuset_mems = text(),
            key => return Err(refuse(format!("unknown resource {key:?}"))),
        }
    }
    Ok(typed)
}

/// What dockerd says of limits that can't be, or fight each other.
fn check(limits: &Limits) -> Result<()> {
    let no = |why: &str| Err(refuse(why.to_owned()));
    match limits {
        l if l.memory != 0 && l.memory < 6 << 20 => no("Minimum memory limit allowed is 6MB"),
        l if l.memory == 0 && l.memory_swap > 0 => no(
            "You should always set the Memory limit when using Memoryswap limit, see usage; give --memory",
        ),
        l if l.memory_swap > 0 && l.memory_swap < l.memory => no(
            "Minimum memoryswap limit should be larger than memory limit, see usage; --memory-swap counts both together",
        ),
        l if l.cpu_period != 0 && !(1_000..=1_000_000).contains(&l.cpu_period) => no(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ),
        l if l.cpu_quota > 0 && l.cpu_quota < 1_000 => {
            no("CPU cfs quota can not be less than 1ms (i.e. 1000)")
        }
        l if l.cpu_shares < 0 => no("invalid CPU shares: value must be a positive integer"),
        l if l.cgroup_parent.split('/').any(|part| part == "..") => {
            no("--cgroup-parent: no \"..\"")
        }
        _ => Ok(()),
    }
}

/// An amount of bytes.
pub fn bytes(flag: &str, text: &str) -> Result<i64> {
    amount::bytes(text).map_err(|why| argument(flag, text, &why))
}

/// What a flag was given can't be read.
fn argument(flag: &str, text: &str, why: &str) -> Error {
    refuse(format!("invalid argument {text:?} for \"{flag}\" flag: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_dockers() {
        let typed = LimitFlags {
            memory: Some("512m".into()),
            shm_size: Some("1.5g".into()),
            ulimit: vec!["nofile=1:2".into(), "nofile=3".into()],
            resource: vec!["cpu-quota=50000".into(), "memory-swap=-1".into()],
            ..LimitFlags::default()
        };
        let limits = limits(&typed).unwrap();
        assert_eq!((limits.memory, limits.memory_swap), (512 << 20, -1));
        assert_eq!((limits.shm_size, limits.cpu_quota), (3 << 29, 50_000));
        assert_eq!(limits.ulimits, [("nofile".to_owned(), 3, 3)]);
    }

    #[test]
    fn what_can_not_be_is_refused() {
        let with = |change: fn(&mut LimitFlags)| {
            let mut typed = LimitFlags::default();
            change(&mut typed);
            limits(&typed).unwrap_err().to_string()
        };
        assert_eq!(with(|t| t.memory = Some("1m".into())), "Minimum memory limit allowed is 6MB");
        assert!(with(|t| t.memory = Some("much".into())).contains("invalid size: 'much'"));
        assert!(with(|t| t.memory_swap = Some("1g".into())).contains("give --memory"));
        assert!(with(|t| t.cpu_period = Some(10)).contains("CPU cfs period"));
        assert!(with(|t| t.ulimit = vec!["x=1".into()]).contains("invalid ulimit type: x"));
        assert!(with(|t| t.ulimit = vec!["core=2:1".into()]).contains("2 > 1"));
        assert!(with(|t| t.resource = vec!["x=1".into()]).contains("unknown resource \"x\""));
    }
}
