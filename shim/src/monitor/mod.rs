//! One monitor for each container that runs, and everything that talks to it.
//!
//! ```text
//! start ─▶ task ─▶ life: birth (rootfs, stdio, runtime), server (peer, log), oom, restart
//!                        living: health, beside (files, command, children)
//! attach ─▶ protocol ◀─ server        control, reconcile ─▶ lock, process
//! ```
//!
//! Alive means that a monitor holds RUN/monitors/ID/lock. [`state`] is the only
//! way to ask how a container is: it puts right what a killed monitor left.

mod attach;
mod backlog;
mod beside;
mod birth;
mod boot;
mod cgroup;
mod children;
mod command;
mod control;
mod exec;

mod files;
mod frozen;
mod health;
mod hold;
mod keeper;
mod life;
pub(crate) mod listen;
mod living;
mod lock;
mod logs;
pub mod notify;
mod oom;
mod outlet;
mod peer;
mod process;
pub mod protocol;
mod reconcile;
mod relay;
mod restart;
pub(crate) mod rootfs;
mod runtime;
mod server;
mod signals;
mod socket;
mod start;
mod stdio;
mod task;
mod terminal;
mod update;
mod watch;
mod wires;

use jiff::Timestamp;

use crate::error::{Error, Result};
use crate::events;
use crate::host::Host;
use crate::model::{Record, State, Status, Wellness};

pub use boot::{Outcome, close, joined, revive};
pub use control::{freeze, not_running, signal, stop, wait};
pub use exec::{Exec, exec};
pub use files::running as execs;
pub use frozen::{Frozen, frozen};
pub use hold::{Hold, Still, hold};
pub use life::main;
pub use lock::Lock;
pub use logs::{LogOptions, logs};
pub use notify::Notice;
pub use process::{boot_id, namespace, runs};
pub use protocol::Step;
pub use reconcile::{containers, state};
pub use rootfs::mount_lower;
pub use start::{Running, Start, ensure, start};
pub use task::ARGUMENT;
pub use terminal::{DetachKeys, size as terminal_size};
pub use update::update;
pub use watch::Watch;
pub use wires::{connect, disconnect, renew, unlink};

/// What of the log was lost, in RUN/monitors/ID.
const LOST: &str = "log.lost";
/// The monitor's socket in RUN/monitors/ID.
const ATTACH: &str = "attach.sock";

/// Which streams to join, and how to leave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attach {
    /// Send our stdin.
    pub stdin: bool,
    /// Show the container's stdout.
    pub stdout: bool,
    /// Show the container's stderr.
    pub stderr: bool,
    /// Keys that leave; unset means the record's, else ctrl-p,ctrl-q.
    pub detach_keys: Option<String>,
    /// Hand signals on to the container (without a terminal).
    pub sig_proxy: bool,
}

/// How a foreground came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The process ended with this code; 128+n for a signal, -1 when nobody knows.
    Exited(i32),
    /// The user left; it runs on.
    Detached,
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It does not run (any more).
    NotRunning,
    /// It has ended once more than now.
    NextExit,
    /// It is no more.
    Removed,
}

/// Joins our streams to a container that runs.
pub fn attach(host: &Host, record: &Record, how: &Attach) -> Result<Ended> {
    DetachKeys::of(host, how.detach_keys.as_deref(), record, record.config.tty)?;
    let (line, state) = attach::Line::of_living(host, record, attach::role_of(how))?;
    let why = match (line, state.status) {
        (Some(_), Status::Paused) => "paused container, unpause it first",
        (Some(_), Status::Restarting) => "restarting container, wait until it is running",
        (Some(mut line), _) => {
            if record.config.tty {
                attach::nudge(&mut line);
            }
            events::of_container(&host.paths, record, "attach", &[]);
            return attach::follow(host, record, how, line);
        }
        (None, _) => "stopped container, start it first",
    };
    Err(Error::conflict(format!("You cannot attach to a {why}")))
}

/// Removes a container that does not run: its records, its files, and its locks.
pub fn remove(host: &Host, record: &Record) -> Result<()> {
    let lock = lock::Lock::of_idle(host, record)?.ok_or_else(|| running(record))?;
    lock.mark_ending();
    rootfs::sweep(host, record)?;
    let removed = host.containers.remove(record);
    clear(host, &record.id);
    drop(lock);
    removed
}

/// Waits for what the monitor of another container is at: its start, its end; with the `line` that a
/// start was waited for on, the end of that life. A monitor that is killed is at neither any more.
pub fn await_monitor(
    host: &Host,
    id: &str,
    line: Option<attach::Line>,
) -> Result<Option<attach::Line>> {
    if let Some(mut line) = line {
        line.wait_exited();
    }
    lock::Lock::await_holder(host, id)
}

fn running(record: &Record) -> Error {
    Error::conflict(format!(
        "cannot remove container \"{}\": container is running: stop the container before \
         removing or force remove",
        record.name
    ))
}

/// `--rm` at the end: nobody is there to hear of a failure, and `dhow rm` can still do it.
fn remove_quietly(host: &Host, record: &Record) {
    // What is still mounted below its directory is not its own: a volume's part, another's image.
    if rootfs::unmount(host, record).is_err() || host.containers.remove(record).is_err() {
        return;
    }
    let _ = crate::store::discard_volumes(host, record);
}

/// It runs, or is about to run again: a monitor has it.
fn is_active(state: &State) -> bool {
    state.status.is_alive() || state.status == Status::Restarting
}

/// Removes RUN/monitors/ID; the caller holds its lock, which locks nothing from here on.
fn clear(host: &Host, id: &str) {
    let _ = std::fs::remove_dir_all(host.paths.monitor(id));
}

/// `state`, ended.
fn ended(mut state: State, code: i32, oom_killed: bool, error: String) -> State {
    if let Some(health) = &mut state.health {
        health.status = Wellness::Unhealthy; // DOCKER: nobody checks any more
    }
    State {
        status: Status::Exited,
        pid: 0,
        monitor_pid: 0,
        exit_code: code,
        oom_killed,
        error,
        finished_at: Some(Timestamp::now()),
        endpoints: Vec::new(),
        published: Vec::new(),
        ..state
    }
}
