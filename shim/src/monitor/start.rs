//! The client's side of a start: take the lock, hand over, hear how it went.

use std::os::unix::net::UnixStream;

use super::attach::{Line, follow, role_of};
use super::listen::Sockets;
use super::lock::Lock;
use super::notify::{Notice, Notify};
use super::protocol::{Failed, Frame, Step};
use super::task::{Purpose, Task};
use super::{Attach, Ended, rootfs, socket, state, terminal};
use crate::error::{Error, Kind, Result};
use crate::events;
use crate::exit::Exit;
use crate::host::Host;
use crate::model::{Record, Status};

/// How to start.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// Streams to join before the first byte comes; none for a start in the background.
    pub attach: Option<Attach>,
    /// A service manager that wants to hear of it.
    pub notify: Option<Notice>,
}

/// A container that was started.
pub struct Running<'a> {
    /// Its first process.
    pub pid: i32,
    /// What the start consisted of, in order.
    pub steps: Vec<Step>,
    /// Warnings, a line each.
    pub told: Vec<String>,
    host: &'a Host,
    record: &'a Record,
    attach: Option<Attach>,
    line: Line,
    notify: Option<Notify>,
}

impl Running<'_> {
    /// Tells a service manager, and lets it run.
    pub fn leave(self) -> Result<()> {
        drop(self.line);
        self.notify.map_or(Ok(()), |notify| notify.leave(self.host, self.record))
    }

    /// Stays with the container until it ends or the user leaves.
    pub fn follow(self) -> Result<Ended> {
        if let Some(notify) = self.notify {
            notify.stay();
        }
        let how = self.attach.unwrap_or_default();
        follow(self.host, self.record, &how, self.line)
    }
}

/// Starts `record`'s container.
pub fn start<'a>(host: &'a Host, record: &'a Record, how: Start) -> Result<Running<'a>> {
    rootfs::suits(host)?;
    if let Some(attach) = &how.attach {
        let keys = attach.detach_keys.as_deref();
        terminal::DetachKeys::of(host, keys, record, record.config.tty)?; // before anything is made
    }
    let sockets = Sockets::take(|name| std::env::var_os(name))?;
    let lock = lock(host, record)?;
    let role = how.attach.as_ref().map(role_of).unwrap_or_default();
    let size = if record.config.tty { terminal::size() } else { None };
    let listener = socket::listen_for(host, &record.id)?;
    let mut notify = Notify::prepare(host, &record.id, how.notify.as_ref())?;
    let unheard = notify.as_mut().and_then(Notify::warning);
    let task = Task::new(host, record, Purpose::Start { role, size });
    if how.attach.is_some() {
        events::of_container(&host.paths, record, "attach", &[]);
    }
    let stream = task.with(sockets).hand_over(lock, listener)?;
    let mut running = answer(host, record, how.attach, (stream, notify))?;
    running.told.extend(unheard);
    Ok(running)
}

fn answer<'a>(
    host: &'a Host,
    record: &'a Record,
    attach: Option<Attach>,
    (stream, notify): (UnixStream, Option<Notify>),
) -> Result<Running<'a>> {
    let mut line = Line::new(stream);
    loop {
        match line.wait_frame() {
            Some(Frame::Started(started)) => {
                let (pid, steps, told) = (started.pid, started.steps, started.told);
                return Ok(Running { pid, steps, told, host, record, attach, line, notify });
            }
            Some(Frame::Failed(failed)) => return Err(failed.into()),
            Some(_) => {}
            None => {
                state(host, record)?; // sweeps what it left
                if host.containers.record(&record.id)?.is_none() {
                    return Err(Error::not_found(format!("No such container: {}", record.name)));
                }
                return Err(Error::engine(format!(
                    "the monitor of {} was killed during the start; start it again",
                    record.name
                )));
            }
        }
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        let kind = match Exit(failed.code) {
            Exit::NOT_EXECUTABLE => Kind::NotExecutable,
            Exit::NO_COMMAND => Kind::NoCommand,
            _ => Kind::Engine,
        };
        Self::new(kind, failed.message)
    }
}

/// Starts `record`'s container in the background, unless it runs.
pub fn ensure(host: &Host, record: &Record) -> Result<()> {
    let alive = || match state(host, record)?.status {
        Status::Paused => {
            Err(Error::conflict("cannot start a paused container, try unpause instead"))
        }
        status => Ok(status.is_alive()),
    };
    if alive()? {
        return Ok(());
    }
    match start(host, record, Start::default()) {
        Err(e) if e.kind == Kind::Conflict && alive()? => Ok(()), // another was quicker
        other => other.map(drop),
    }
}

/// The lock of a container that does not run.
fn lock(host: &Host, record: &Record) -> Result<Lock> {
    Lock::of_idle(host, record)?
        .ok_or_else(|| Error::conflict(format!("container {} is already running", record.name)))
}
