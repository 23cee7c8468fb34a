//! A container's start, step by step, and the way back when a step fails.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::lock::Lock;
use super::oom::Counter;
use super::protocol::{Failed, Step};
use super::runtime::{Runtime, Stdio3};
use super::stdio::{self, Console, Stdin, Streams};
use super::{process, rootfs};
use crate::error::{Error, Result};
use crate::events;
use crate::exit::Exit;
use crate::host::Host;
use crate::model::{Endpoint, Record, State, Status};
use crate::net::{self, Networking};

/// What starts a container, as often as it has to.
pub struct Birth<'a> {
    /// Where everything is.
    pub host: &'a Host,
    /// What the container was made to be.
    pub record: &'a Record,
    /// What became of it so far.
    pub state: State,
    /// RUN/monitors/ID
    pub dir: PathBuf,
    /// The runtime, its errors going to `dir`.
    pub runtime: Runtime<'a>,
    /// What the last start consisted of.
    pub steps: Vec<Step>,
    /// The record as it was at the end of the last life.
    pub newest: Option<Record>,
    /// Its networks, in this life.
    pub net: Networking,
    /// What it had of them in the life before.
    before: Vec<Endpoint>,
    /// Where a user's systemd listens that makes the groups, if one does.
    scopes: Option<PathBuf>,
    clock: Instant,
    own_namespace: bool,
}

/// A container that runs.
pub struct Born {
    /// Its first process.
    pub init: OwnedFd,
    /// Our ends of its streams.
    pub streams: Streams,
    /// Counts its deaths for memory.
    pub oom: Counter,
}

impl<'a> Birth<'a> {
    /// Nothing is done yet.
    pub fn new(host: &'a Host, record: &'a Record, state: State) -> Self {
        let dir = host.paths.monitor(&record.id);
        let runtime = Runtime::of(host, record, dir.join("runtime.log"));
        let (steps, clock) = (Vec::new(), Instant::now());
        let before = state.endpoints.clone();
        Self {
            host,
            record,
            state,
            dir,
            runtime,
            steps,
            newest: None,
            net: Networking::default(),
            before,
            scopes: None,
            clock,
            own_namespace: false,
        }
    }

    /// The same with groups by the systemd of the user whose `XDG_RUNTIME_DIR` this is.
    #[must_use]
    pub fn in_scopes(self, scopes: Option<PathBuf>) -> Self {
        Self { scopes, ..self }
    }

    /// The record, as new as anybody looked: a monitor's first life has that of its start.
    pub fn newest(&self) -> &Record {
        self.newest.as_ref().unwrap_or(self.record)
    }

    fn step(&mut self, name: &str) {
        let micros = self.clock.elapsed().as_micros() as u64;
        self.steps.push(Step { name: name.into(), micros });
        self.clock = Instant::now();
    }

    /// Makes the container and lets it run.
    pub fn begin(&mut self, size: Option<(u16, u16)>) -> Result<Born> {
        let (host, record) = (self.host, self.record);
        self.steps.clear();
        self.clock = Instant::now();
        self.runtime.delete()?; // what a killed monitor left
        if rootfs::is_of_host(record) {
            rootfs::sweep(host, record)?;
        } else if !std::mem::replace(&mut self.own_namespace, true) {
            rootfs::enter_namespace()?;
        }
        rootfs::mount_overlay(host, record, self.state.started_at.is_none())?;
        self.step("mount");
        net::tie(host, self.newest())?;
        self.net = Networking::reserve(host, self.newest(), &self.before)?;
        self.step("reserve");
        // What it shares with others is held until the runtime has joined it.
        let by_systemd = self.scopes.is_some();
        let shares =
            crate::bundle::prepare(host, self.newest(), &self.net.endpoints(), by_systemd)?;
        self.step("bundle");
        let mut net = std::mem::take(&mut self.net);
        let mut provided = Ok(());
        let mut meanwhile = || provided = net.provide(host);
        let created = if record.config.tty {
            self.create_with_terminal(size, &mut meanwhile)
        } else {
            self.create_with_pipes(&mut meanwhile)
        };
        self.net = net;
        let (pid, streams) = created?;
        provided?;
        drop(shares);
        let init = process::open_pid(pid)
            .map_err(|e| Error::engine(format!("open process {pid}: {}", e.desc())))?;
        let oom = Counter::of(pid, &record.id);
        self.step("create");
        self.mark_running(pid)?;
        self.attach()?;
        self.step("network");
        self.runtime.start()?;
        self.net.serve()?;
        self.step("start");
        host.containers.write_state(record, &self.state)?;
        events::of_volumes(&host.paths, record, "mount");
        self.net.tell(host, record, "connect");
        events::of_container(&host.paths, record, "start", &[]);
        Ok(Born { init, streams, oom })
    }

    /// Between the runtime's create and its start: the network namespace is there, and empty.
    fn attach(&mut self) -> Result<()> {
        if self.net.is_none() {
            return Ok(());
        }
        let ended = || Error::engine("the container ended before it had its networks");
        let ns = process::namespace(&self.state, "net")?.ok_or_else(ended)?;
        let record = self.newest.as_ref().unwrap_or(self.record);
        self.net.attach(self.host, record, ns)
    }

    fn create_with_pipes(&self, meanwhile: &mut dyn FnMut()) -> Result<(i32, Streams)> {
        let config = &self.record.config;
        let stdin = match (config.open_stdin, config.stdin_once) {
            (false, _) => Stdin::Closed,
            (true, true) => Stdin::Once,
            (true, false) => Stdin::Open,
        };
        let (streams, theirs) = stdio::pipes(&self.dir, stdin)?;
        let bundle = self.host.paths.bundle(&self.record.id);
        let pid_file = self.dir.join("pid");
        let call = self.runtime.create_call(&bundle, &pid_file, None, self.scopes.as_deref());
        let pid = self.runtime.create(call, &pid_file, theirs, meanwhile)?;
        Ok((pid, streams))
    }

    fn create_with_terminal(
        &self,
        size: Option<(u16, u16)>,
        meanwhile: &mut dyn FnMut(),
    ) -> Result<(i32, Streams)> {
        let console = Console::listen(&self.dir, "console.sock")?;
        let bundle = self.host.paths.bundle(&self.record.id);
        let path = console.address.path.clone();
        let pid_file = self.dir.join("pid");
        let call =
            self.runtime.create_call(&bundle, &pid_file, Some(&path), self.scopes.as_deref());
        let pid = self.runtime.create(call, &pid_file, Stdio3::null(), meanwhile)?;
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
            health: super::health::at_start(self.record, self.state.health.take()),
            endpoints: self.net.endpoints(),
            published: self.net.published(),
            ..State::default()
        };
        Ok(())
    }

    /// Takes up the networks of a container that lives, and whose monitor was killed.
    pub fn adopt_networks(&mut self) -> Result<()> {
        if self.state.endpoints.is_empty() {
            return Ok(());
        }
        // Whatever comes of it, what it had is given back at its end.
        self.net = Networking::known(self.host, self.record, &self.state);
        let Some(ns) = process::namespace(&self.state, "net")? else {
            return Ok(()); // it has just ended
        };
        let (net, done) = Networking::adopt(self.host, self.record, &self.state, ns);
        self.net = net;
        done
    }

    /// Takes up what the user has changed since (`update`, `rename`), for the next life.
    pub fn renew(&mut self) {
        if let Ok(Some(now)) = self.host.containers.record(&self.record.id)
            && now != *self.record
        {
            // Never freed: as often as the user changes it, and a few kilobytes each time.
            self.record = Box::leak(Box::new(now));
            self.runtime = Runtime::of(self.host, self.record, self.dir.join("runtime.log"));
        }
    }

    /// Tells of the end of a life of such a length, if there was one; its state is on disk.
    pub fn tell_end(&self, lasted: Option<Duration>) {
        if let Some(lasted) = lasted {
            events::of_end(&self.host.paths, self.newest(), &self.state, lasted);
        }
    }

    /// Undoes what a life did; says what could not be undone.
    pub fn clean(&mut self) -> Option<String> {
        let deleted = self.runtime.delete();
        if !self.net.is_none() {
            self.before = self.net.endpoints();
        }
        if self.state.status.is_alive() {
            self.net.tell(self.host, self.record, "disconnect");
        }
        let record = self.newest.as_ref().unwrap_or(self.record);
        let released = self.net.release(self.host, record);
        net::untie(self.host, record);
        let undone = [deleted, released, rootfs::unmount(self.host, self.record)];
        let failures: Vec<_> =
            undone.into_iter().filter_map(Result::err).map(|e| e.message).collect();
        (!failures.is_empty()).then(|| failures.join("; "))
    }

    /// Undoes what [`Birth::begin`] did, in reverse, and keeps why it failed.
    pub fn fail(mut self, error: Error, lock: Lock) -> Failed {
        let (host, record) = (self.host, self.record);
        let message = match self.clean() {
            Some(failure) => format!("{}; then {failure}", error.message),
            None => error.message,
        };
        lock.mark_ending();
        let code = Exit::of_run(error.kind).0;
        let before = host.containers.state(&record.id).unwrap_or_default();
        let state = State {
            version: State::VERSION,
            exit_code: code.into(),
            error: message.clone(),
            ..before
        };
        if record.host_config.auto_remove {
            super::remove_quietly(host, record);
        } else {
            let _ = host.containers.write_state(record, &state);
        }
        super::clear(host, &record.id);
        drop(lock);
        Failed { code, message }
    }
}
