//! When and where a process runs: `process.scheduler`, `ioPriority`, `execCPUAffinity`,
//! `linux.memoryPolicy`, `linux.personality`.

use dhow_kernel::sched::Attributes;

use crate::error::{Error, Result};
use crate::validate::spec;

/// CPUs or memory nodes as the kernel's bit mask, 64 to a word; empty when none are named.
pub type Ids = Vec<u64>;

/// The highest CPU or node: beyond what any kernel has, below what a mistake could cost.
const HIGHEST: u32 = 64 * 1024;

/// `process.execCPUAffinity`; an empty set leaves that one alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Affinity {
    /// Where it runs until it is in the container's cgroups.
    pub initial: Ids,
    /// Where it runs from there on.
    pub last: Ids,
}

/// `linux.memoryPolicy` as set_mempolicy(2) takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPolicy {
    /// MPOL_* with its MPOL_F_*.
    pub mode: i32,
    /// The nodes.
    pub nodes: Ids,
}

/// What is set on a process once nothing is forked from it any more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schedule {
    /// `process.scheduler`.
    pub scheduler: Option<Attributes>,
    /// Whether the group has CPUs of its own, which a deadline can't be kept on.
    pub cpuset: bool,
    /// `process.ioPriority` as class and level.
    pub io_priority: Option<(u32, u32)>,
    /// personality(2)'s number.
    pub personality: Option<u64>,
    /// `linux.memoryPolicy`.
    pub memory: Option<MemoryPolicy>,
}

impl Schedule {
    /// Whether there is nothing to set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Schedule {
    /// What is set, for people.
    pub fn lines(&self) -> Vec<String> {
        let policy = |s: &Attributes| {
            let known = POLICIES.iter().find(|(_, n)| *n == s.policy);
            let (word, flags) = (known.map_or("", |(word, _)| word), s.flags);
            let (nice, priority) = (s.nice, s.priority);
            format!("scheduler {word} nice {nice} priority {priority} flags {flags:#x}")
        };
        let mut out: Vec<String> = self.scheduler.iter().map(policy).collect();
        out.extend(self.io_priority.map(|(class, level)| format!("ioprio class {class} {level}")));
        out.extend(self.personality.map(|domain| format!("personality {domain:#x}")));
        out.extend(self.memory.as_ref().map(|memory| {
            let word = MEMORY_MODES.iter().find(|(_, mode)| *mode == memory.mode & 0xff);
            let (word, flags) = (word.map_or("", |(word, _)| word), memory.mode & !0xff);
            format!("memory policy {word} flags {flags:#x} nodes {:x?}", memory.nodes)
        }));
        out
    }
}

/// Reads what `linux` says of every process of the container, besides the process's own.
pub fn schedule(process: &super::process::Process, linux: &spec::Linux<'_>) -> Result<Schedule> {
    Ok(Schedule {
        scheduler: process.scheduler,
        cpuset: process.scheduler.is_some() && !linux.resources.cpu.cpus.is_empty(),
        io_priority: process.io_priority,
        personality: linux.personality.as_ref().map(super::linux::personality).transpose()?,
        memory: linux.memory_policy.as_ref().map(memory_policy).transpose()?,
    })
}

/// A list such as `0-3,7`.
pub fn ids(text: &str, pointer: impl Fn() -> String) -> Result<Ids> {
    let bad = |why: String| Error::config(pointer(), why);
    let number = |part: &str| match part.trim().parse::<u32>() {
        Ok(n) if n <= HIGHEST => Ok(n),
        Ok(n) => Err(bad(format!("{n}: values larger than {HIGHEST} are not supported"))),
        Err(_) => Err(bad(format!("{part:?} is no number: write a list such as 0-3,7"))),
    };
    let mut out = Ids::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if first > last {
            return Err(bad(format!("invalid range: {part}")));
        }
        for id in first..=last {
            let word = id as usize / 64;
            out.resize(out.len().max(word + 1), 0);
            out[word] |= 1 << (id % 64);
        }
    }
    if out.is_empty() && !text.is_empty() {
        return Err(bad(format!("no members found in set {text:?}")));
    }
    Ok(out)
}

/// Reads `process.execCPUAffinity`.
pub fn affinity(asked: Option<&spec::Affinity<'_>>, at: &str) -> Result<Affinity> {
    let Some(asked) = asked else { return Ok(Affinity::default()) };
    let read = |text: &str, field: &str| ids(text, || format!("{at}/execCPUAffinity/{field}"));
    Ok(Affinity { initial: read(&asked.initial, "initial")?, last: read(&asked.last, "final")? })
}

/// The modes of `linux.memoryPolicy`, sorted, and MPOL_*.
pub const MEMORY_MODES: [(&str, i32); 7] = [
    ("MPOL_BIND", 2),
    ("MPOL_DEFAULT", 0),
    ("MPOL_INTERLEAVE", 3),
    ("MPOL_LOCAL", 4),
    ("MPOL_PREFERRED", 1),
    ("MPOL_PREFERRED_MANY", 5),
    ("MPOL_WEIGHTED_INTERLEAVE", 6),
];

/// Its flags, sorted, and MPOL_F_*.
pub const MEMORY_FLAGS: [(&str, i32); 3] = [
    ("MPOL_F_NUMA_BALANCING", 1 << 13),
    ("MPOL_F_RELATIVE_NODES", 1 << 14),
    ("MPOL_F_STATIC_NODES", 1 << 15),
];

fn memory_policy(asked: &spec::MemoryPolicy<'_>) -> Result<MemoryPolicy> {
    let bad = |field: &str, why: String| Error::config(format!("/linux/memoryPolicy/{field}"), why);
    let known = |table: &[(&str, i32)], word: &str| {
        table.iter().find(|(known, _)| *known == word).map(|(_, value)| *value)
    };
    let mode = known(&MEMORY_MODES, &asked.mode)
        .ok_or_else(|| bad("mode", format!("invalid memory policy mode {:?}", &*asked.mode)))?;
    // In runc's words, with ours behind them.
    let nodes = ids(&asked.nodes, || "/linux/memoryPolicy/nodes".into()).map_err(|e| match e {
        Error::Config { why, .. } => bad("nodes", format!("invalid memory policy nodes: {why}")),
        other => other,
    })?;
    let flags = asked.flags.iter().enumerate().try_fold(0, |flags, (n, flag)| {
        let why = || format!("invalid memory policy flag {:?}", &**flag);
        known(&MEMORY_FLAGS, flag)
            .map(|bit| flags | bit)
            .ok_or_else(|| bad(&format!("flags/{n}"), why()))
    })?;
    // KERNEL: set_mempolicy(2): these take no nodes, the others but MPOL_PREFERRED one at least.
    match &*asked.mode {
        "MPOL_DEFAULT" | "MPOL_LOCAL" if !nodes.is_empty() => {
            let count = nodes.iter().map(|word| word.count_ones()).sum::<u32>();
            let why = format!(
                "mode requires 0 nodes but got {count}: leave them out with {}",
                &*asked.mode
            );
            Err(bad("nodes", why))
        }
        "MPOL_DEFAULT" | "MPOL_LOCAL" | "MPOL_PREFERRED" => {
            Ok(MemoryPolicy { mode: mode | flags, nodes })
        }
        _ if nodes.is_empty() => {
            Err(bad("nodes", format!("{} needs at least one node", &*asked.mode)))
        }
        _ => Ok(MemoryPolicy { mode: mode | flags, nodes }),
    }
}

/// SPEC: config.md §Linux Process, scheduler; the numbers are linux/sched.h's.
const POLICIES: [(&str, u32); 7] = [
    ("SCHED_OTHER", 0),
    ("SCHED_FIFO", 1),
    ("SCHED_RR", 2),
    ("SCHED_BATCH", 3),
    ("SCHED_ISO", 4),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", 6),
];

const FLAGS: [(&str, u64); 7] = [
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", 0x08),
    ("SCHED_FLAG_KEEP_PARAMS", 0x10),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];

/// Reads `process.scheduler`.
pub fn scheduler(s: &spec::Scheduler<'_>, at: &str) -> Result<Attributes> {
    let bad = |field: &str, why: String| Error::config(format!("{at}/scheduler/{field}"), why);
    if s.policy.is_empty() {
        return Err(bad("policy", "scheduler policy is required".into()));
    }
    let policy = POLICIES.iter().find(|(word, _)| *word == &*s.policy);
    let Some(&(word, policy)) = policy else {
        return Err(bad("policy", format!("unknown value {:?}", &*s.policy)));
    };
    let mut flags = 0;
    for (n, flag) in s.flags.iter().enumerate() {
        let known = FLAGS.iter().find(|(word, _)| *word == &**flag);
        let why = || format!("unknown value {:?}", &**flag);
        flags |= known.ok_or_else(|| bad(&format!("flags/{n}"), why()))?.1;
    }
    // What the policy has no use for the kernel takes without a word.
    if matches!(word, "SCHED_OTHER" | "SCHED_BATCH") && !(-20..=19).contains(&s.nice) {
        return Err(bad("nice", format!("{} is not between -20 and 19", s.nice)));
    }
    if s.priority != 0 && !matches!(word, "SCHED_FIFO" | "SCHED_RR") {
        return Err(bad("priority", "can only be set with SCHED_FIFO or SCHED_RR".into()));
    }
    if word == "SCHED_DEADLINE" {
        deadline(s).map_err(|(field, why)| bad(field, why))?;
    } else {
        let period = Some(s.period);
        let times = [("runtime", s.runtime), ("deadline", s.deadline), ("period", period)];
        if let Some((field, _)) = times.iter().find(|(_, time)| time.is_some_and(|t| t != 0)) {
            return Err(bad(field, "can only be set with SCHED_DEADLINE".into()));
        }
    }
    Ok(Attributes {
        policy,
        flags,
        nice: s.nice,
        priority: s.priority,
        runtime: s.runtime.unwrap_or(0),
        deadline: s.deadline.unwrap_or(0),
        period: s.period,
        ..Attributes::default()
    })
}

/// The times of SCHED_DEADLINE; what is wrong with which, in crun's words.
///
/// KERNEL: sched(7) §SCHED_DEADLINE: at least 1024 ns, at most 2^63, and runtime <= deadline <=
/// period, where no period is the deadline.
fn deadline(s: &spec::Scheduler<'_>) -> std::result::Result<(), (&'static str, String)> {
    const TIMES: std::ops::Range<u64> = 1024..1 << 63;
    let said = |rule: String| format!("sched_setattr: `SCHED_DEADLINE` {rule}");
    let time = |field: &'static str, time: Option<u64>| match time {
        None => Err((field, said(format!("requires `{field}`")))),
        Some(0) => Err((field, said(format!("{field} must be greater than 0")))),
        Some(time) => Ok(time),
    };
    let runtime = time("runtime", s.runtime)?;
    let (deadline, period) = (time("deadline", s.deadline)?, s.period);
    if !TIMES.contains(&runtime) {
        let rule =
            format!("runtime {runtime} must be between {} and {} ns", TIMES.start, TIMES.end - 1);
        return Err(("runtime", said(rule)));
    }
    if runtime > deadline {
        return Err(("runtime", said(format!("runtime {runtime} must be <= deadline {deadline}"))));
    }
    if period != 0 && deadline > period {
        return Err(("deadline", said(format!("deadline {deadline} must be <= period {period}"))));
    }
    Ok(())
}

/// Reads `process.ioPriority` as class and level.
pub fn io_priority(io: &spec::IoPriority<'_>, at: &str) -> Result<(u32, u32)> {
    let class = match &*io.class {
        "IOPRIO_CLASS_RT" => 1,
        "IOPRIO_CLASS_BE" => 2,
        "IOPRIO_CLASS_IDLE" => 3,
        other => {
            let why = format!("unknown class {other:?}");
            return Err(Error::config(format!("{at}/ioPriority/class"), why));
        }
    };
    let level = u32::try_from(io.priority).ok().filter(|level| *level <= 7);
    level.map(|level| (class, level)).ok_or_else(|| {
        let why = format!("{} is not between 0 and 7", io.priority);
        Error::config(format!("{at}/ioPriority/priority"), why)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(text: &str) -> Result<Ids> {
        ids(text, || "/x".into())
    }

    #[test]
    fn a_list_of_cpus_is_ranges_and_numbers() {
        assert_eq!(set("0-3,7").unwrap(), [0b1000_1111]);
        assert_eq!(set(" 1 , 2-3,,").unwrap(), [0b1110]);
        assert_eq!(set("64").unwrap(), [0, 1]);
        assert_eq!(set("").unwrap(), [0u64; 0]);
        for bad in [",", "3-1", "a", "-1", "1-", "65537", "0x1"] {
            assert!(set(bad).is_err(), "{bad}");
        }
    }

    fn sched(json: &str) -> Result<Attributes> {
        scheduler(&serde_json::from_str(json).unwrap(), "/process")
    }

    #[test]
    fn all_scheduler_policies_and_flags_are_the_kernels_numbers() {
        for (n, policy) in POLICIES.iter().enumerate() {
            let times = if policy.0 == "SCHED_DEADLINE" {
                r#","runtime":1024,"deadline":1024"#
            } else {
                ""
            };
            let read = sched(&format!(r#"{{"policy":"{}"{times}}}"#, policy.0)).unwrap();
            assert_eq!(read.policy, n as u32, "{policy:?}");
        }
        // The names are the spec's: oci-spec 0.10 has SCHED_RESET_ON_FORK and SCHED_FLAG_DLOVERRUN.
        let flags = [
            "RESET_ON_FORK",
            "RECLAIM",
            "DL_OVERRUN",
            "KEEP_POLICY",
            "KEEP_PARAMS",
            "UTIL_CLAMP_MIN",
            "UTIL_CLAMP_MAX",
        ];
        for (n, flag) in flags.iter().enumerate() {
            let json = format!(r#"{{"policy":"SCHED_OTHER","flags":["SCHED_FLAG_{flag}"]}}"#);
            assert_eq!(sched(&json).unwrap().flags, 1 << n, "{flag}");
        }
    }

    #[test]
    fn a_scheduler_field_without_its_policy_is_refused_by_pointer() {
        for (json, pointer) in [
            (r"{}", "policy"),
            (r#"{"policy":"SCHED_OTHER","nice":20}"#, "nice"),
            (r#"{"policy":"SCHED_BATCH","nice":-21}"#, "nice"),
            (r#"{"policy":"SCHED_OTHER","priority":1}"#, "priority"),
            (r#"{"policy":"SCHED_FIFO","priority":1,"period":5}"#, "period"),
            (r#"{"policy":"SCHED_FIFO","flags":["SCHED_FLAG_DLOVERRUN"]}"#, "flags/0"),
            (r#"{"policy":"SCHED_NONE"}"#, "policy"),
        ] {
            let e = sched(json).unwrap_err().to_string();
            assert!(e.contains(&format!("/process/scheduler/{pointer}:")), "{json}: {e}");
        }
    }

    #[test]
    fn times_of_a_deadline_are_checked_before_the_kernel_sees_them() {
        let times = |runtime: u64, deadline: u64, period: u64| {
            let policy = r#""policy":"SCHED_DEADLINE""#;
            sched(&format!(
                r#"{{{policy},"runtime":{runtime},"deadline":{deadline},"period":{period}}}"#
            ))
        };
        assert_eq!(times(1024, 2000, 0).unwrap().deadline, 2000);
        assert_eq!(times(1024, 1024, 1024).unwrap().runtime, 1024);
        for ((runtime, deadline, period), why) in [
            ((0, 9000, 9000), "sched_setattr: `SCHED_DEADLINE` runtime must be greater than 0"),
            ((2000, 0, 0), "`SCHED_DEADLINE` deadline must be greater than 0"),
            ((1023, 9000, 9000), "runtime 1023 must be between 1024 and"),
            ((1 << 63, 1 << 63, 0), "must be between"),
            ((3000, 2000, 9000), "runtime 3000 must be <= deadline 2000"),
            ((2000, 3000, 2000), "deadline 3000 must be <= period 2000"),
        ] {
            let e = times(runtime, deadline, period).unwrap_err().to_string();
            assert!(e.contains(why), "{e}");
        }
        for (given, missing) in [("deadline", "runtime"), ("runtime", "deadline")] {
            let e = sched(&format!(r#"{{"policy":"SCHED_DEADLINE","{given}":9000}}"#));
            let e = e.unwrap_err().to_string();
            assert!(e.contains(&format!("requires `{missing}`")), "{e}");
        }
    }

    fn memory(json: &str) -> Result<MemoryPolicy> {
        memory_policy(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn a_memory_policy_is_mode_flags_and_nodes() {
        let json = r#"{"mode":"MPOL_INTERLEAVE","nodes":"2-3","flags":["MPOL_F_STATIC_NODES"]}"#;
        assert_eq!(memory(json).unwrap(), MemoryPolicy { mode: 0x8003, nodes: vec![0b1100] });
        assert_eq!(memory(r#"{"mode":"MPOL_PREFERRED"}"#).unwrap().mode, 1);
        for (json, pointer) in [
            (r"{}", "mode"),
            (r#"{"mode":"MPOL_BIND"}"#, "nodes"),
            (r#"{"mode":"MPOL_WEIGHTED_INTERLEAVE"}"#, "nodes"),
            (r#"{"mode":"MPOL_LOCAL","nodes":"0"}"#, "nodes"),
            (r#"{"mode":"MPOL_DEFAULT","nodes":"x"}"#, "nodes: invalid memory policy nodes"),
            (r#"{"mode":"MPOL_LOCAL","nodes":"0-7"}"#, "nodes: mode requires 0 nodes but got 8"),
            (r#"{"mode":"MPOL_DEFAULT","flags":["MPOL_F_X"]}"#, "flags/0"),
        ] {
            let e = memory(json).unwrap_err().to_string();
            assert!(e.contains(&format!("/linux/memoryPolicy/{pointer}")), "{json}: {e}");
        }
    }

    #[test]
    fn a_schedule_is_told_in_the_configs_words() {
        let schedule = Schedule {
            scheduler: Some(sched(r#"{"policy":"SCHED_BATCH","nice":3}"#).unwrap()),
            io_priority: Some((2, 6)),
            personality: Some(8),
            memory: Some(memory(r#"{"mode":"MPOL_BIND","nodes":"0-1"}"#).unwrap()),
            ..Schedule::default()
        };
        let wanted = [
            "scheduler SCHED_BATCH nice 3 priority 0 flags 0x0",
            "ioprio class 2 6",
            "personality 0x8",
            "memory policy MPOL_BIND flags 0x0 nodes [3]",
        ];
        assert_eq!(schedule.lines(), wanted);
        assert!(Schedule::default().lines().is_empty());
    }

    #[test]
    fn names_for_features_are_sorted() {
        assert!(MEMORY_MODES.is_sorted() && MEMORY_FLAGS.is_sorted());
    }

    proptest! {
        #[test]
        fn no_list_panics(text in "[0-9,x -]{0,20}") {
            let _ = set(&text);
        }
    }
}
