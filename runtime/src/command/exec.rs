//! `exec`: one more process in a running container.

use std::borrow::Cow;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use super::World;
use super::launch::{detached_terminal, write_pid};
use crate::cgroup;
use crate::error::{Error, Result};
use crate::foreground::{self, Relay, Signals};
use crate::init::parent::Init;
use crate::join::{Entry, join};
use crate::lifecycle;
use crate::seccomp::Filter;
use crate::state::{Record, Status};
use crate::validate;
use crate::validate::process::{self, Process};
use crate::validate::spec::{self, Spec, Text};

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
    /// `--preserve-fds`.
    pub preserve_fds: u32,
    /// `--ignore-paused`.
    pub ignore_paused: bool,
}

/// Executes it; the exit code is the process's, 0 when detached.
pub fn exec(flags: &Flags, world: &World) -> Result<i32> {
    let (dir, record) = world.store.find(&flags.id)?;
    match dir.status(&record) {
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
    let process = match &flags.process {
        Some(file) => from_file(file)?,
        None => from_config(flags, config.process)?,
    };
    let at = if flags.process.is_some() { "" } else { "/process" };
    lifecycle::labels(&process, at)?;
    let filter = config.linux.seccomp.as_ref().map(crate::seccomp::compile).transpose()?.flatten();
    config.linux.seccomp.iter().for_each(|profile| crate::seccomp::debug(profile, &world.log));
    keep(flags.preserve_fds)?;
    launch(flags, &record, &process, filter.as_ref())
}

fn launch(
    flags: &Flags,
    record: &Record,
    process: &Process,
    filter: Option<&Filter>,
) -> Result<i32> {
    let groups = groups(record, &flags.cgroup)?;
    let signals = if flags.detach { None } else { Some(Signals::take()?) };
    let (ours, console) = terminal(flags, process.terminal)?;
    let entry =
        Entry { record, cgroup: &groups, process, filter, console, preserve: flags.preserve_fds };
    let init = join(entry)?;
    let ended = follow(flags, &init, ours.as_ref(), signals.as_ref());
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
) -> Result<i32> {
    let relay = ours.map(|ours| Relay::receive(ours.as_fd())).transpose()?;
    if let Some(path) = &flags.pid_file {
        write_pid(path, init.pid.as_raw())?;
    }
    init.go()?;
    match signals {
        Some(signals) => foreground::wait(init, signals, relay.as_ref()),
        None => Ok(0),
    }
}

/// Lets the process inherit descriptors from 3 on.
fn keep(count: u32) -> Result<()> {
    for fd in (3..).take(count as usize) {
        dhow_kernel::fd::set_cloexec(fd, false).map_err(|_| {
            let why = format!("please check that the file descriptor {fd} is open");
            Error::rule(format!("--preserve-fds {count}: {why}"))
        })?;
    }
    Ok(())
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

fn from_file(file: &std::path::Path) -> Result<Process> {
    let shown = file.to_string_lossy();
    let text = std::fs::read_to_string(file).map_err(|e| Error::io("open", &*shown, &e))?;
    process::read(&validate::parse(&text)?, "")
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
fn groups<'a>(record: &'a Record, asked: &[String]) -> Result<Cow<'a, cgroup::Record>> {
    if asked.is_empty() {
        return Ok(Cow::Borrowed(&record.cgroup));
    }
    let mut groups = record.cgroup.clone();
    for text in asked {
        let (controllers, path) = match text.split_once(':') {
            Some((controllers, path)) => (controllers.split(',').collect(), path),
            None => (vec![""], text.as_str()),
        };
        for controller in controllers {
            groups.descend(controller, path)?;
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
