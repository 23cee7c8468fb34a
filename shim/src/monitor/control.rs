//! Signals, stops and waits: by pidfd and by the monitor's word, never by polling.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::attach::Line;
use super::protocol::{Frame, Freeze, Role, Stopping};
use super::watch::Watch;
use super::{Condition, is_active, process, state};
use crate::error::{Error, Result};
use crate::events;
use crate::host::Host;
use crate::model::{Record, RestartPolicy, State, Status};
use crate::options::rights;

/// So long the end of a killed container is waited for; one in the kernel's hands may never come.
const KILLED: Duration = Duration::from_secs(10);

/// Sends `signal` to the container's first process.
pub fn signal(host: &Host, record: &Record, signal: i32) -> Result<()> {
    let state = state(host, record)?;
    let stops = rights::signal(&record.config.stop_signal).unwrap_or(libc::SIGTERM);
    let ends = matches!(signal, libc::SIGKILL | libc::SIGTERM | libc::SIGINT) || signal == stops;
    if ends && record.host_config.restart_policy != RestartPolicy::default() {
        // The monitor hears first that the user wants the end: its policy then starts nothing again.
        if let (Some(mut line), _) = Line::of_living(host, record, Role::default())? {
            line.send(&Frame::Stopping(Stopping::ByUser));
        }
        if state.status == Status::Restarting {
            return Ok(()); // DOCKER: between two lives, that there be no other is all there is to do
        }
    }
    let Some(init) = process::open(&state)? else { return Err(not_running(record)) };
    send(host, &init, signal, record)?;
    if state.status == Status::Paused {
        let _ = freeze(host, record, false); // it would not hear; it may have ended by itself
    }
    // As docker: SIGKILL is not said to be sent before the end has come of it.
    if signal == libc::SIGKILL && ended_within(&init, Some(KILLED))? {
        wait_life(host, record, &state)?;
    }
    Ok(())
}

fn send(host: &Host, init: &OwnedFd, signal: i32, record: &Record) -> Result<()> {
    // Told before it is done: what comes of it is told by another process, and comes after.
    events::of_container(&host.paths, record, "kill", &[("signal", &signal.to_string())]);
    match dhow_kernel::process::pidfd_signal(init.as_fd(), signal) {
        Ok(()) => Ok(()),
        Err(Errno::ESRCH) => Err(not_running(record)),
        Err(e) => {
            Err(Error::engine(format!("send signal {signal} to {}: {}", record.name, e.desc())))
        }
    }
}

/// docker's words for it.
pub fn not_running(record: &Record) -> Error {
    Error::conflict(format!("container {} is not running", record.name))
}

/// Freezes all processes of the container, or thaws them.
pub fn freeze(host: &Host, record: &Record, freeze: bool) -> Result<()> {
    let now = state(host, record)?;
    let active = is_active(&now);
    // Between two lives its monitor says why not.
    if freeze && now.status != Status::Restarting && !process::runs(&now)? {
        return Err(not_running(record));
    }
    if !active {
        return Err(Error::conflict(format!("Container {} is not paused", record.name)));
    }
    let wish = if freeze { Freeze::Freeze } else { Freeze::Thaw };
    Line::ask(host, record, &Frame::Freeze(wish)).map_err(|error| {
        // One that ended under our hands fails in many ways: this is why.
        let runs = state(host, record).and_then(|now| process::runs(&now));
        if freeze && matches!(runs, Ok(false)) { not_running(record) } else { error }
    })
}

/// Ends the container: `signal`, and after `patience` SIGKILL. Not running is fine.
pub fn stop(host: &Host, record: &Record, signal: i32, patience: Option<Duration>) -> Result<()> {
    end(host, record, Stopping::ByUser, signal, patience)
}

/// [`stop`], for whichever reason.
pub(super) fn end(
    host: &Host,
    record: &Record,
    why: Stopping,
    signal: i32,
    patience: Option<Duration>,
) -> Result<()> {
    let (Some(mut line), before) = Line::of_living(host, record, Role::default())? else {
        return Ok(());
    };
    line.send(&Frame::Stopping(why));
    if let Some(init) = process::open(&before)?
        && send(host, &init, signal, record).is_ok()
    {
        if before.status == Status::Paused {
            let _ = freeze(host, record, false);
        }
        if !ended_within(&init, patience)? {
            let _ = send(host, &init, libc::SIGKILL, record);
        }
    }
    if line.wait_exited().is_some() {
        return Ok(());
    }
    // Its monitor was killed meanwhile: the next one shall not begin another life.
    if let (Some(mut line), now) = Line::of_living(host, record, Role::default())?
        && now.started_at == before.started_at
    {
        line.send(&Frame::Stopping(why));
    }
    wait_life(host, record, &before)
}

/// Waits for the end of the life that `before` tells of: another may have begun since.
fn wait_life(host: &Host, record: &Record, before: &State) -> Result<()> {
    loop {
        let (line, now) = Line::of_living(host, record, Role::default())?;
        let Some(mut line) = line.filter(|_| now.started_at == before.started_at) else {
            return Ok(());
        };
        // Nothing is said when the monitor was killed: then the next look puts things right.
        if line.wait_exited().is_some() {
            return Ok(());
        }
    }
}

/// Whether a process has ended, though nobody may have waited for it yet.
pub(super) fn has_ended(process: &OwnedFd) -> Result<bool> {
    ended_within(process, Some(Duration::ZERO))
}

/// Waits for a process's end; false when `patience` ran out first.
pub(super) fn ended_within(process: &OwnedFd, patience: Option<Duration>) -> Result<bool> {
    let until = patience.map(|patience| Instant::now() + patience);
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        // Rounded up: a wait that ends early would end twice.
        let left =
            left.map(|left| left.as_millis() + u128::from(left.subsec_nanos() % 1_000_000 > 0));
        let timeout = left.map_or(Ok(PollTimeout::NONE), |ms| {
            PollTimeout::try_from(ms.min(i32::MAX as u128) as i32)
        });
        let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout.unwrap_or(PollTimeout::MAX)) {
            Ok(0) if left.is_some_and(|ms| ms <= i32::MAX as u128) => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(e) => return Err(Error::engine(format!("wait for a process: {}", e.desc()))),
        }
    }
}

/// Waits for `condition` and answers with the exit code.
pub fn wait(host: &Host, record: &Record, condition: Condition) -> Result<i32> {
    let watch = Watch::of(&host.paths.container(&record.id))?;
    if condition == Condition::NextExit {
        let before = host.containers.state(&record.id)?.finished_at;
        loop {
            let code = wait_ended(host, record)?;
            let now = host.containers.state(&record.id)?;
            if now.finished_at != before {
                return Ok(now.exit_code);
            }
            if watch.wait().is_none() {
                return Ok(code); // removed
            }
        }
    }
    let code = wait_ended(host, record)?;
    while condition == Condition::Removed && host.containers.record(&record.id)?.is_some() {
        let _ = watch.wait();
    }
    Ok(code)
}

/// Waits until the container does not run.
fn wait_ended(host: &Host, record: &Record) -> Result<i32> {
    loop {
        let (line, state) = Line::of_living(host, record, Role::default())?;
        let Some(mut line) = line else { return Ok(state.exit_code) };
        // Nothing is said when the monitor was killed: then the next look puts things right.
        if let Some(code) = line.wait_exited() {
            return Ok(code);
        }
    }
}
