//! The monitor's process: one container's life, from the mount of its root to its last state.
//!
//! mount → bundle → streams → runtime create → runtime start → serve → reap →
//! runtime delete → unmount → state on disk → lock released → clients told.
//! It is exec'ed, single-threaded, and owns the whole transaction: whoever asked
//! for it may die at any time.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use jiff::Timestamp;

use super::lock::Lock;
use super::log::{Limits, Writer};
use super::oom::Counter;
use super::peer::Peer;
use super::protocol::{Exited, Failed, Frame, Role, Started, Step};
use super::runtime::Runtime;
use super::server::Server;
use super::stdio::{self, Console, Stdin, Streams};
use super::task::{Purpose, Task};
use super::{ATTACH, process, rootfs, socket};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::{Host, Paths};
use crate::model::{Record, State, Status};

/// The monitor's whole program; its task comes over fd 0.
pub fn main() -> ExitCode {
    let _ = dhow_kernel::close::close_from(3); // what the caller's shell left open
    match run() {
        Some(()) => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    }
}

/// Nobody reads a monitor's stderr: every failure goes to the client or into the state.
fn run() -> Option<()> {
    let mut socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().ok()?);
    let null = File::options().read(true).write(true).open("/dev/null").ok()?;
    nix::unistd::dup2_stdin(&null).ok()?;
    let (task, lock) = Task::receive(&mut socket)?;
    let _ = nix::unistd::setsid();
    let _ = nix::sys::signal::SigSet::empty().thread_set_mask();
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    // Before the runtime's create: the container's first process must become our child.
    nix::sys::prctl::set_child_subreaper(true).ok()?;
    let paths = Paths { root: task.root, run: task.run };
    let host = Host::open(paths, Some(&task.runtime)).ok()?;
    let record = host.containers.record(&task.id).ok()??;
    let state = host.containers.state(&task.id).ok()?;
    match task.purpose {
        Purpose::Start { role, size } => {
            let mut client = Peer::new(0, socket, Some(role)).ok()?;
            let mut birth = Birth::new(&host, &record, state);
            match birth.begin(size) {
                Ok(born) => birth.live(born, lock, client, role),
                Err(error) => {
                    client.send(&Frame::Failed(birth.fail(error, lock)));
                    Some(())
                }
            }
        }
        Purpose::Adopt => adopt(&host, &record, state, lock, socket),
    }
}

/// A container's start.
struct Birth<'a> {
    host: &'a Host,
    record: &'a Record,
    state: State,
    /// RUN/monitors/ID
    dir: PathBuf,
    runtime: Runtime<'a>,
    steps: Vec<Step>,
    clock: Instant,
}

/// A container that runs.
struct Born {
    pid: i32,
    init: OwnedFd,
    streams: Streams,
    listener: std::os::unix::net::UnixListener,
    log: Option<Writer>,
    oom: Counter,
}

impl<'a> Birth<'a> {
    fn new(host: &'a Host, record: &'a Record, state: State) -> Self {
        let dir = host.paths.monitor(&record.id);
        let runtime = Runtime::of(host, record, dir.join("runtime.log"));
        Self { host, record, state, dir, runtime, steps: Vec::new(), clock: Instant::now() }
    }

    fn step(&mut self, name: &str) {
        let micros = self.clock.elapsed().as_micros() as u64;
        self.steps.push(Step { name: name.into(), micros });
        self.clock = Instant::now();
    }

    /// Makes the container and lets it run.
    fn begin(&mut self, size: Option<(u16, u16)>) -> Result<Born> {
        let (host, record) = (self.host, self.record);
        self.runtime.delete()?; // what a killed monitor left
        rootfs::enter_namespace()?;
        rootfs::mount_overlay(host, record, self.state.started_at.is_none())?;
        self.step("mount");
        crate::bundle::prepare(host, record)?;
        self.step("bundle");
        let listener =
            socket::listen(&self.dir, ATTACH).map_err(|e| Error::io("listen in", &self.dir, e))?;
        let log = open_log(host, record)?;
        let (pid, streams) = if record.config.tty {
            self.create_with_terminal(size)?
        } else {
            self.create_with_pipes()?
        };
        let init = process::open_pid(pid)
            .map_err(|e| Error::engine(format!("open process {pid}: {}", e.desc())))?;
        let oom = Counter::of(pid);
        self.step("create");
        self.mark_running(pid)?;
        self.runtime.start()?;
        self.step("start");
        host.containers.write_state(record, &self.state)?;
        Ok(Born { pid, init, streams, listener, log, oom })
    }

    fn create_with_pipes(&self) -> Result<(i32, Streams)> {
        let config = &self.record.config;
        let stdin = match (config.open_stdin, config.stdin_once) {
            (false, _) => Stdin::Closed,
            (true, true) => Stdin::Once,
            (true, false) => Stdin::Open,
        };
        let (streams, theirs) = stdio::pipes(&self.dir, stdin)?;
        let bundle = self.host.paths.bundle(&self.record.id);
        let pid = self.runtime.create(&bundle, &self.dir.join("pid"), None, theirs)?;
        Ok((pid, streams))
    }

    fn create_with_terminal(&self, size: Option<(u16, u16)>) -> Result<(i32, Streams)> {
        let console = Console::listen(&self.dir, "console.sock")?;
        let bundle = self.host.paths.bundle(&self.record.id);
        let path = console.address.path.clone();
        let none = super::runtime::Stdio3::null();
        let pid = self.runtime.create(&bundle, &self.dir.join("pid"), Some(&path), none)?;
        let master = console.master()?;
        if let Some((rows, columns)) = size {
            let _ = dhow_kernel::tty::resize(master.as_fd(), rows, columns);
        }
        Ok((pid, Streams::terminal(master)?))
    }

    fn mark_running(&mut self, pid: i32) -> Result<()> {
        let ended = || Error::engine(format!("process {pid} ended before the container's start"));
        self.state = State {
            version: State::VERSION,
            status: Status::Running,
            pid,
            start_time: process::stat(pid).ok_or_else(ended)?.start_time,
            boot_id: process::boot_id()?,
            monitor_pid: std::process::id() as i32,
            started_at: Some(Timestamp::now()),
            restart_count: self.state.restart_count,
            ..State::default()
        };
        Ok(())
    }

    /// Undoes what [`Birth::begin`] did, in reverse, and keeps why.
    fn fail(self, error: Error, lock: Lock) -> Failed {
        let (host, record) = (self.host, self.record);
        let undone = [self.runtime.delete(), rootfs::unmount(host, record)];
        let mut message = error.message;
        for failure in undone.into_iter().filter_map(Result::err) {
            message = format!("{message}; then {failure}");
        }
        lock.mark_ending();
        let code = Exit::of_run(error.kind).0;
        let before = host.containers.state(&record.id).unwrap_or_default();
        let state = State {
            version: State::VERSION,
            exit_code: code.into(),
            error: message.clone(),
            ..before
        };
        let _ = if record.host_config.auto_remove {
            host.containers.remove(record)
        } else {
            host.containers.write_state(record, &state)
        };
        super::clear(host, &record.id);
        drop(lock);
        Failed { code, message }
    }

    /// Serves the container to its end.
    fn live(self, born: Born, lock: Lock, mut client: Peer, role: Role) -> Option<()> {
        client.send(&Frame::Started(Started { pid: born.pid, steps: self.steps }));
        // Who attaches nothing only wanted to see the start.
        let peers = (role != Role::default()).then_some(client).into_iter().collect();
        let config = &self.record.config;
        let kind = (config.tty, config.stdin_once);
        let mut server = Server::new(born.listener, peers, born.streams, kind, born.log);
        server.serve(born.init.as_fd()).ok()?;
        server.drain();
        let code = dhow_kernel::process::reap(born.init.as_fd()).ok().flatten().unwrap_or(-1);
        let end = End { host: self.host, record: self.record, runtime: self.runtime, lock };
        end.finish(self.state, code, born.oom.counted(), server)
    }
}

/// A container's end.
struct End<'a> {
    host: &'a Host,
    record: &'a Record,
    runtime: Runtime<'a>,
    lock: Lock,
}

impl End<'_> {
    fn finish(self, state: State, code: i32, oom_killed: bool, server: Server) -> Option<()> {
        let (host, record) = (self.host, self.record);
        let failures = [
            self.runtime.delete().err().map(|e| e.message),
            rootfs::unmount(host, record).err().map(|e| e.message),
            server.log_error.as_ref().map(|e| format!("write the log: {e}")),
        ];
        let error = failures.into_iter().flatten().collect::<Vec<_>>().join("; ");
        let state = super::ended(state, code, oom_killed, error);
        self.lock.mark_ending();
        if record.host_config.auto_remove {
            super::remove_quietly(host, record);
        } else {
            let _ = host.containers.write_state(record, &state);
        }
        super::clear(host, &record.id);
        drop(self.lock);
        server.farewell(Exited { code }).ok()
    }
}

/// Goes on where a killed monitor stopped.
fn adopt(
    host: &Host,
    record: &Record,
    mut state: State,
    lock: Lock,
    socket: UnixStream,
) -> Option<()> {
    let dir = host.paths.monitor(&record.id);
    let runtime = Runtime::of(host, record, dir.join("runtime.log"));
    let init = process::open(&state).ok()?;
    let oom = Counter::of(state.pid);
    let listener = socket::listen(&dir, ATTACH).ok()?;
    let streams = if record.config.tty {
        Streams { stdin: None, stdout: None, stderr: None } // it was hung up
    } else {
        stdio::reopen(&dir)
    };
    let log = open_log(host, record).ok()?;
    let kind = (record.config.tty, record.config.stdin_once);
    let mut server = Server::new(listener, Vec::new(), streams, kind, log);
    state.monitor_pid = std::process::id() as i32;
    let _ = host.containers.write_state(record, &state);
    let mut client = Peer::new(0, socket, None).ok()?;
    client.send(&Frame::Started(Started { pid: state.pid, steps: Vec::new() }));
    drop(client);
    let code = match init {
        Some(init) => {
            server.serve(init.as_fd()).ok()?;
            super::reconcile::code_of_orphan(&state, init.as_fd())
        }
        None => -1,
    };
    server.drain();
    End { host, record, runtime, lock }.finish(state, code, oom.counted(), server)
}

fn open_log(host: &Host, record: &Record) -> Result<Option<Writer>> {
    let config = &record.host_config.log_config;
    if config.kind == "none" {
        return Ok(None);
    }
    let path = host.paths.log(&record.id);
    let limits = Limits::of(&config.config)?;
    Writer::open(&path, limits).map(Some).map_err(|e| Error::io("open log", &path, e))
}
