//! `exec`: one more process in a running container.

use std::borrow::Cow;
use std::fmt::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use super::World;
use super::launch::{Handle, detached_terminal, write_pid};
use crate::cgroup;
use crate::error::{Error, Result};
use crate::foreground::{self, Relay, Signals};
use crate::init::parent::Init;
use crate::join::{Entry, join};
use crate::lifecycle;
use crate::log::Level;
use crate::seccomp::Filter;
use crate::state::{Record, Status, file};
use crate::trace::Trace;
use crate::validate::process::{self, Process};
use crate::validate::schedule::{self, Schedule};
use crate::validate::spec::{self, Spec, Text};
use crate::validate::{self, annotation};

/// Flags, as typed.
#[derive(Debug, Default)]
pub struct Flags {
    /// The container.
    pub id: String,
    /// The program and its arguments.
    pub args: Vec<String>,
    /// `--process`: a file with all of it.
    pub process: Option<PathBuf>,
    /// `--cwd`.
    pub cwd: Option<String>,
    /// `--env`, each `NAME=value`.
    pub env: Vec<String>,
    /// `--tty`.
    pub tty: bool,
    /// `--user`, `UID[:GID]`.
    pub user: Option<String>,
    /// `--additional-gids`.
    pub additional_gids: Vec<u32>,
    /// `--process-label`.
    pub process_label: Option<String>,
    /// `--apparmor`.
    pub apparmor: Option<String>,
    /// `--no-new-privs`.
    pub no_new_privs: Option<bool>,
    /// `--cap`.
    pub cap: Vec<String>,
    /// `--cgroup`, each `[CONTROLLER:]PATH`.
    pub cgroup: Vec<String>,
    /// `--detach`.
    pub detach: bool,
    /// `--pid-file`.
    pub pid_file: Option<PathBuf>,
    /// `--console-socket`.
    pub console_socket: Option<PathBuf>,
    /// `--pidfd-socket`.
    pub pidfd_socket: Option<PathBuf>,
    /// `--preserve-fds`.
    pub preserve_fds: u32,
    /// `--ignore-paused`.
    pub ignore_paused: bool,
}

/// Executes it; the exit code is the process's, 0 when detached.
pub fn exec(flags: &Flags, world: &World) -> Result<i32> {
    let (dir, record) = world.store.find(&flags.id)?;
    match dir.status(&record)? {
        Status::Stopped | Status::Creating => {
            return Err(Error::rule("cannot exec in a stopped container"));
        }
        Status::Paused if !flags.ignore_paused => {
            let why = "cannot exec in a paused container (use --ignore-paused to override)";
            return Err(Error::rule(why));
        }
        _ => {}
    }
    let text = dir.config()?;
    let config: Spec<'_> = validate::parse(&text)?;
    let given = gives_sight(config.process.as_ref());
    let typed = flags.process.as_deref().map(read_file).transpose()?;
    let mut process = match &typed {
        Some(text) => from_file(text, config.process)?,
        None => from_config(flags, config.process)?,
    };
    process.keep_groups = annotation::is_on(&record.annotations, annotation::KEEP_GROUPS);
    process.warnings.iter().for_each(|warning| world.log.line(Level::Warning, warning));
    let at = if flags.process.is_some() { "" } else { "/process" };
    lifecycle::labels(&process, at)?;
    let filter = config.linux.seccomp.as_ref().map(crate::seccomp::compile).transpose()?.flatten();
    config.linux.seccomp.iter().for_each(|profile| crate::seccomp::debug(profile, &world.log));
    let schedule = schedule::schedule(&process, &config.linux)?;
    say_affinity(&process, world);
    let brings = process.capabilities.bounding & 1 << CAP_SYS_PTRACE != 0;
    if brings && !given {
        // Who comes after this one must know, too.
        dir.write(file::WATCHED, "")?;
    }
    let watched = given || brings || dir.file(file::WATCHED).exists();
    launch(flags, &record, (&process, &schedule, watched), filter.as_ref(), world)
}

/// linux/capability.h.
const CAP_SYS_PTRACE: u32 = 19;

/// Whether the container's own process may have been given the right to look into others.
fn gives_sight(own: Option<&spec::Process<'_>>) -> bool {
    let sets = own.and_then(|process| process.capabilities.as_ref());
    sets.is_some_and(|sets| sets.bounding.iter().any(|name| &**name == "CAP_SYS_PTRACE"))
}

/// In the words that runc's users and tests look for.
fn say_affinity(process: &Process, world: &World) {
    let cpus = &process.affinity.initial;
    if !cpus.is_empty() {
        let mut mask = String::new();
        for word in cpus.iter().rev() {
            let _ = write!(mask, "{word:016x}");
        }
        let line = format!("nsexec: affinity: 0x{}", mask.trim_start_matches('0'));
        world.log.line(Level::Debug, &line);
    }
}

fn launch(
    flags: &Flags,
    record: &Record,
    (process, schedule, watched): (&Process, &Schedule, bool),
    filter: Option<&Filter>,
    world: &World,
) -> Result<i32> {
    let log = &world.log;
    let trace = &log.trace;
    let groups = groups(&record.cgroup, &flags.cgroup)?;
    let handle = Handle::connect(flags.pidfd_socket.as_deref())?;
    let signals = if flags.detach { None } else { Some(Signals::take()?) };
    let (ours, console) = terminal(flags, process.terminal)?;
    let preserve = flags.preserve_fds;
    // In the words that runc's users and tests look for.
    log.debug(|| format!("nsexec container setup: joining {}", record.id));
    let init = join(Entry {
        record,
        cgroup: &groups,
        process,
        schedule,
        filter,
        console,
        preserve,
        watched,
        lenient: world.rootless,
        trace,
        log,
    })
    .map_err(Error::joining)?;
    log.debug(|| format!("child process in init(): {} has joined", init.pid));
    log.debug(|| format!("setns_init: about to exec {:?}", process.args[0]));
    let ended = handle
        .send("setns", init.pidfd.as_fd())
        .and_then(|()| follow(flags, &init, ours.as_ref(), signals.as_ref(), trace));
    if ended.is_err() {
        init.discard();
    }
    ended
}

fn follow(
    flags: &Flags,
    init: &Init,
    ours: Option<&OwnedFd>,
    signals: Option<&Signals>,
    trace: &Trace,
) -> Result<i32> {
    let mut relay = ours.map(|ours| Relay::receive(ours.as_fd())).transpose()?;
    if let Some(path) = &flags.pid_file {
        write_pid(path, init.pid.as_raw())?;
    }
    trace.step("go", || init.go())?;
    match signals {
        Some(signals) => trace.step("wait", || foreground::wait(init, signals, relay.as_mut())),
        None => Ok(0),
    }
}

/// Our end of the terminal, when we relay it, and the process's.
fn terminal(flags: &Flags, wanted: bool) -> Result<(Option<OwnedFd>, Option<OwnedFd>)> {
    let socket = flags.console_socket.as_deref();
    if flags.detach || (wanted && socket.is_some()) {
        return detached_terminal(wanted, socket).map(|theirs| (None, theirs));
    }
    if socket.is_some() {
        let why = "cannot use console socket if dhow-runtime will not detach or allocate tty";
        return Err(Error::rule(why));
    }
    if !wanted {
        return Ok((None, None));
    }
    foreground::terminal_pair().map(|(ours, theirs)| (Some(ours), Some(theirs)))
}

fn read_file(file: &std::path::Path) -> Result<String> {
    std::fs::read_to_string(file).map_err(|e| Error::io("open", file.to_string_lossy(), &e))
}

/// The file's process. As runc: of what it leaves out, the container's own process's.
fn from_file<'a>(text: &'a str, own: Option<spec::Process<'a>>) -> Result<Process> {
    let mut p: spec::Process<'a> = validate::parse(text)?;
    let own = own.unwrap_or_default();
    p.capabilities = p.capabilities.or(own.capabilities);
    p.scheduler = p.scheduler.or(own.scheduler);
    p.io_priority = p.io_priority.or(own.io_priority);
    p.exec_cpu_affinity = p.exec_cpu_affinity.or(own.exec_cpu_affinity);
    p.oom_score_adj = p.oom_score_adj.or(own.oom_score_adj);
    p.user.umask = p.user.umask.or(own.user.umask);
    if p.rlimits.is_empty() {
        p.rlimits = own.rlimits;
    }
    for (field, own) in
        [(&mut p.apparmor_profile, own.apparmor_profile), (&mut p.selinux_label, own.selinux_label)]
    {
        if field.is_empty() {
            *field = own;
        }
    }
    process::read(&p, "")
}

/// The container's own process, with what the flags change.
fn from_config<'a>(flags: &'a Flags, own: Option<spec::Process<'a>>) -> Result<Process> {
    if flags.args.is_empty() {
        return Err(Error::rule("exec args cannot be empty"));
    }
    let text = |string: &'a String| Text(Cow::Borrowed(string.as_str()));
    let mut p = own.unwrap_or_default();
    p.args = flags.args.iter().map(text).collect();
    p.env.extend(flags.env.iter().map(text));
    // As runc: a terminal only where it is asked for.
    p.terminal = flags.tty;
    for (flag, field) in [
        (&flags.cwd, &mut p.cwd),
        (&flags.apparmor, &mut p.apparmor_profile),
        (&flags.process_label, &mut p.selinux_label),
    ] {
        if let Some(value) = flag {
            *field = text(value);
        }
    }
    if let Some(value) = flags.no_new_privs {
        p.no_new_privileges = value;
    }
    if let Some(user) = &flags.user {
        (p.user.uid, p.user.gid) = ids(user, p.user.gid)?;
    }
    p.user.additional_gids.extend(&flags.additional_gids);
    if !flags.cap.is_empty() {
        let sets = p.capabilities.get_or_insert_default();
        // CVE: 2022-29162: never inheritable; ambient, as runc, only beside what
        // the config makes inheritable.
        let ambient = !sets.inheritable.is_empty();
        for name in &flags.cap {
            sets.bounding.push(text(name));
            sets.effective.push(text(name));
            sets.permitted.push(text(name));
            if ambient {
                sets.ambient.push(text(name));
            }
        }
    }
    process::read(&p, "/process")
}

/// `UID[:GID]`; CVE: 2024-40635: in 32 bits, or not at all.
fn ids(text: &str, gid: u32) -> Result<(u32, u32)> {
    let (user, group) = text.split_once(':').map_or((text, None), |(u, g)| (u, Some(g)));
    let number = |what: &str, text: &str| {
        let why = format!("--user {what}: {text:?} is no number from 0 to 4294967294");
        let id = text.parse().ok().filter(|id| *id != u32::MAX);
        id.ok_or_else(|| Error::rule(why))
    };
    let gid = group.map_or(Ok(gid), |group| number("gid", group))?;
    Ok((number("uid", user)?, gid))
}

/// The container's groups, with those below them that `--cgroup` names.
fn groups<'a>(own: &'a cgroup::Record, asked: &[String]) -> Result<Cow<'a, cgroup::Record>> {
    if asked.is_empty() {
        return Ok(Cow::Borrowed(own));
    }
    let mut groups = own.clone();
    let mut seen = Vec::new();
    for text in asked {
        let (controllers, path) = match text.split_once(':') {
            Some((controllers, path)) => (controllers.split(',').collect(), path),
            None if asked.len() > 1 => {
                let why = "(missing <controller>: prefix)";
                return Err(Error::rule(format!("invalid --cgroup argument: {text} {why}")));
            }
            None => (vec![""], text.as_str()),
        };
        for controller in controllers {
            if controller.is_empty() && text.contains(':') {
                let why = "(empty <controller> prefix)";
                return Err(Error::rule(format!("invalid --cgroup argument: {text} {why}")));
            }
            if seen.contains(&controller) {
                let why = format!("controller {controller} specified multiple times");
                return Err(Error::rule(format!("invalid --cgroup argument(s): {why}")));
            }
            seen.push(controller);
            groups.descend(own, controller, path)?;
        }
    }
    Ok(Cow::Owned(groups))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{"args":["sh"],"cwd":"/","terminal":true,"env":["A=1"],
        "user":{"uid":1,"gid":2,"additionalGids":[3]},"noNewPrivileges":true,
        "capabilities":{"bounding":["CAP_KILL"]}}"#;

    fn read(flags: &Flags) -> Result<Process> {
        from_config(flags, serde_json::from_str(CONFIG).unwrap())
    }

    fn flags(edit: impl Fn(&mut Flags)) -> Flags {
        let mut flags = Flags { args: vec!["ls".into(), "-l".into()], ..Flags::default() };
        edit(&mut flags);
        flags
    }

    #[test]
    fn the_containers_process_is_what_flags_start_from() {
        let p = read(&flags(|_| {})).unwrap();
        assert_eq!(p.args, [c"ls".to_owned(), c"-l".to_owned()]);
        assert_eq!((p.uid, p.gid, p.terminal, p.no_new_privileges), (1, 2, false, true));
        let p = read(&flags(|f| {
            f.user = Some("7:8".into());
            f.env = vec!["B=2".into()];
            f.cwd = Some("/tmp".into());
            f.tty = true;
            f.no_new_privs = Some(false);
            f.additional_gids = vec![9];
        }))
        .unwrap();
        assert_eq!((p.uid, p.gid, p.terminal, p.no_new_privileges), (7, 8, true, false));
        assert_eq!(p.env, [c"A=1".to_owned(), c"B=2".to_owned()]);
        assert_eq!((p.cwd, p.groups), (c"/tmp".to_owned(), vec![3, 9]));
    }

    #[test]
    fn a_capability_is_never_made_inheritable() {
        let p = read(&flags(|f| f.cap = vec!["CAP_NET_RAW".into()])).unwrap();
        let both = 1 << 5 | 1 << 13;
        assert_eq!((p.capabilities.bounding, p.capabilities.effective), (both, 1 << 13));
        assert_eq!((p.capabilities.inheritable, p.capabilities.ambient), (0, 0));
    }

    #[test]
    fn what_a_process_file_leaves_out_is_the_containers() {
        let own = || {
            let json = r#"{"args":["x"],"cwd":"/","user":{"umask":7},"noNewPrivileges":true,
                "capabilities":{"bounding":["CAP_KILL"]},"scheduler":{"policy":"SCHED_BATCH"},
                "rlimits":[{"type":"RLIMIT_CPU","soft":1,"hard":2}],
                "execCPUAffinity":{"final":"1"},"ioPriority":{"class":"IOPRIO_CLASS_BE"}}"#;
            Some(serde_json::from_str(json).unwrap())
        };
        let p = from_file(r#"{"args":["y"],"cwd":"/"}"#, own()).unwrap();
        assert_eq!((p.capabilities.bounding, p.umask, p.no_new_privileges), (1 << 5, 7, false));
        assert!(p.scheduler.is_some() && p.io_priority.is_some() && p.rlimits.len() == 1);
        assert_eq!(p.affinity.last, [2]);
        let p = r#"{"args":["y"],"cwd":"/","capabilities":{},"user":{"umask":2},
            "execCPUAffinity":{"initial":"0"}}"#;
        let p = from_file(p, own()).unwrap();
        assert_eq!((p.capabilities.bounding, p.umask), (0, 2));
        assert_eq!((p.affinity.initial.len(), p.affinity.last.len()), (1, 0));
    }

    #[test]
    fn a_group_below_is_named_once_for_each_controller() {
        let paths = ["pids", "cpu,cpuacct", ""].map(|key| (key.to_owned(), format!("/g/{key}")));
        let cgroup = cgroup::Record { paths: paths.into(), unit: None };
        let below = |asked: &[&str]| {
            let asked: Vec<String> = asked.iter().map(|text| (*text).to_owned()).collect();
            groups(&cgroup, &asked).map(|groups| groups.paths.clone())
        };
        assert_eq!(below(&["pids:a/b"]).unwrap()["pids"], "/g/pids/a/b");
        assert_eq!(below(&["x"]).unwrap()[""], "/g//x");
        assert_eq!(below(&["x"]).unwrap()["pids"], "/g/pids/x");
        for (asked, words) in [
            (&["pids:a", "b"][..], "missing <controller>: prefix"),
            (&[":a"], "empty <controller> prefix"),
            (&["pids:a", "pids:b"], "controller pids specified multiple times"),
            (&["pids:../a"], "bad sub cgroup path"),
            (&["moon:a"], "unknown controller \"moon\""),
        ] {
            let e = below(asked).unwrap_err().to_string();
            assert!(e.contains(words), "{asked:?}: {e}");
        }
    }

    #[test]
    fn user_is_strictly_numeric() {
        assert_eq!(ids("5", 9).unwrap(), (5, 9));
        for text in ["", "root", "-1", "4294967295", "4294967296", "1:", "1:x", "100000000000"] {
            assert!(ids(text, 0).is_err(), "{text}");
        }
    }

    #[test]
    fn nothing_to_execute_is_refused() {
        assert!(read(&Flags::default()).unwrap_err().to_string().contains("cannot be empty"));
    }
}
