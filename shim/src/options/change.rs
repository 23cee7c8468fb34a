//! What `update` may change of a container, and which changes fight with what it has: docker's rules
//! and docker's words.

use crate::error::{Error, Result};
use crate::model::{HostConfig, RestartPolicy};
use crate::options::limits;

/// docker's least memory.
const LEAST_MEMORY: i64 = 6 << 20;

/// New values; 0 and empty mean that it stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// 10 to 1000.
    pub blkio_weight: u16,
    /// Microseconds.
    pub cpu_period: i64,
    /// Microseconds per period.
    pub cpu_quota: i64,
    /// Microseconds.
    pub cpu_realtime_period: i64,
    /// Microseconds per period.
    pub cpu_realtime_runtime: i64,
    /// 1024 is normal.
    pub cpu_shares: i64,
    /// Billionths of a CPU.
    pub nano_cpus: i64,
    /// `0-2,4`
    pub cpuset_cpus: String,
    /// `0-2,4`
    pub cpuset_mems: String,
    /// Bytes.
    pub memory: i64,
    /// Bytes.
    pub memory_reservation: i64,
    /// Bytes of memory and swap together, -1 for no limit.
    pub memory_swap: i64,
    /// -1 for no limit.
    pub pids_limit: Option<i64>,
    /// What follows its end.
    pub restart: Option<RestartPolicy>,
}

impl Change {
    /// `--restart`, in the words that docker has here.
    pub fn restart(text: &str) -> Result<RestartPolicy> {
        let (name, count) = text.split_once(':').map_or((text, None), |(n, c)| (n, Some(c)));
        if count.is_some_and(|count| count.parse::<u32>().is_err()) {
            let why = "invalid restart policy format: maximum retry count must be an integer";
            return Err(Error::usage(why));
        }
        match name {
            "no" | "always" | "unless-stopped" if count.is_some() => Err(Error::usage(
                "invalid restart policy: maximum retry count can only be used with 'on-failure'",
            )),
            "no" | "always" | "unless-stopped" | "on-failure" => limits::restart(text, false),
            other => Err(Error::usage(format!(
                "invalid restart policy: unknown policy '{other}'; \
                 use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
            ))),
        }
    }

    /// Refuses what makes no sense for any container.
    pub fn validate(&self) -> Result<()> {
        let bad = |why: &str| Err(Error::usage(why));
        if self.memory != 0 && self.memory < LEAST_MEMORY {
            return bad("Minimum memory limit allowed is 6MB");
        }
        if self.memory > 0 && self.memory_swap > 0 && self.memory_swap < self.memory {
            return bad("Minimum memoryswap limit should be larger than memory limit, see usage");
        }
        if self.memory > 0 && self.memory < self.memory_reservation {
            return bad(
                "Minimum memory limit can not be less than memory reservation limit, see usage",
            );
        }
        if self.nano_cpus > 0 && self.cpu_period > 0 {
            return bad("Conflicting options: Nano CPUs and CPU Period cannot both be set");
        }
        if self.nano_cpus > 0 && self.cpu_quota > 0 {
            return bad("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
        }
        if self.cpu_period != 0 && !(1_000..=1_000_000).contains(&self.cpu_period) {
            return bad(
                "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
            );
        }
        if self.cpu_quota > 0 && self.cpu_quota < 1_000 {
            return bad("CPU cfs quota can not be less than 1ms (i.e. 1000)");
        }
        if self.blkio_weight != 0 && !(10..=1000).contains(&self.blkio_weight) {
            return bad("Range of blkio weight is from 10 to 1000");
        }
        if self.cpu_shares != 0 && !(2..=262_144).contains(&self.cpu_shares) {
            return bad(if self.cpu_shares == 1 {
                "the minimum allowed cpu-shares is 2"
            } else {
                "the maximum allowed cpu-shares is 262144"
            });
        }
        self.fits_machine()
    }

    fn fits_machine(&self) -> Result<()> {
        for (list, what, file) in [
            (&self.cpuset_cpus, "cpus", "/sys/devices/system/cpu/online"),
            (&self.cpuset_mems, "mems", "/sys/devices/system/node/online"),
        ] {
            if list.is_empty() {
                continue;
            }
            let wanted = numbers(list).ok_or_else(|| {
                Error::usage(format!(
                    "Invalid value {list} for cpuset {what}: invalid format: {list}"
                ))
            })?;
            let there = std::fs::read_to_string(file).unwrap_or_default();
            let there = there.trim();
            let known = numbers(there).unwrap_or_default();
            if !known.is_empty() && !wanted.iter().all(|n| known.contains(n)) {
                let things = if what == "cpus" { "CPUs" } else { "memory nodes" };
                return Err(Error::usage(format!(
                    "Requested {things} are not available - requested {list}, available: {there}"
                )));
            }
        }
        let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
        let count = numbers(online.trim()).map_or(0, |all| all.len() as i64);
        let least = self.nano_cpus != 0 && self.nano_cpus < 10_000_000;
        if least || count > 0 && self.nano_cpus > count.saturating_mul(1_000_000_000) {
            return Err(Error::usage(format!(
                "range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available"
            )));
        }
        Ok(())
    }

    /// Changes `host`, unless that would contradict what it has.
    pub fn apply(&self, host: &mut HostConfig) -> Result<()> {
        for (given, has, what) in [
            (self.nano_cpus, host.cpu_period, "Nano CPUs cannot be updated as CPU Period has"),
            (self.nano_cpus, host.cpu_quota, "Nano CPUs cannot be updated as CPU Quota has"),
            (self.cpu_period, host.nano_cpus, "CPU Period cannot be updated as NanoCPUs has"),
            (self.cpu_quota, host.nano_cpus, "CPU Quota cannot be updated as NanoCPUs has"),
        ] {
            if given > 0 && has > 0 {
                let why = format!("Conflicting options: {what} already been set");
                return Err(Error::conflict(why));
            }
        }
        // As docker: twice the memory when only memory was said.
        let swap = match (host.memory, host.memory_swap) {
            (memory, 0) => memory.saturating_mul(2),
            (_, swap) => swap,
        };
        if self.memory != 0 && self.memory_swap == 0 && self.memory > swap {
            return Err(Error::conflict(
                "Memory limit should be smaller than already set memoryswap limit, \
                 update the memoryswap at the same time",
            ));
        }
        if let Some(policy) = &self.restart {
            if host.auto_remove && policy.name != "no" {
                return Err(Error::conflict(
                    "Restart policy cannot be updated because AutoRemove is enabled for the container",
                ));
            }
            host.restart_policy = policy.clone();
        }
        for (given, has) in [
            (self.cpu_period, &mut host.cpu_period),
            (self.cpu_quota, &mut host.cpu_quota),
            (self.cpu_realtime_period, &mut host.cpu_realtime_period),
            (self.cpu_realtime_runtime, &mut host.cpu_realtime_runtime),
            (self.cpu_shares, &mut host.cpu_shares),
            (self.nano_cpus, &mut host.nano_cpus),
            (self.memory, &mut host.memory),
            (self.memory_reservation, &mut host.memory_reservation),
            (self.memory_swap, &mut host.memory_swap),
        ] {
            if given != 0 {
                *has = given;
            }
        }
        for (given, has) in
            [(&self.cpuset_cpus, &mut host.cpuset_cpus), (&self.cpuset_mems, &mut host.cpuset_mems)]
        {
            if !given.is_empty() {
                has.clone_from(given);
            }
        }
        if self.blkio_weight != 0 {
            host.blkio_weight = self.blkio_weight;
        }
        host.pids_limit = self.pids_limit.or(host.pids_limit);
        Ok(())
    }

    /// The runtime-spec's `linux.resources` of what changes; nothing when the limits stay.
    pub fn resources(&self) -> Option<serde_json::Value> {
        const PERIOD: i64 = 100_000;
        let mut all = serde_json::Map::new();
        let mut set = |part: &str, key: &str, value: serde_json::Value| {
            let part = all.entry(part).or_insert_with(|| serde_json::json!({}));
            part[key] = value;
        };
        let mut numbers = vec![
            ("cpu", "period", self.cpu_period),
            ("cpu", "quota", self.cpu_quota),
            ("cpu", "realtimePeriod", self.cpu_realtime_period),
            ("cpu", "realtimeRuntime", self.cpu_realtime_runtime),
            ("cpu", "shares", self.cpu_shares),
            ("memory", "limit", self.memory),
            ("memory", "reservation", self.memory_reservation),
            ("memory", "swap", self.memory_swap),
            ("blockIO", "weight", self.blkio_weight.into()),
        ];
        if self.nano_cpus != 0 {
            numbers.push(("cpu", "period", PERIOD));
            numbers.push((
                "cpu",
                "quota",
                (self.nano_cpus / 10_000).saturating_mul(PERIOD) / 100_000,
            ));
        }
        for (part, key, number) in numbers {
            if number != 0 {
                set(part, key, number.into());
            }
        }
        for (key, list) in [("cpus", &self.cpuset_cpus), ("mems", &self.cpuset_mems)] {
            if !list.is_empty() {
                set("cpu", key, list.as_str().into());
            }
        }
        if let Some(limit) = self.pids_limit {
            // As docker: 0 is no limit as well.
            set("pids", "limit", if limit == 0 { -1 } else { limit }.into());
        }
        (!all.is_empty()).then_some(all.into())
    }
}

/// `0-2,4` → 0, 1, 2, 4.
fn numbers(list: &str) -> Option<Vec<u16>> {
    let mut all = Vec::new();
    for part in list.split(',') {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let (low, high) = (low.parse::<u16>().ok()?, high.parse::<u16>().ok()?);
        if low > high {
            return None;
        }
        all.extend(low..=high);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: &Change, host: &HostConfig) -> String {
        let applied = change.validate().and_then(|()| change.apply(&mut host.clone()));
        applied.unwrap_err().message
    }

    #[test]
    fn changes_that_fight_are_refused_in_dockers_words() {
        let none = HostConfig::default();
        let memory = |memory, memory_swap| Change { memory, memory_swap, ..Change::default() };
        assert!(
            refused(&memory(1 << 20, 0), &none).contains("Minimum memory limit allowed is 6MB")
        );
        let alone = refused(&memory(100 << 20, 0), &none);
        assert!(alone.contains("update the memoryswap at the same time"), "{alone}");
        assert!(refused(&memory(50 << 20, 20 << 20), &none).contains("Minimum memoryswap"));
        let cpus = HostConfig { nano_cpus: 1, ..HostConfig::default() };
        let quota = Change { cpu_quota: 5000, ..Change::default() };
        assert!(refused(&quota, &cpus).contains("CPU Quota cannot be updated as NanoCPUs"));
        let gone = HostConfig { auto_remove: true, ..HostConfig::default() };
        let always =
            Change { restart: Some(Change::restart("always").unwrap()), ..Change::default() };
        assert!(refused(&always, &gone).contains("AutoRemove is enabled"));
        for bad in ["nope", "always:3", "on-failure:x"] {
            assert!(Change::restart(bad).is_err(), "{bad}");
        }
        let far = Change { cpuset_cpus: "60000".into(), ..Change::default() };
        assert!(refused(&far, &none).contains("are not available - requested 60000"));
    }

    #[test]
    fn what_was_not_said_stays() {
        let change = Change {
            memory: 100 << 20,
            memory_swap: -1,
            cpu_shares: 512,
            restart: Some(Change::restart("on-failure:3").unwrap()),
            ..Change::default()
        };
        let mut host = HostConfig { pids_limit: Some(7), cpu_shares: 2, ..HostConfig::default() };
        change.apply(&mut host).unwrap();
        assert_eq!((host.memory, host.memory_swap, host.cpu_shares), (100 << 20, -1, 512));
        assert_eq!((host.pids_limit, host.restart_policy.maximum_retry_count), (Some(7), 3));
        let resources = change.resources().unwrap();
        let want =
            serde_json::json!({"cpu": {"shares": 512}, "memory": {"limit": 100 << 20, "swap": -1}});
        assert_eq!(resources, want);
        let policy = Change { restart: change.restart, ..Change::default() };
        assert_eq!(policy.resources(), None);
        let half = Change { nano_cpus: 500_000_000, ..Change::default() };
        assert_eq!(half.resources().unwrap()["cpu"]["quota"], 50_000);
    }
}
