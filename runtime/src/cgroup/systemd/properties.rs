//! A scope's properties: what the limits' files say, in systemd's words.
//!
//! The files are written besides, for what systemd doesn't know; this is for what it does: on its
//! next look at the unit (a `daemon-reload`) it would write its own idea of them.

use std::collections::BTreeMap;

use crate::cgroup::devices::{ALL, Policy};
use crate::cgroup::limit::{Absent, Limit, io_weight};
use crate::dbus::{self, Value};
use crate::error::{Error, Result};

/// A property's name and value.
pub(super) type Property = (&'static str, Value);

/// Properties that decide which processes a scope has, and who keeps it: no annotation's, which an
/// image may have brought.
const OURS: [&str; 5] = ["Delegate", "DelegateControllers", "PIDFDs", "PIDs", "Slice"];

/// The annotations that say properties.
pub const PREFIX: &str = "org.systemd.property.";

/// systemd's words for limits. `version` is asked for where an old systemd lacks the words.
pub(super) fn of_limits(
    limits: &[&Limit],
    version: &mut dyn FnMut() -> Result<u32>,
) -> Result<Vec<Property>> {
    let mut out: Vec<Property> = Vec::new();
    let mut set = |name: &'static str, value: Value| {
        // The last word on a file counts, as in the kernel.
        out.retain(|(known, _)| *known != name);
        out.push((name, value));
    };
    let idle = limits.iter().any(|l| l.file == "cpu.idle" && l.value == "1") && version()? >= 252;
    let said = |file: &str| limits.iter().rev().find(|l| l.file == file).map(|l| l.value.as_str());
    for limit in limits {
        let value = limit.value.trim();
        let number = || amount(value).map(Value::U64);
        let named = match &*limit.file {
            "memory.max" => ("MemoryMax", number()),
            "memory.low" => ("MemoryLow", number()),
            "memory.high" => ("MemoryHigh", number()),
            "memory.min" => ("MemoryMin", number()),
            "memory.swap.max" => ("MemorySwapMax", number()),
            // systemd has no word for none.
            "pids.max" => ("TasksMax", amount(value).map(|n| Value::U64(n.max(1)))),
            // systemd.resource-control(5): a weight of 0 is idle.
            "cpu.idle" if idle => ("CPUWeight", Some(Value::U64(0))),
            "cpu.weight" if !idle => ("CPUWeight", number()),
            "cpuset.cpus" if version()? >= 244 => ("AllowedCPUs", bits(value)),
            "cpuset.mems" if version()? >= 244 => ("AllowedMemoryNodes", bits(value)),
            "io.weight" => ("IOWeight", default_weight(value)),
            "io.bfq.weight" => match &limit.absent {
                // Of one device: systemd wants its node, which may not be there.
                Absent::Instead(_, other) if other.contains(' ') => continue,
                _ => ("IOWeight", value.parse().ok().map(|w| Value::U64(io_weight(w)))),
            },
            "memory.limit_in_bytes" => ("MemoryLimit", number()),
            "cpu.shares" => ("CPUShares", number()),
            "blkio.weight" => ("BlockIOWeight", number()),
            "cpu.max" => {
                let (quota, period) = value.split_once(' ').unwrap_or((value, "100000"));
                quotas(&mut set, quota, period, version)?;
                continue;
            }
            "cpu.cfs_quota_us" => {
                let period = said("cpu.cfs_period_us").unwrap_or("100000");
                quotas(&mut set, value, period, version)?;
                continue;
            }
            _ => continue,
        };
        // What is no number here is the kernel's to refuse.
        if let (name, Some(value)) = named {
            set(name, value);
        }
    }
    Ok(out)
}

/// A number, where `max` and what is below zero is none; systemd's for none is the greatest.
fn amount(text: &str) -> Option<u64> {
    match text {
        "max" => Some(u64::MAX),
        _ => text.parse::<i64>().ok().map(|n| u64::try_from(n).unwrap_or(u64::MAX)),
    }
}

fn default_weight(value: &str) -> Option<Value> {
    value.strip_prefix("default ").unwrap_or(value).parse().ok().map(Value::U64)
}

/// As runc: time in each second, which systemd keeps in whole percents: rounded up, so that what
/// the file says fits in.
///
/// DIFFERS: runc rounds the file's quota, too.
fn quotas(
    set: &mut impl FnMut(&'static str, Value),
    quota: &str,
    period: &str,
    version: &mut dyn FnMut() -> Result<u32>,
) -> Result<()> {
    const PERCENT: u64 = 10_000;
    let Ok(period) = period.parse::<u64>() else { return Ok(()) };
    if period == 0 {
        return Ok(());
    }
    if period != 100_000 && version()? >= 242 {
        set("CPUQuotaPeriodUSec", Value::U64(period));
    }
    let per_second = match amount(quota) {
        None => return Ok(()),
        Some(u64::MAX | 0) => u64::MAX,
        Some(quota) => {
            (quota.saturating_mul(1_000_000) / period).div_ceil(PERCENT).max(1) * PERCENT
        }
    };
    set("CPUQuotaPerSecUSec", Value::U64(per_second));
    Ok(())
}

/// A list such as `0-3,7` as a bit mask, the least in the first byte.
fn bits(list: &str) -> Option<Value> {
    // KERNEL: CONFIG_NR_CPUS is 8192 at most.
    const MOST: usize = 8192;
    let mut mask = vec![0_u8; MOST / 8];
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        if first > last || last >= MOST {
            return None;
        }
        (first..=last).for_each(|bit| mask[bit / 8] |= 1 << (bit % 8));
    }
    let used = mask.iter().rposition(|byte| *byte != 0)? + 1;
    Some(Value::Array("y".into(), mask[..used].iter().copied().map(Value::Byte).collect()))
}

/// The device rules, where systemd has them in its hands: on cgroup v1.
///
/// DIFFERS: runc says them on v2, too. There systemd would add a program of its own, and on each
/// daemon-reload take away what others have given the container meanwhile (a driver's hook: GPUs
/// that vanish); without, it leaves ours alone.
pub(super) fn of_devices(policy: &Policy) -> Vec<Property> {
    let Some(allowed) = policy.allowed() else {
        return vec![("DevicePolicy", Value::text("auto"))];
    };
    let entries = allowed.filter_map(|((major, minor, block), access)| {
        let kind = if block { "block" } else { "char" };
        let node = match (major, minor) {
            (ALL, ALL) => format!("{kind}-*"),
            // systemd has no words for it; the file has.
            (ALL, _) => return None,
            (major, ALL) => format!("{kind}-{major}"),
            (major, minor) => format!("/dev/{kind}/{major}:{minor}"),
        };
        Some(Value::Struct(vec![Value::Text(node), Value::Text(access)]))
    });
    vec![
        ("DevicePolicy", Value::text("strict")),
        ("DeviceAllow", Value::Array("(ss)".into(), entries.collect())),
    ]
}

/// `org.systemd.property.NAME` annotations. As runc: `TimeoutStopSec` may be said in seconds.
pub(super) fn of_annotations(all: &BTreeMap<String, String>) -> Result<Vec<(String, Value)>> {
    let mut out = Vec::new();
    for (key, text) in all {
        let Some(name) = key.strip_prefix(PREFIX) else { continue };
        let pointer = format!("/annotations/{}", crate::validate::pointer::escaped(key));
        let wrong = |why: String| Error::config(pointer.clone(), why);
        if name.len() < 3 || !name.bytes().all(|b| b.is_ascii_alphabetic()) {
            return Err(wrong(format!("{name:?} is no property's name")));
        }
        if OURS.contains(&name) {
            return Err(wrong(format!("{name} is for this runtime to say")));
        }
        let value = dbus::parse(text).map_err(|why| wrong(format!("{text:?}: {why}")))?;
        let seconds = name.strip_suffix("Sec");
        out.push(match seconds.filter(|name| name.ends_with(|c: char| c.is_ascii_lowercase())) {
            Some(name) => (format!("{name}USec"), micros(&value).map_err(wrong)?),
            None => (name.to_owned(), value),
        });
    }
    Ok(out)
}

#[allow(clippy::cast_precision_loss, reason = "exact up to 285 years")]
fn micros(value: &Value) -> std::result::Result<Value, String> {
    let seconds = match *value {
        Value::Byte(n) => f64::from(n),
        Value::I16(n) => f64::from(n),
        Value::U16(n) => f64::from(n),
        Value::I32(n) => f64::from(n),
        Value::U32(n) => f64::from(n),
        Value::I64(n) => n as f64,
        Value::U64(n) => n as f64,
        Value::F64(n) => n,
        _ => return Err("seconds are a number".into()),
    };
    if seconds < 0.0 || !seconds.is_finite() {
        return Err("seconds are not below 0".into());
    }
    Ok(Value::U64((seconds * 1e6) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::{Resources, v1, v2};
    use proptest::prelude::*;

    fn shown(properties: &[Property]) -> String {
        let all = properties.iter().map(|(name, value)| format!("{name}={}", value.shown()));
        all.collect::<Vec<_>>().join(" ")
    }

    fn of(limits: &[Limit], version: u32) -> String {
        shown(&of_limits(&limits.iter().collect::<Vec<_>>(), &mut || Ok(version)).unwrap())
    }

    fn v2_of(json: &str, version: u32) -> String {
        let resources: Resources = serde_json::from_str(json).unwrap();
        of(&v2::limits(&resources).unwrap(), version)
    }

    #[test]
    fn files_of_v2_are_said_in_systemds_words() {
        for (json, expected) in [
            (
                r#"{"memory":{"limit":100,"swap":300,"reservation":50},"pids":{"limit":-1}}"#,
                "TasksMax=infinity MemorySwapMax=200 MemoryMax=100 MemoryLow=50",
            ),
            (
                r#"{"cpu":{"shares":1024,"quota":50000,"period":100000,"cpus":"0-2,9"}}"#,
                "CPUWeight=100 CPUQuotaPerSecUSec=500000 AllowedCPUs=0702",
            ),
            (
                r#"{"cpu":{"quota":33300,"period":200000}}"#,
                "CPUQuotaPeriodUSec=200000 CPUQuotaPerSecUSec=170000",
            ),
            (r#"{"cpu":{"quota":-1}}"#, "CPUQuotaPerSecUSec=infinity"),
            (r#"{"cpu":{"idle":1,"shares":5}}"#, "CPUWeight=0"),
            (r#"{"blockIO":{"weight":10}}"#, "IOWeight=1"),
            (
                r#"{"unified":{"memory.high":"5","pids.max":"max","cpu.max":"max"}}"#,
                "CPUQuotaPerSecUSec=infinity MemoryHigh=5 TasksMax=infinity",
            ),
            (r#"{"unified":{"pids.max":"0"},"pids":{"limit":9}}"#, "TasksMax=1"),
            (r#"{"unified":{"memory.oom.group":"1","memory.max":"words"}}"#, ""),
        ] {
            assert_eq!(v2_of(json, 252), expected, "{json}");
        }
    }

    #[test]
    fn an_old_systemd_hears_no_new_words() {
        assert_eq!(
            v2_of(r#"{"cpu":{"cpus":"0","mems":"0","idle":1,"period":9000}}"#, 241),
            "CPUQuotaPerSecUSec=infinity"
        );
    }

    #[test]
    fn files_of_v1_are_said_in_systemds_words() {
        let resources: Resources = serde_json::from_str(
            r#"{"memory":{"limit":100},"cpu":{"shares":7,"quota":5000,"period":10000},
                "blockIO":{"weight":10},"pids":{"limit":4}}"#,
        )
        .unwrap();
        assert_eq!(
            of(&v1::limits(&resources).unwrap(), 252),
            "MemoryLimit=100 CPUShares=7 CPUQuotaPeriodUSec=10000 CPUQuotaPerSecUSec=500000 \
             TasksMax=4 BlockIOWeight=10"
        );
    }

    #[test]
    fn device_rules_are_nodes_and_kinds() {
        let rules: Vec<crate::cgroup::Device> = serde_json::from_str(
            r#"[{"allow":true,"type":"b","major":8,"access":"r"},
                {"allow":true,"type":"c","minor":3,"access":"r"}]"#,
        )
        .unwrap();
        let said = shown(&of_devices(&Policy::new(&rules).unwrap()));
        assert!(said.starts_with("DevicePolicy=strict DeviceAllow=block-8 r char-* m"), "{said}");
        assert!(said.contains("/dev/char/1:3 rwm") && !said.contains("*:3"), "{said}");
        let all: Vec<crate::cgroup::Device> =
            serde_json::from_str(r#"[{"allow":true,"access":"rwm"}]"#).unwrap();
        assert_eq!(shown(&of_devices(&Policy::new(&all).unwrap())), "DevicePolicy=auto");
    }

    fn annotated(name: &str, value: &str) -> Result<Vec<(String, Value)>> {
        of_annotations(&BTreeMap::from([(format!("{PREFIX}{name}"), value.to_owned())]))
    }

    #[test]
    fn annotations_say_properties() {
        let one = |name: &str, value| vec![(name.to_owned(), value)];
        assert_eq!(
            annotated("TimeoutStopUSec", "uint64 5").unwrap(),
            one("TimeoutStopUSec", Value::U64(5))
        );
        assert_eq!(
            annotated("TimeoutStopSec", "1.5").unwrap(),
            one("TimeoutStopUSec", Value::U64(1_500_000))
        );
        assert_eq!(
            annotated("CollectMode", "'inactive'").unwrap(),
            one("CollectMode", Value::text("inactive"))
        );
        assert_eq!(of_annotations(&BTreeMap::from([("a".into(), "b".into())])).unwrap(), []);
        for (name, value, part) in [
            ("A-b", "1", "no property's name"),
            ("CollectMode", "inactive", "quoted"),
            ("TimeoutStopSec", "'5'", "number"),
            ("TimeoutStopSec", "-5", "below 0"),
            ("PIDs", "@au [1]", "for this runtime"),
        ] {
            let why = annotated(name, value).unwrap_err().to_string();
            assert!(why.contains(part) && why.contains("/annotations/org.systemd"), "{why}");
        }
    }

    proptest! {
        #[test]
        fn no_list_of_cpus_panics(list in "[0-9,\\- ]{0,12}") {
            let _ = bits(&list);
        }

        #[test]
        fn a_quota_fits_in_what_systemd_is_told(quota in 1_i64..100_000_000, period in 1000_u64..1_000_000) {
            let mut told = 0;
            let mut set = |name, value| if let ("CPUQuotaPerSecUSec", Value::U64(n)) = (name, value) { told = n };
            quotas(&mut set, &quota.to_string(), &period.to_string(), &mut || Ok(252)).unwrap();
            prop_assert!(u128::from(told) * u128::from(period) >= quota as u128 * 1_000_000 - u128::from(period));
            prop_assert_eq!(told % 10_000, 0);
        }
    }
}
