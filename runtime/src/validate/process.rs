//! `process`: what is executed, and as whom. Also the file of `exec --process`.

use std::collections::BTreeSet;
use std::ffi::CString;

use crate::error::{Error, Result};
use crate::validate::{capability, cstring, schedule, spec};

/// A process, past the point where anything can be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its arguments; the first is the program.
    pub args: Vec<CString>,
    /// Its environment.
    pub env: Vec<CString>,
    /// Its working directory, absolute.
    pub cwd: CString,
    /// Whether it gets a terminal.
    pub terminal: bool,
    /// The terminal's size as rows, columns; zeroes leave it alone.
    pub console_size: (u16, u16),
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Whether those of the runtime's caller stay instead ([`super::annotation::KEEP_GROUPS`]).
    pub keep_groups: bool,
    /// File mode creation mask.
    pub umask: u32,
    /// Its five sets.
    pub capabilities: Capabilities,
    /// Resource limits: RLIMIT_*, soft, hard.
    pub rlimits: Vec<(u32, u64, u64)>,
    /// no_new_privs.
    pub no_new_privileges: bool,
    /// AppArmor profile, or empty.
    pub apparmor: String,
    /// SELinux label, or empty.
    pub selinux: String,
    /// oom_score_adj, when one is asked for.
    pub oom_score_adj: Option<i32>,
    /// Scheduling, when asked for.
    pub scheduler: Option<dhow_kernel::sched::Attributes>,
    /// I/O priority as class and level, when asked for.
    pub io_priority: Option<(u32, u32)>,
    /// The CPUs of a process of exec.
    pub affinity: schedule::Affinity,
    /// What it asks for and won't get, to be logged.
    pub warnings: Vec<String>,
}

/// The five capability sets as bit masks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// What can ever be gained.
    pub bounding: u64,
    /// In force.
    pub effective: u64,
    /// Survives exec of a file with inheritable bits.
    pub inheritable: u64,
    /// Can be made effective.
    pub permitted: u64,
    /// Survives exec of any file.
    pub ambient: u64,
}

/// Checks `process`; `at` is its JSON pointer (`/process`, or empty for a process file).
pub fn read(p: &spec::Process<'_>, at: &str) -> Result<Process> {
    if p.args.is_empty() || p.args[0].is_empty() {
        return Err(Error::config(format!("{at}/args"), "args must not be empty"));
    }
    if !p.cwd.starts_with('/') {
        let why = format!("Cwd must be an absolute path, not {:?}", &*p.cwd);
        return Err(Error::config(format!("{at}/cwd"), why));
    }
    let strings = |list: &[spec::Text<'_>], field: &str| -> Result<Vec<CString>> {
        let read = |(n, s): (usize, &spec::Text<'_>)| cstring(s, || format!("{at}/{field}/{n}"));
        list.iter().enumerate().map(read).collect()
    };
    let (capabilities, warnings) = capabilities(p.capabilities.as_ref());
    Ok(Process {
        args: strings(&p.args, "args")?,
        env: strings(&p.env, "env").and_then(|env| variables(env, at))?,
        cwd: cstring(&p.cwd, || format!("{at}/cwd"))?,
        terminal: p.terminal,
        console_size: console_size(p, at)?,
        uid: id(p.user.uid, || format!("{at}/user/uid"))?,
        gid: id(p.user.gid, || format!("{at}/user/gid"))?,
        groups: groups(&p.user.additional_gids, at)?,
        keep_groups: false,
        umask: p.user.umask.unwrap_or(0o022) & 0o7777,
        capabilities,
        rlimits: rlimits(&p.rlimits, at)?,
        no_new_privileges: p.no_new_privileges,
        apparmor: p.apparmor_profile.to_string(),
        selinux: p.selinux_label.to_string(),
        oom_score_adj: oom_score_adj(p.oom_score_adj, at)?,
        scheduler: p.scheduler.as_ref().map(|s| schedule::scheduler(s, at)).transpose()?,
        io_priority: p.io_priority.as_ref().map(|i| schedule::io_priority(i, at)).transpose()?,
        affinity: schedule::affinity(p.exec_cpu_affinity.as_ref(), at)?,
        warnings,
    })
}

/// As runc: what has no name or no value is a mistake.
fn variables(env: Vec<CString>, at: &str) -> Result<Vec<CString>> {
    for (n, entry) in env.iter().enumerate() {
        let why = match entry.to_bytes().iter().position(|b| *b == b'=') {
            Some(0) => "invalid environment variable: name cannot be empty",
            None => "invalid environment variable: missing '='",
            Some(_) => continue,
        };
        return Err(Error::config(format!("{at}/env/{n}"), why));
    }
    Ok(env)
}

/// CVE: 2024-40635: the all-ones id means "unchanged" to the kernel: it would stay root.
fn id(id: u32, pointer: impl Fn() -> String) -> Result<u32> {
    if id == u32::MAX {
        return Err(Error::config(pointer(), "4294967295 is not an id"));
    }
    Ok(id)
}

fn groups(list: &[u32], at: &str) -> Result<Vec<u32>> {
    let pointer = |n| move || format!("{at}/user/additionalGids/{n}");
    list.iter().enumerate().map(|(n, gid)| id(*gid, pointer(n))).collect()
}

/// SPEC: config.md §Process: without a terminal it is ignored, whatever it is.
fn console_size(p: &spec::Process<'_>, at: &str) -> Result<(u16, u16)> {
    let size = p.console_size.filter(|_| p.terminal).unwrap_or_default();
    let one = |value: u64, field: &str| {
        let why = || format!("{value}: a terminal has at most {} of them", u16::MAX);
        let pointer = || format!("{at}/consoleSize/{field}");
        u16::try_from(value).map_err(|_| Error::config(pointer(), why()))
    };
    Ok((one(size.height, "height")?, one(size.width, "width")?))
}

fn oom_score_adj(value: Option<i32>, at: &str) -> Result<Option<i32>> {
    match value {
        Some(n) if !(-1000..=1000).contains(&n) => {
            Err(Error::config(format!("{at}/oomScoreAdj"), "must be between -1000 and 1000"))
        }
        other => Ok(other),
    }
}

/// SPEC: config.md §Linux process, capabilities: what can't be mapped or granted is warned of.
fn capabilities(asked: Option<&spec::Capabilities<'_>>) -> (Capabilities, Vec<String>) {
    let Some(asked) = asked else { return Default::default() };
    let mut unknown = BTreeSet::new();
    let mut mask = |list: &[spec::Text<'_>]| {
        list.iter().fold(0, |mask, name| {
            if let Some(bit) = capability::number(name) {
                return mask | 1 << bit;
            }
            unknown.insert(name.to_string());
            mask
        })
    };
    let sets = Capabilities {
        bounding: mask(&asked.bounding),
        effective: mask(&asked.effective),
        inheritable: mask(&asked.inheritable),
        permitted: mask(&asked.permitted),
        ambient: mask(&asked.ambient),
    };
    let mut warnings = Vec::new();
    if !unknown.is_empty() {
        let names = unknown.into_iter().collect::<Vec<_>>().join(" ");
        warnings.push(format!("ignoring unknown or unavailable capabilities: [{names}]"));
    }
    // KERNEL: capabilities(7): no bit can be ambient that isn't both permitted and inheritable.
    let refused = sets.ambient & !(sets.permitted & sets.inheritable);
    let names = capability::NAMES.iter().enumerate().filter(|(n, _)| refused & 1 << n != 0);
    warnings.extend(names.map(|(_, name)| {
        let why = "it has to be in the permitted and the inheritable set too";
        format!("can't raise ambient capability {name}: operation not permitted: {why}")
    }));
    (sets, warnings)
}

const RLIMITS: [(&str, u32); 16] = [
    ("RLIMIT_AS", libc::RLIMIT_AS),
    ("RLIMIT_CORE", libc::RLIMIT_CORE),
    ("RLIMIT_CPU", libc::RLIMIT_CPU),
    ("RLIMIT_DATA", libc::RLIMIT_DATA),
    ("RLIMIT_FSIZE", libc::RLIMIT_FSIZE),
    ("RLIMIT_LOCKS", libc::RLIMIT_LOCKS),
    ("RLIMIT_MEMLOCK", libc::RLIMIT_MEMLOCK),
    ("RLIMIT_MSGQUEUE", libc::RLIMIT_MSGQUEUE),
    ("RLIMIT_NICE", libc::RLIMIT_NICE),
    ("RLIMIT_NOFILE", libc::RLIMIT_NOFILE),
    ("RLIMIT_NPROC", libc::RLIMIT_NPROC),
    ("RLIMIT_RSS", libc::RLIMIT_RSS),
    ("RLIMIT_RTPRIO", libc::RLIMIT_RTPRIO),
    ("RLIMIT_RTTIME", libc::RLIMIT_RTTIME),
    ("RLIMIT_SIGPENDING", libc::RLIMIT_SIGPENDING),
    ("RLIMIT_STACK", libc::RLIMIT_STACK),
];

/// The name of a resource, for messages.
pub fn rlimit_name(resource: u32) -> &'static str {
    RLIMITS.iter().find(|(_, n)| *n == resource).map_or("RLIMIT", |(name, _)| name)
}

fn rlimits(list: &[spec::Rlimit<'_>], at: &str) -> Result<Vec<(u32, u64, u64)>> {
    let mut out: Vec<(u32, u64, u64)> = Vec::with_capacity(list.len());
    for (n, limit) in list.iter().enumerate() {
        let place = |field: &str| format!("{at}/rlimits/{n}/{field}");
        let known = RLIMITS.iter().find(|(name, _)| *name == &*limit.kind);
        let Some(&(name, resource)) = known else {
            return Err(Error::config(place("type"), format!("unknown limit {:?}", &*limit.kind)));
        };
        // SPEC: config.md §POSIX process, rlimits: duplicates are an error.
        if out.iter().any(|(other, ..)| *other == resource) {
            return Err(Error::config(place("type"), format!("{name} is set twice")));
        }
        out.push((resource, limit.soft, limit.hard));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(json: &str) -> Result<Process> {
        read(&serde_json::from_str(json).unwrap(), "/process")
    }

    #[test]
    fn the_least_process_is_complete() {
        let p = from(r#"{"args":["/bin/true"],"cwd":"/"}"#).unwrap();
        assert_eq!((p.uid, p.umask, p.capabilities), (0, 0o022, Capabilities::default()));
    }

    #[test]
    fn a_capability_that_can_t_be_had_is_a_warning() {
        let sets = r#"{"bounding":["CAP_KILL","CAP_X"],"effective":["CAP_X","CAP_A"],
            "permitted":["CAP_CHOWN","CAP_KILL"],"inheritable":["CAP_KILL"],
            "ambient":["CAP_CHOWN","CAP_KILL"]}"#;
        let json = format!(r#"{{"args":["x"],"cwd":"/","capabilities":{sets}}}"#);
        let p = from(&json).unwrap();
        assert_eq!((p.capabilities.bounding, p.capabilities.effective), (1 << 5, 0));
        let [unknown, ambient] = &p.warnings[..] else { panic!("{:?}", p.warnings) };
        assert_eq!(unknown, "ignoring unknown or unavailable capabilities: [CAP_A CAP_X]");
        assert!(ambient.starts_with("can't raise ambient capability CAP_CHOWN: "), "{ambient}");
    }

    #[test]
    fn a_size_without_a_terminal_is_ignored_whatever_it_is() {
        let size = r#""args":["x"],"cwd":"/","consoleSize":{"height":70000,"width":2}"#;
        assert_eq!(from(&format!("{{{size}}}")).unwrap().console_size, (0, 0));
        let e = from(&format!(r#"{{{size},"terminal":true}}"#)).unwrap_err().to_string();
        assert!(e.contains("/process/consoleSize/height: 70000"), "{e}");
    }

    #[test]
    fn a_group_that_is_none_is_refused_by_its_place() {
        let user = r#"{"args":["x"],"cwd":"/","user":{"additionalGids":[1,4294967295]}}"#;
        let e = from(user).unwrap_err().to_string();
        assert!(e.contains("/process/user/additionalGids/1"), "{e}");
    }

    #[test]
    fn rules_name_their_pointer() {
        let wrong = |json: &str| from(json).unwrap_err().to_string();
        assert!(wrong(r#"{"args":[],"cwd":"/"}"#).contains("/process/args"));
        assert!(wrong(r#"{"args":["x"],"cwd":"rel"}"#).contains("/process/cwd"));
        let twice =
            r#"{"args":["x"],"cwd":"/","rlimits":[{"type":"RLIMIT_CPU"},{"type":"RLIMIT_CPU"}]}"#;
        assert!(wrong(twice).contains("/process/rlimits/1/type"));
        let id = r#"{"args":["x"],"cwd":"/","user":{"uid":4294967295}}"#;
        assert!(wrong(id).contains("/process/user/uid"));
        for bad in ["NOVALUE", "=noname", ""] {
            let env = format!(r#"{{"args":["x"],"cwd":"/","env":["A=b","{bad}"]}}"#);
            assert!(wrong(&env).contains("/process/env/1: invalid environment variable"));
        }
        assert!(wrong(r#"{"args":["a\u0000b"],"cwd":"/"}"#).contains("/process/args/0"));
    }
}
