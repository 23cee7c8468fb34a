//! The groups of a container that is, as the state remembers them.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::door::Doors;
use super::host::Host;
use super::resources::{Memory, Resources};
use super::systemd::Unit;
use super::{files, update, v1, v2};
use crate::error::{Error, Result};

/// How long the end of processes that were killed may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The directories of a container's groups.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Record {
    /// By controllers, as `cpu,cpuacct` and `name=systemd`; "" is cgroup v2.
    pub paths: BTreeMap<String, String>,
    /// The scope that they are.
    pub unit: Option<Unit>,
}

/// As it lies in the state: the paths alone where there is no more.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    Scope { paths: BTreeMap<String, String>, unit: Unit },
    Paths(BTreeMap<String, String>),
}

impl From<Stored> for Record {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Scope { paths, unit } => Self { paths, unit: Some(unit) },
            Stored::Paths(paths) => Self { paths, unit: None },
        }
    }
}

impl From<Record> for Stored {
    fn from(record: Record) -> Self {
        match record.unit {
            Some(unit) => Self::Scope { paths: record.paths, unit },
            None => Self::Paths(record.paths),
        }
    }
}

impl Record {
    /// Whether the container has groups at all.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// The ways into the v1 groups, for the process itself.
    pub fn doors(&self) -> Result<Doors> {
        let v1 = self.paths.iter().filter(|(key, _)| !key.is_empty());
        Doors::open(v1.map(|(_, dir)| dir.as_str()))
    }

    /// Moves a process into the unified group, where it wasn't born in it.
    pub fn join_unified(&self, pid: i32) -> Result<()> {
        self.unified().map_or(Ok(()), |dir| enter(dir, pid))
    }

    /// The same, into the group that the container's first process is in now, on a machine with
    /// cgroup v2 alone.
    ///
    /// KERNEL: cgroup-v2.rst §No Internal Process Constraint: a container that hands controllers
    /// down in its group takes no process into it (EBUSY); or it has moved, and the group is gone.
    pub fn join_first(&self, pid: i32, first: i32) -> Result<()> {
        let none = || Error::rule("the container's first process is in no cgroup");
        self.pure_v2().ok_or_else(none)?;
        let path = format!("/proc/{first}/cgroup");
        let text = fs::read_to_string(&path).map_err(|e| Error::io("read", path, &e))?;
        let own = text.lines().find_map(|line| line.strip_prefix("0::")).ok_or_else(none)?;
        // Beside v1's name=systemd it isn't mounted at the usual place.
        let top = Host::read()?.unified.ok_or_else(none)?.mountpoint;
        enter(&format!("{top}{own}"), pid)
    }

    /// The group on the unified hierarchy, for `CLONE_INTO_CGROUP`.
    pub fn unified(&self) -> Option<&str> {
        self.paths.get("").map(String::as_str)
    }

    /// Chooses groups below the container's own, `own`: in the hierarchy of one v1 controller, or
    /// (controller "") in every one.
    pub fn descend(&mut self, own: &Self, controller: &str, path: &str) -> Result<()> {
        if path.split('/').any(|part| part == "..") {
            return Err(Error::rule(format!("--cgroup: bad sub cgroup path: {path}")));
        }
        let below = path.trim_matches('/');
        let has = |key: &str| controller.is_empty() || key.split(',').any(|k| k == controller);
        let mut found = false;
        for ((_, dir), (_, top)) in
            self.paths.iter_mut().zip(&own.paths).filter(|((key, _), _)| has(key))
        {
            found = true;
            *dir = if below.is_empty() { top.clone() } else { format!("{top}/{below}") };
        }
        if found {
            return Ok(());
        }
        let why = format!("unknown controller {controller:?}: the container has no group of it");
        Err(Error::rule(format!("--cgroup {path}: {why}")))
    }

    /// Sets other limits; what isn't asked for stays as it is, and all of it when one fails.
    ///
    /// As runc, the device rules are left alone: others (drivers' plugins) have added to them.
    pub fn update(&self, resources: &Resources) -> Result<()> {
        let mut resources = resources.clone();
        let limits = match self.pure_v2() {
            Some(dir) => {
                update::complete(&mut resources, dir);
                v2::limits(&resources)?
            }
            None => v1::limits(&resources)?,
        };
        let unified = self.pure_v2().is_some();
        self.check_usage(unified, &resources.memory)?;
        let mut writes = Vec::with_capacity(limits.len());
        for limit in &limits {
            let dir = if limit.controller.is_empty() {
                self.unified()
            } else {
                self.home(unified, &limit.controller)
            };
            match dir {
                Some(dir) => writes.push((dir, limit)),
                None if limit.is_none() => {}
                None => return Err(super::no_controller(limit)),
            }
        }
        let before = update::change(writes.iter().copied())?;
        let Some(unit) = &self.unit else { return Ok(()) };
        // After the kernel has taken them, which knows better what is possible.
        unit.set(&limits).inspect_err(|_| before.restore())?;
        // systemd has written them its own way: percents, where the quota is finer.
        update::write_all(writes)
    }

    /// Moves a process into the container's scope, where the kernel doesn't let us.
    pub fn attach(&self, pid: i32) -> Option<Result<()>> {
        self.unit.as_ref().map(|unit| unit.attach(pid))
    }

    /// SPEC: config-linux.md §Memory, checkBeforeUpdate. A new group uses nothing yet.
    fn check_usage(&self, unified: bool, memory: &Memory) -> Result<()> {
        if memory.check_before_update != Some(true) {
            return Ok(());
        }
        let file = if unified { "memory.current" } else { "memory.usage_in_bytes" };
        let Some(dir) = self.home(unified, "memory") else { return Ok(()) };
        let text = files::read(dir, file)
            .map_err(|e| Error::system("read", format!("{dir}/{file}"), e))?;
        let used: i64 = text.parse().unwrap_or(0);
        let both = [(memory.swap, "swap", "memory+swap"), (memory.limit, "limit", "memory")];
        for (limit, field, what) in both {
            if let Some(limit @ 1..) = limit
                && limit <= used
            {
                let why = format!("rejecting {what} limit {limit} <= usage {used}");
                let pointer = format!("/linux/resources/memory/{field}");
                return Err(Error::config(pointer, why + " (checkBeforeUpdate)"));
            }
        }
        Ok(())
    }

    fn home(&self, unified: bool, controller: &str) -> Option<&str> {
        if unified { self.unified() } else { self.of(controller) }
    }

    /// Every process in the container's groups and the groups below them.
    pub fn pids(&self) -> Result<Vec<i32>> {
        let Some(dir) = self.main() else { return Ok(vec![]) };
        let mut pids = Vec::new();
        collect(dir.as_ref(), &mut pids)?;
        Ok(pids)
    }

    /// Sends a signal to every process, those below included.
    ///
    /// Nothing escapes by forking meanwhile: v2 kills a group at once, and
    /// elsewhere the group is frozen.
    pub fn kill(&self, signal: i32) -> Result<()> {
        if let (libc::SIGKILL, Some(dir)) = (signal, self.pure_v2()) {
            match files::write(dir, "cgroup.kill", "1") {
                // KERNEL: cgroup.kill since 5.14.
                Err(Errno::ENOENT) if fs::exists(dir).unwrap_or(false) => {}
                Ok(()) | Err(Errno::ENOENT | Errno::ENODEV) => return Ok(()),
                Err(e) => return Err(Error::system("write", format!("{dir}/cgroup.kill"), e)),
            }
        }
        let frozen = self.freeze().is_ok();
        let signalled = self.signal_all(signal);
        if frozen {
            self.thaw()?;
        }
        signalled
    }

    fn signal_all(&self, signal: i32) -> Result<()> {
        use dhow_kernel::process::{pidfd_open, pidfd_signal};
        for pid in self.pids()? {
            let sent =
                pidfd_open(Pid::from_raw(pid)).and_then(|fd| pidfd_signal(fd.as_fd(), signal));
            match sent {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => {
                    return Err(Error::system(
                        format!("signal {signal} to"),
                        pid.to_string(),
                        errno,
                    ));
                }
            }
        }
        Ok(())
    }

    /// Stops every process, and waits until all have stopped.
    pub fn freeze(&self) -> Result<()> {
        let Some((dir, v2)) = self.freezer() else {
            return Err(Error::rule("the container has no freezer cgroup to pause it with"));
        };
        // Half frozen is worse than not at all.
        Self::frozen(dir, v2).inspect_err(|_| {
            let _ = self.thaw();
        })
    }

    fn frozen(dir: &str, v2: bool) -> Result<()> {
        let file = if v2 { "cgroup.freeze" } else { "freezer.state" };
        let fault = |e| Error::system("write", format!("{dir}/{file}"), e);
        if v2 {
            files::write(dir, file, "1").map_err(fault)?;
            return await_event(dir, "frozen 1");
        }
        // KERNEL: freezer-subsystem.rst: FREEZING is left by trying again; v1
        // has nothing to wait on, and what forks meanwhile is caught by a thaw.
        let until = Instant::now() + PATIENCE;
        for round in 1_u32.. {
            files::write(dir, file, "FROZEN").map_err(fault)?;
            match files::read(dir, file).as_deref() {
                Ok("FROZEN") => return Ok(()),
                Ok(_) if Instant::now() < until => {}
                Ok(_) => break,
                Err(errno) => return Err(fault(*errno)),
            }
            if round.is_multiple_of(50) {
                files::write(dir, file, "THAWED").map_err(fault)?;
            }
            std::thread::yield_now();
        }
        Err(Error::rule(format!("cgroup {dir}: did not freeze in {} s", PATIENCE.as_secs())))
    }

    /// Lets every process run again.
    pub fn thaw(&self) -> Result<()> {
        let Some((dir, v2)) = self.freezer() else {
            return Err(Error::rule("the container has no freezer cgroup to resume it with"));
        };
        let (file, value) = if v2 { ("cgroup.freeze", "0") } else { ("freezer.state", "THAWED") };
        files::write(dir, file, value)
            .map_err(|e| Error::system("write", format!("{dir}/{file}"), e))
    }

    /// Takes a process back into its own freezer group of v1, wherever somebody has put it.
    pub fn take_back(&self, pid: i32) -> Result<()> {
        match self.freezer() {
            Some((dir, false)) => enter(dir, pid),
            _ => Ok(()),
        }
    }

    /// Whether the container is paused.
    pub fn is_frozen(&self) -> Result<bool> {
        let Some((dir, v2)) = self.freezer() else { return Ok(false) };
        let file = if v2 { "cgroup.freeze" } else { "freezer.state" };
        match files::read(dir, file) {
            Ok(state) if v2 => Ok(state == "1"),
            Ok(state) => Ok(state != "THAWED"),
            // The group has gone, or never had it.
            Err(Errno::ENOENT | Errno::ENODEV) => Ok(false),
            Err(e) => Err(Error::system("read", format!("{dir}/{file}"), e)),
        }
    }

    /// Whether the out-of-memory killer has struck in the container.
    pub fn oom_kills(&self) -> Option<u64> {
        let count = |dir: &str, file| {
            let text = files::read(dir, file).ok()?;
            text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())
        };
        match self.of("memory") {
            Some(dir) => count(dir, "memory.oom_control"),
            None => count(self.unified()?, "memory.events"),
        }
    }

    /// Removes every group and the groups below, waiting for processes that
    /// are about to end. What can't be removed is said after the rest is gone.
    pub fn delete(&self) -> Result<()> {
        // A scope goes with its last process; what can't be asked of systemd needn't hold us up.
        let _ = self.unit.as_ref().map(Unit::stop);
        let mut first = None;
        // One patience for all: what holds one of them holds each.
        let until = Instant::now() + PATIENCE;
        for dir in self.paths.values() {
            if let Err(fault) = remove_until(dir.as_ref(), until) {
                first.get_or_insert(fault);
            }
        }
        first.map_or(Ok(()), Err)
    }

    pub(super) fn of(&self, controller: &str) -> Option<&str> {
        let has = |key: &str| key.split(',').any(|name| name == controller);
        self.paths.iter().find(|(key, _)| has(key)).map(|(_, dir)| dir.as_str())
    }

    /// The group whose processes are the container's.
    fn main(&self) -> Option<&str> {
        self.of("freezer")
            .or_else(|| self.of("pids"))
            .or_else(|| self.paths.values().next().map(String::as_str))
    }

    /// The one group of a machine with cgroup v2 alone.
    pub(super) fn pure_v2(&self) -> Option<&str> {
        let others = self.paths.keys().any(|key| !key.is_empty() && !key.starts_with("name="));
        if others { None } else { self.unified() }
    }

    /// The group that freezes, and whether it is v2's.
    pub fn freezer(&self) -> Option<(&str, bool)> {
        self.of("freezer").map(|dir| (dir, false)).or_else(|| Some((self.unified()?, true)))
    }
}

/// Moves a process into a group.
pub(super) fn enter(dir: &str, pid: i32) -> Result<()> {
    let text = pid.to_string();
    let until = Instant::now() + PATIENCE;
    loop {
        match files::write(dir, "cgroup.procs", &text) {
            // KERNEL: a task that is still being born; it has no event.
            Err(Errno::EINVAL) if Instant::now() < until && is_alive(pid) => {
                std::thread::yield_now();
            }
            other => {
                let what = || format!("{dir}/cgroup.procs");
                return other.map_err(|e| Error::system(format!("write {pid} to"), what(), e));
            }
        }
    }
}

fn is_alive(pid: i32) -> bool {
    pid > 0 && kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH)
}

/// Adds the processes of a group and of those below it.
pub(super) fn collect(dir: &Path, pids: &mut Vec<i32>) -> Result<()> {
    match files::procs(dir) {
        Ok(own) => pids.extend(own),
        Err(Errno::ENOENT | Errno::ENODEV) => return Ok(()),
        Err(e) => return Err(Error::system("read", format!("{}/cgroup.procs", dir.display()), e)),
    }
    match files::children(dir) {
        Ok(children) => children.iter().try_for_each(|child| collect(child, pids)),
        Err(Errno::ENOENT) => Ok(()),
        Err(e) => Err(Error::system("read", dir.to_string_lossy(), e)),
    }
}

/// Removes a group and those below it.
pub(super) fn remove(dir: &str) -> Result<()> {
    remove_until(dir.as_ref(), Instant::now() + PATIENCE)
}

fn remove_until(dir: &Path, until: Instant) -> Result<()> {
    let mut pause = Duration::from_millis(1);
    loop {
        let errno = match fs::remove_dir(dir).map_err(|e| files::errno(&e)) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(errno) => errno,
        };
        if !matches!(errno, Errno::EBUSY | Errno::ENOTEMPTY) || Instant::now() > until {
            return Err(Error::system("rmdir", dir.to_string_lossy(), errno));
        }
        for child in files::children(dir).unwrap_or_default() {
            remove_until(&child, until)?;
        }
        if !await_end(dir, until) {
            // Empty and yet busy: a task between its end and its release, for
            // which v1 has no event.
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(64));
        }
    }
}

/// Waits until a process of the group has ended; false when there is none.
fn await_end(dir: &Path, until: Instant) -> bool {
    let pids = files::procs(dir).unwrap_or_default();
    let Some(fd) =
        pids.iter().find_map(|pid| dhow_kernel::process::pidfd_open(Pid::from_raw(*pid)).ok())
    else {
        return false;
    };
    let left = until.saturating_duration_since(Instant::now());
    let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, timeout).is_ok()
}

/// Waits until `cgroup.events` has the line.
fn await_event(dir: &str, line: &str) -> Result<()> {
    use std::io::{Read, Seek};
    let path = format!("{dir}/cgroup.events");
    let fault = |e: std::io::Error| Error::io("read", &path, &e);
    let mut file = fs::File::open(&path).map_err(fault)?;
    let until = Instant::now() + PATIENCE;
    loop {
        let mut text = String::new();
        file.rewind().map_err(fault)?;
        file.read_to_string(&mut text).map_err(fault)?;
        if text.lines().any(|has| has == line) {
            return Ok(());
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let why = format!("{path}: no \"{line}\" in {} s", PATIENCE.as_secs());
            return Err(Error::rule(why));
        }
        // KERNEL: cgroup-v2.rst: a change of the file raises POLLPRI.
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLPRI)];
        let _ = poll(&mut fds, timeout);
    }
}
