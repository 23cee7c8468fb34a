//! One more process in a container that runs.
//!
//! It becomes our own child: we are its subreaper before the runtime makes it,
//! hand it our stdin where that is safe, and wait for it and nothing else, so
//! that what it leaves running in the background holds nobody up.

use std::fs::File;
use std::io::PipeReader;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};

use super::outlet::Outlet;
use super::relay::{Flow, Relay, Stop};
use super::runtime::{ExecCall, Runtime, Stdio3};
use super::signals::{PROXIED, Signals, TERMINAL};
use super::stdio::{Console, set_nonblocking};
use super::terminal::{DetachKeys, Raw};
use super::{Ended, process, state};
use crate::error::{Error, Result};
use crate::events;
use crate::exit::Exit;
use crate::host::Host;
use crate::model::Record;

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

/// Files of one exec in RUN/monitors/ID, gone when dropped.
struct Files {
    dir: PathBuf,
    stem: String,
}

impl Files {
    fn path(&self, what: &str) -> PathBuf {
        self.dir.join(self.name(what))
    }
    fn name(&self, what: &str) -> String {
        format!("{}.{what}", self.stem)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for what in ["json", "pid", "log", "sock"] {
            let _ = std::fs::remove_file(self.path(what));
        }
    }
}

/// Runs `exec` in the container and, unless it is detached, waits for it.
pub fn exec(host: &Host, record: &Record, exec: &Exec) -> Result<Ended> {
    if exec.detach && exec.tty {
        return Err(Error::usage("exec -d -t: nobody would hold the terminal; leave out -t or -d"));
    }
    let keys = exec.detach_keys.as_deref().or(record.detach_keys.as_deref());
    let keys = DetachKeys::parse(keys)?;
    let state = state(host, record)?;
    if process::open(&state)?.is_none() {
        return Err(Error::conflict(format!("container {} is not running", record.name)));
    }
    let dir = host.paths.monitor(&record.id);
    let files = Files { dir, stem: format!("exec-{}", std::process::id()) };
    write_process(host, record, exec, state.pid, &files.path("json"))?;
    let runtime = Runtime::of(host, record, files.path("log"));
    let told = Told::new(host, record, exec)?;
    if exec.detach {
        call(&runtime, &files, None, Stdio3::null())?;
        return Ok(Ended::Exited(0));
    }
    nix::sys::prctl::set_child_subreaper(true)
        .map_err(|e| Error::engine(format!("become subreaper: {}", e.desc())))?;
    let ended = if exec.tty {
        with_terminal(&runtime, &files, exec, keys)
    } else {
        with_streams(&runtime, &files, exec)
    }?;
    if let Ended::Exited(code) = ended {
        told.tell("exec_die", &[("exitCode", &code.to_string())]);
    }
    Ok(ended)
}

/// An exec's events, under an id of its own.
struct Told<'a> {
    host: &'a Host,
    record: &'a Record,
    id: String,
}

impl<'a> Told<'a> {
    /// It is made and started at once, as docker's client does.
    fn new(host: &'a Host, record: &'a Record, exec: &Exec) -> Result<Self> {
        let told = Self { host, record, id: crate::making::new_id()? };
        for what in ["exec_create", "exec_start"] {
            told.tell(&format!("{what}: {}", exec.args.join(" ")), &[]);
        }
        Ok(told)
    }

    fn tell(&self, action: &str, more: &[(&str, &str)]) {
        let all = [&[("execID", self.id.as_str())], more].concat();
        events::of_container(&self.host.paths, self.record, action, &all);
    }
}

fn call(
    runtime: &Runtime<'_>,
    files: &Files,
    console: Option<&Path>,
    stdio: Stdio3,
) -> Result<OwnedFd> {
    let (process, pid_file) = (&files.path("json"), &files.path("pid"));
    let pid = runtime.exec(ExecCall { process, pid_file, console, stdio })?;
    process::open_pid(pid).map_err(|e| Error::engine(format!("open process {pid}: {}", e.desc())))
}

fn with_terminal(
    runtime: &Runtime<'_>,
    files: &Files,
    exec: &Exec,
    keys: DetachKeys,
) -> Result<Ended> {
    let console = Console::listen(&files.dir, &files.name("sock"))?;
    let path = console.address.path.clone();
    let child = call(runtime, files, Some(&path), Stdio3::null())?;
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

fn with_streams(runtime: &Runtime<'_>, files: &Files, exec: &Exec) -> Result<Ended> {
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

fn finish(mut relay: Relay, child: OwnedFd) -> Result<Ended> {
    let stop = relay.run(child.as_fd());
    drop(relay); // the terminal is as it was before anything is said
    Ok(match stop? {
        Stop::Ended => {
            let code = dhow_kernel::process::reap(child.as_fd())
                .map_err(|e| Error::engine(format!("wait for the process: {}", e.desc())))?;
            Ended::Exited(code.unwrap_or(-1))
        }
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
/// A terminal would let it take our keys for ever, and a file or socket of the host
/// would let it do more (reopen, chmod, truncate) than read it this once.
fn hand_down(fd: BorrowedFd<'_>) -> Option<OwnedFd> {
    let own = File::from(fd.try_clone_to_owned().ok()?);
    let meta = own.metadata().ok()?;
    let null = meta.file_type().is_char_device() && meta.rdev() == libc::makedev(1, 3);
    (meta.file_type().is_fifo() || null).then(|| own.into())
}

/// Writes the process as the runtime wants it: the container's own, changed as asked.
fn write_process(host: &Host, record: &Record, exec: &Exec, pid: i32, to: &Path) -> Result<()> {
    let path = host.paths.bundle(&record.id).join("config.json");
    let bytes = std::fs::read(&path).map_err(|e| Error::io("read", &path, e))?;
    let mut config: Value =
        serde_json::from_slice(&bytes).map_err(|e| Error::io("read", &path, e))?;
    let mut process = config["process"].take();
    // What is mounted there counts too: this is the root as the container sees it.
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    if !exec.user.is_empty() {
        process["user"] = json!(crate::bundle::user(&root, &exec.user)?);
    }
    change(&mut process, exec, &record.config.env);
    let cwd = process["cwd"].as_str().unwrap_or("/");
    crate::bundle::command(&root, &exec.args, &strings(&process["env"]), cwd)?;
    // What an exec that was killed left lies there until our number comes round again.
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(to);
    file.and_then(|file| Ok(serde_json::to_writer(file, &process)?))
        .map_err(|e| Error::io("write", to, e))
}

fn change(process: &mut Value, exec: &Exec, own_env: &[String]) {
    process["args"] = json!(exec.args);
    process["terminal"] = json!(exec.tty);
    if let Some(fields) = process.as_object_mut() {
        fields.remove("consoleSize");
    }
    if !exec.cwd.is_empty() {
        process["cwd"] = json!(exec.cwd);
    }
    let mut env = strings(&process["env"]);
    if !exec.user.is_empty() && !own_env.iter().any(|entry| entry.starts_with("HOME=")) {
        env.retain(|entry| !entry.starts_with("HOME=")); // another user's; the runtime finds it
    }
    if exec.tty && !env.iter().any(|entry| entry.starts_with("TERM=")) {
        env.push("TERM=xterm".into());
    }
    for entry in &exec.env {
        let key = entry.split_once('=').map_or(entry.as_str(), |(key, _)| key);
        env.retain(|old| old.split_once('=').map_or(old.as_str(), |(key, _)| key) != key);
        env.push(entry.clone());
    }
    process["env"] = json!(env);
    capabilities(process, exec.privileged);
}

fn strings(value: &Value) -> Vec<String> {
    let texts = value.as_array().into_iter().flatten();
    texts.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// docker's rule: root has what the container may have, others only the bound of it.
fn capabilities(process: &mut Value, privileged: bool) {
    let root = process["user"]["uid"] == json!(0);
    let bound =
        if privileged { every_capability() } else { process["capabilities"]["bounding"].clone() };
    process["capabilities"] = if root || privileged {
        json!({ "bounding": bound, "effective": bound, "permitted": bound })
    } else {
        json!({ "bounding": bound })
    };
}

fn every_capability() -> Value {
    json!([
        "CAP_AUDIT_CONTROL",
        "CAP_AUDIT_READ",
        "CAP_AUDIT_WRITE",
        "CAP_BLOCK_SUSPEND",
        "CAP_BPF",
        "CAP_CHECKPOINT_RESTORE",
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_DAC_READ_SEARCH",
        "CAP_FOWNER",
        "CAP_FSETID",
        "CAP_IPC_LOCK",
        "CAP_IPC_OWNER",
        "CAP_KILL",
        "CAP_LEASE",
        "CAP_LINUX_IMMUTABLE",
        "CAP_MAC_ADMIN",
        "CAP_MAC_OVERRIDE",
        "CAP_MKNOD",
        "CAP_NET_ADMIN",
        "CAP_NET_BIND_SERVICE",
        "CAP_NET_BROADCAST",
        "CAP_NET_RAW",
        "CAP_PERFMON",
        "CAP_SETFCAP",
        "CAP_SETGID",
        "CAP_SETPCAP",
        "CAP_SETUID",
        "CAP_SYSLOG",
        "CAP_SYS_ADMIN",
        "CAP_SYS_BOOT",
        "CAP_SYS_CHROOT",
        "CAP_SYS_MODULE",
        "CAP_SYS_NICE",
        "CAP_SYS_PACCT",
        "CAP_SYS_PTRACE",
        "CAP_SYS_RAWIO",
        "CAP_SYS_RESOURCE",
        "CAP_SYS_TIME",
        "CAP_SYS_TTY_CONFIG",
        "CAP_WAKE_ALARM"
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(exec: &Exec, user: u32) -> Value {
        let mut process = json!({
            "user": { "uid": user, "gid": 0 }, "args": ["sleep"], "cwd": "/srv",
            "env": ["PATH=/bin", "A=1", "HOME=/root"], "consoleSize": { "height": 1, "width": 1 },
            "capabilities": { "bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"] }
        });
        change(&mut process, exec, &[]);
        process
    }

    #[test]
    fn the_container_s_process_is_changed_where_asked_only() {
        let exec = Exec {
            args: vec!["id".into()],
            env: vec!["A=2".into(), "B=".into()],
            ..Exec::default()
        };
        let process = changed(&exec, 0);
        assert_eq!(process["env"], json!(["PATH=/bin", "HOME=/root", "A=2", "B="]));
        assert_eq!((&process["cwd"], &process["terminal"]), (&json!("/srv"), &json!(false)));
        assert_eq!(process["capabilities"]["effective"], json!(["CAP_KILL"]));
        assert!(process.get("consoleSize").is_none());
    }

    #[test]
    fn others_than_root_get_no_capability_in_effect() {
        let process = changed(&Exec::default(), 7);
        assert_eq!(process["capabilities"], json!({ "bounding": ["CAP_KILL"] }));
        let process = changed(&Exec { privileged: true, ..Exec::default() }, 7);
        assert!(process["capabilities"]["effective"].as_array().unwrap().len() > 35);
    }

    #[test]
    fn files_and_terminals_of_the_host_are_not_handed_down() {
        let (reader, _writer) = std::io::pipe().unwrap();
        assert!(hand_down(reader.as_fd()).is_some());
        assert!(hand_down(File::open("/dev/null").unwrap().as_fd()).is_some());
        assert!(hand_down(File::open("/proc/self/exe").unwrap().as_fd()).is_none());
        assert!(hand_down(File::open("/dev/zero").unwrap().as_fd()).is_none());
    }
}
