//! Who has a container just now: what reaches into its files asks here first.

use std::os::fd::OwnedFd;

use super::attach::Line;
use super::control::ended_within;
use super::lock::Lock;
use super::protocol::Role;
use super::{clear, is_active, process, state};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::{Record, Status};

/// How a container's files can be had.
pub enum Hold<'a> {
    /// Its first process lives, and this is its pidfd.
    Living(OwnedFd),
    /// No process of it lives.
    Still(Still<'a>),
}

/// The right to a container that does not run: nobody starts or removes it meanwhile.
pub struct Still<'a> {
    host: &'a Host,
    id: &'a str,
    /// It has never run.
    pub fresh: bool,
    /// `None` between two lives: its monitor has it.
    lock: Option<Lock>,
}

impl Hold<'_> {
    /// Waits for the end of a process that lives.
    pub fn wait(&self) -> Result<()> {
        match self {
            Self::Living(init) => ended_within(init, None).map(drop),
            Self::Still(_) => Ok(()),
        }
    }
}

/// Finds out whether `record`'s container lives, and keeps it so if it doesn't.
pub fn hold<'a>(host: &'a Host, record: &'a Record) -> Result<Hold<'a>> {
    let still = |lock, fresh| Hold::Still(Still { host, id: &record.id, fresh, lock });
    loop {
        let now = state(host, record)?;
        if now.status == Status::Restarting {
            return Ok(still(None, false));
        }
        if let Some(init) = process::open(&now)?.filter(|_| is_active(&now)) {
            return Ok(Hold::Living(init));
        }
        if let Some(lock) = Lock::try_take(host, &record.id)? {
            // What was read without the lock may have changed before it was taken.
            let now = host.containers.state(&record.id)?;
            if host.containers.record(&record.id)?.is_none() {
                clear(host, &record.id); // removed meanwhile; the lock's directory is ours
                return Err(Error::not_found(format!("No such container: {}", record.name)));
            }
            if !is_active(&now) && process::open(&now)?.is_none() {
                // A start waits for us, then; it takes others for starts.
                lock.mark_ending();
                return Ok(still(Some(lock), now.started_at.is_none()));
            }
        } else if !Lock::wait_ending(host, &record.id) {
            // It is being started: its monitor answers when that is done.
            drop(Line::connect(host, &record.id, Role::default())?);
        }
        std::thread::yield_now();
    }
}

impl Drop for Still<'_> {
    fn drop(&mut self) {
        if self.lock.is_some() {
            clear(self.host, self.id);
        }
    }
}
