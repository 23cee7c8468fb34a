//! The OCI runtime, called by its command line only.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use dhow_image::build::run::last_error;

use super::listen::Sockets;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::Record;

/// The runtime of one container.
pub struct Runtime<'a> {
    program: &'a Path,
    arguments: &'a [String],
    root: PathBuf,
    log: PathBuf,
    id: &'a str,
}

/// A process's three streams.
pub struct Stdio3 {
    /// 0
    pub stdin: Stdio,
    /// 1
    pub stdout: Stdio,
    /// 2
    pub stderr: Stdio,
}

impl Stdio3 {
    /// Nothing in, nothing out.
    pub fn null() -> Self {
        Self { stdin: Stdio::null(), stdout: Stdio::null(), stderr: Stdio::null() }
    }
}

/// A process for `exec`.
pub struct ExecCall<'a> {
    /// File with the process as JSON.
    pub process: &'a Path,
    /// Where the runtime writes the pid.
    pub pid_file: &'a Path,
    /// Where the runtime sends the terminal's master, for a process with a terminal.
    pub console: Option<&'a Path>,
    /// Its streams, when it has no terminal.
    pub stdio: Stdio3,
}

impl<'a> Runtime<'a> {
    /// The runtime that made or will make `record`; errors are read from `log`.
    pub fn of(host: &'a Host, record: &'a Record, log: PathBuf) -> Self {
        Self {
            program: host.runtime_of(record),
            arguments: &record.runtime_args,
            root: host.paths.runtime_root(),
            log,
            id: &record.id,
        }
    }

    /// The call that makes the container. `scopes`: its groups are made by the systemd of the user
    /// whose `XDG_RUNTIME_DIR` this is; later calls know it by the runtime's own record.
    pub fn create_call(
        &self,
        bundle: &Path,
        pid_file: &Path,
        console: Option<&Path>,
        scopes: Option<&Path>,
    ) -> Command {
        let mut call = match scopes {
            Some(dir) => {
                let mut call = self.call_with(&["--systemd-cgroup"], "create");
                call.env("XDG_RUNTIME_DIR", dir);
                call
            }
            None => self.call("create"),
        };
        call.arg("--bundle").arg(bundle).arg("--pid-file").arg(pid_file);
        if let Some(console) = console {
            call.arg("--console-socket").arg(console);
        }
        match Sockets::ours().names().len() {
            0 => {}
            count => drop(call.args(["--preserve-fds", &count.to_string()])),
        }
        call
    }

    /// Makes the container; its first process waits for [`Runtime::start`]. Answers with its pid.
    /// `meanwhile` is done while the runtime is at work.
    pub fn create(
        &self,
        mut call: Command,
        pid_file: &Path,
        stdio: Stdio3,
        meanwhile: &mut dyn FnMut(),
    ) -> Result<i32> {
        call.arg(self.id).stdin(stdio.stdin).stdout(stdio.stdout).stderr(stdio.stderr);
        let mut child = Sockets::ours().offered(|| call.spawn()).map_err(|e| self.cannot(&e))?;
        drop(call); // our copies of its streams
        meanwhile();
        self.judge(child.wait().map_err(|e| self.cannot(&e))?, "create")?;
        read_pid(pid_file)
    }

    /// Lets the container's command run.
    pub fn start(&self) -> Result<()> {
        self.finish(self.call("start").arg(self.id), "start", Stdio3::null())
    }

    /// Calls the runtime for a process in the container, without waiting for it.
    pub fn begin_exec(&self, exec: ExecCall<'_>) -> Result<Child> {
        let mut call = self.call("exec");
        call.arg("--detach").arg("--process").arg(exec.process);
        call.arg("--pid-file").arg(exec.pid_file);
        if let Some(console) = exec.console {
            call.arg("--tty").arg("--console-socket").arg(console);
        }
        call.arg(self.id);
        call.stdin(exec.stdio.stdin).stdout(exec.stdio.stdout).stderr(exec.stdio.stderr);
        call.spawn().map_err(|e| self.cannot(&e))
    }

    /// The pid of the process, now that the runtime that was called for it has ended.
    pub fn end_exec(&self, status: ExitStatus, pid_file: &Path) -> Result<i32> {
        self.judge(status, "exec")?;
        read_pid(pid_file)
    }

    /// Changes the container's limits to these, the runtime-spec's `linux.resources`.
    pub fn update(&self, resources: &serde_json::Value) -> Result<()> {
        let cause = |e: std::io::Error| Error::engine(format!("hand over the limits: {e}"));
        let (reader, mut writer) = std::io::pipe().map_err(cause)?;
        // A few hundred bytes: the pipe takes them all before anybody reads.
        writer.write_all(resources.to_string().as_bytes()).map_err(cause)?;
        drop(writer);
        let stdio = Stdio3 { stdin: reader.into(), ..Stdio3::null() };
        self.finish(self.call("update").args(["--resources", "-"]).arg(self.id), "update", stdio)
    }

    /// Freezes all processes of the container.
    pub fn pause(&self) -> Result<()> {
        self.finish(self.call("pause").arg(self.id), "pause", Stdio3::null())
    }

    /// Thaws them.
    pub fn resume(&self) -> Result<()> {
        self.finish(self.call("resume").arg(self.id), "resume", Stdio3::null())
    }

    /// Forgets the container and its cgroups, killing what lives. Not being there is fine.
    pub fn delete(&self) -> Result<()> {
        if !self.root.join(self.id).exists() {
            return Ok(());
        }
        // runc's --force waits a tenth of a second even for what has ended: only if need be.
        let plain = self.finish(self.call("delete").arg(self.id), "delete", Stdio3::null());
        plain.or_else(|_| {
            self.finish(self.call("delete").arg("--force").arg(self.id), "delete", Stdio3::null())
        })
    }

    fn call(&self, verb: &str) -> Command {
        self.call_with(&[], verb)
    }

    fn call_with(&self, flags: &[&str], verb: &str) -> Command {
        let mut call = Command::new(self.program);
        call.args(self.arguments).args(flags);
        call.arg("--root").arg(&self.root).arg("--log").arg(&self.log);
        call.args(["--log-format", "json", verb]);
        call
    }

    fn finish(&self, call: &mut Command, verb: &str, stdio: Stdio3) -> Result<()> {
        call.stdin(stdio.stdin).stdout(stdio.stdout).stderr(stdio.stderr);
        self.judge(call.status().map_err(|e| self.cannot(&e))?, verb)
    }

    fn cannot(&self, cause: &std::io::Error) -> Error {
        let name = self.program.display();
        Error::engine(format!("runtime {name}: {cause}; name another with --runtime"))
    }

    fn judge(&self, status: ExitStatus, verb: &str) -> Result<()> {
        if status.success() {
            return Ok(());
        }
        let why = last_error(&self.log).unwrap_or_else(|| silent(status));
        let kind = crate::exit::kind_of_runtime_text(&why);
        let hint = crate::exit::hint_of_runtime_text(&why);
        Err(Error::new(kind, format!("{} {verb}: {why}{hint}", self.program.display())))
    }
}

fn silent(status: ExitStatus) -> String {
    format!("it failed without a word ({status})")
}

fn read_pid(path: &Path) -> Result<i32> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
    text.trim().parse().map_err(|_| Error::io("read", path, "the runtime wrote no pid there"))
}
