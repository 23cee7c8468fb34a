//! One more process in a container that runs.
//!
//! It becomes our keeper's child, who is its subreaper before the runtime makes it.
//! We hand it our stdin where that is safe, and wait for it and nothing else, so
//! that what it leaves running in the background holds nobody up. One that
//! nobody waits for is the monitor's.

use std::fs::File;
use std::io::PipeReader;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::Stdio;

use nix::sys::statfs::{FsType, fstatfs};

use super::attach::Line;
use super::files::Files;
use super::keeper::Kept;
use super::outlet::Outlet;
use super::protocol::{ExecOrder, Frame};
use super::relay::{Flow, Relay, Stop};
use super::runtime::{ExecCall, Runtime, Stdio3};
use super::signals::{PROXIED, Signals, TERMINAL};
use super::stdio::{Console, set_nonblocking};
use super::terminal::{DetachKeys, Raw};
use super::{Ended, command, process, state};
use crate::error::{Error, Result};
use crate::events;
use crate::exit::Exit;
use crate::host::Host;
use crate::model::{Record, State, Status};

/// KERNEL: linux/magic.h; what pipe(2) makes lies there.
const PIPEFS_MAGIC: libc::c_long = 0x5049_5045;

/// A process to run in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exec {
    /// Command and arguments.
    pub args: Vec<String>,
    /// `KEY=value`, over the container's own.
    pub env: Vec<String>,
    /// Where it starts; empty means where the container's command did.
    pub cwd: String,
    /// `user[:group]`; empty means the container's.
    pub user: String,
    /// It has a terminal.
    pub tty: bool,
    /// It reads our stdin.
    pub stdin: bool,
    /// Nobody waits for it.
    pub detach: bool,
    /// It has every capability.
    pub privileged: bool,
    /// Keys that leave; unset means the record's, else ctrl-p,ctrl-q.
    pub detach_keys: Option<String>,
}

/// Runs `exec` in the container and, unless it is detached, waits for it.
pub fn exec(host: &Host, record: &Record, exec: &Exec) -> Result<Ended> {
    perform(host, record, exec).map_err(|error| {
        // One that ended, or was frozen, under our hands fails in many ways: this is why.
        let now = state(host, record).and_then(|state| may_run(record, &state));
        now.err().unwrap_or(error)
    })
}

fn perform(host: &Host, record: &Record, exec: &Exec) -> Result<Ended> {
    let keys = DetachKeys::of(host, exec.detach_keys.as_deref(), record, exec.tty)?;
    let state = state(host, record)?;
    may_run(record, &state)?;
    let id = crate::making::new_id()?;
    let files = Files::of_exec(host.paths.monitor(&record.id), &id)?;
    if let Err(error) = command::of_exec(host, record, exec, state.pid, &files.path("json")) {
        // Ended just now, it has no root to look into.
        may_run(record, &state)?;
        return Err(error);
    }
    let told = |action: &str, code| tell(host, record, action, &id, &exec.args, code);
    told("exec_create", None);
    if exec.detach {
        // The monitor runs what nobody waits for, holds its terminal and sees its end.
        let order = ExecOrder { id, tty: exec.tty, args: exec.args.clone() };
        Line::ask(host, record, &Frame::Exec(order))?;
        files.hand_over();
        return Ok(Ended::Exited(0));
    }
    nix::sys::prctl::set_child_subreaper(true)
        .map_err(|e| Error::engine(format!("become subreaper: {}", e.desc())))?;
    let runtime = Runtime::of(host, record, files.path("log"));
    let begun = || told("exec_start", None);
    let ended = if exec.tty {
        with_terminal(&runtime, &files, exec, keys, begun)
    } else {
        with_streams(&runtime, &files, exec, begun)
    }?;
    match ended {
        Ended::Exited(code) => told("exec_die", Some(code)),
        Ended::Detached => super::attach::tell_left(),
    }
    Ok(ended)
}

/// A container that runs, and that nobody has frozen.
fn may_run(record: &Record, state: &State) -> Result<()> {
    let name = &record.name;
    let runs = process::runs(state)?;
    Err(Error::conflict(match state.status {
        Status::Paused => format!("Container {name} is paused, unpause the container before exec"),
        Status::Restarting => {
            format!("Container {name} is restarting, wait until the container is running")
        }
        _ if !runs => format!("container {name} is not running"),
        _ => return Ok(()),
    }))
}

/// docker's event of a further process.
pub fn tell(
    host: &Host,
    record: &Record,
    action: &str,
    id: &str,
    args: &[String],
    code: Option<i32>,
) {
    let code = code.map(|code| code.to_string());
    let mut more = vec![("execID", id)];
    more.extend(code.as_deref().map(|code| ("exitCode", code)));
    // DOCKER: a space after the first word even where nothing follows it.
    let line = match args.split_first() {
        Some((first, rest)) => format!("{first} {}", rest.join(" ")),
        None => String::new(),
    };
    let action = if action == "exec_die" { action.to_owned() } else { format!("{action}: {line}") };
    events::of_container(&host.paths, record, &action, &more);
}

fn call(
    runtime: &Runtime<'_>,
    files: &Files,
    console: Option<&Path>,
    stdio: Stdio3,
) -> Result<Kept> {
    let (process, pid_file) = (&files.path("json"), &files.path("pid"));
    Kept::begin(runtime, ExecCall { process, pid_file, console, stdio })
}

fn with_terminal(
    runtime: &Runtime<'_>,
    files: &Files,
    exec: &Exec,
    keys: DetachKeys,
    begun: impl Fn(),
) -> Result<Ended> {
    let console = Console::listen(files.dir(), &files.name("sock"))?;
    let path = console.address.path.clone();
    let child = call(runtime, files, Some(&path), Stdio3::null())?;
    begun();
    let master = console.master()?;
    let copy = |file: &File| file.try_clone().map_err(|e| Error::engine(format!("terminal: {e}")));
    let relay = Relay {
        flows: vec![Flow { from: Some(copy(&master)?), to: outlet(std::io::stdout().as_fd())? }],
        stdin: if exec.stdin { Some(copy(&master)?) } else { None },
        master: Some(master),
        keys: Some(keys),
        signals: Signals::take(&TERMINAL)?,
        raw: if exec.stdin { Raw::enter() } else { None },
        unsent: Vec::new(),
    };
    finish(relay, child)
}

fn with_streams(
    runtime: &Runtime<'_>,
    files: &Files,
    exec: &Exec,
    begun: impl Fn(),
) -> Result<Ended> {
    let (mut flows, mut stdin) = (Vec::new(), None);
    let input = match (exec.stdin, hand_down(std::io::stdin().as_fd())) {
        (false, _) => Stdio::null(),
        (true, Some(fd)) => fd.into(),
        (true, None) => {
            let (reader, writer) = pipe()?;
            stdin = Some(writer);
            Stdio::from(reader)
        }
    };
    // Output always goes through us: a background child that holds it must not hold our reader.
    let mut output = |ours: BorrowedFd<'_>| -> Result<Stdio> {
        let (reader, writer) = pipe()?;
        let from = File::from(OwnedFd::from(reader));
        set_nonblocking(&from)?;
        flows.push(Flow { from: Some(from), to: outlet(ours)? });
        Ok(writer.into())
    };
    let stdout = output(std::io::stdout().as_fd())?;
    let stderr = output(std::io::stderr().as_fd())?;
    let child = call(runtime, files, None, Stdio3 { stdin: input, stdout, stderr })?;
    begun();
    if let Some(stdin) = &stdin {
        set_nonblocking(stdin)?;
    }
    let (signals, unsent) = (Signals::take(&PROXIED)?, Vec::new());
    finish(Relay { flows, stdin, master: None, keys: None, raw: None, signals, unsent }, child)
}

fn pipe() -> Result<(PipeReader, File)> {
    let (reader, writer) =
        std::io::pipe().map_err(|e| Error::engine(format!("make a pipe: {e}")))?;
    Ok((reader, File::from(OwnedFd::from(writer))))
}

fn finish(mut relay: Relay, child: Kept) -> Result<Ended> {
    let stop = relay.run(child.as_fd());
    drop(relay); // the terminal is as it was before anything is said
    Ok(match stop? {
        Stop::Ended => Ended::Exited(child.code()),
        Stop::Detached => Ended::Detached,
        Stop::Signal(signal) => Ended::Exited(Exit::signal(signal).0.into()),
        Stop::LostReader => Ended::Exited(Exit::signal(libc::SIGPIPE).0.into()),
    })
}

fn outlet(fd: BorrowedFd<'_>) -> Result<Outlet> {
    Outlet::of(fd).map_err(|e| Error::engine(format!("open our output: {e}")))
}

/// Our stdin itself, when the container may have it: a pipe, or /dev/null.
///
/// A terminal would let it take our keys for ever, and a file, socket or named pipe of the host
/// would let it do more (reopen, chmod, truncate) than read it this once.
fn hand_down(fd: BorrowedFd<'_>) -> Option<OwnedFd> {
    let own = File::from(fd.try_clone_to_owned().ok()?);
    let meta = own.metadata().ok()?;
    let null = meta.file_type().is_char_device() && meta.rdev() == libc::makedev(1, 3);
    let pipe = meta.file_type().is_fifo() && {
        let system = fstatfs(&own).ok()?.filesystem_type();
        system == FsType(PIPEFS_MAGIC)
    };
    (pipe || null).then(|| own.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_terminals_of_the_host_are_not_handed_down() {
        let (reader, _writer) = std::io::pipe().unwrap();
        assert!(hand_down(reader.as_fd()).is_some());
        assert!(hand_down(File::open("/dev/null").unwrap().as_fd()).is_some());
        assert!(hand_down(File::open("/proc/self/exe").unwrap().as_fd()).is_none());
        assert!(hand_down(File::open("/dev/zero").unwrap().as_fd()).is_none());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("named");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).unwrap();
        let named = File::options().read(true).write(true).open(&path).unwrap();
        assert!(hand_down(named.as_fd()).is_none());
    }
}
