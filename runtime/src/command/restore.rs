//! `restore`: a container from a checkpoint, started where it stopped.

use std::ffi::CString;
use std::os::fd::AsFd;

use super::World;
use super::checkpoint::warn;
use super::launch::Flags;
use super::run::{Extra, Screen, reaps};
use crate::criu::options::Restore;
use crate::criu::restore::{self, Restored};
use crate::criu::swrk::Program;
use crate::error::Result;
use crate::foreground::{self, Relay, Signals};
use crate::lifecycle::{self, Wanted};

/// Restores it; the exit code is the container's, 0 when detached. criu inherits `environment`.
pub fn restore(
    flags: &Flags,
    extra: &Extra,
    asked: &Restore,
    environment: Vec<CString>,
    world: &World,
) -> Result<i32> {
    warn("restore", world);
    let program = Program::find(environment)?;
    let signals = if extra.detach { None } else { Some(Signals::take()?) };
    if reaps(extra) {
        lifecycle::subreaper()?;
    }
    let socket = flags.console_socket.as_deref();
    let mut screen = Screen { socket, detach: extra.detach, ours: None };
    let wanted = Wanted { notify: None, ..flags.wanted(world, false) };
    let born = restore::restore(&world.store, &wanted, asked, &mut screen, &program)?;
    let ended = stay(&born, flags, &screen, signals.as_ref());
    let ours = born.held.take_back();
    match ended {
        Ok(None) => Ok(0),
        Ok(Some(code)) if !ours => Ok(code),
        Ok(Some(code)) => lifecycle::destroy(&born.held, &born.record, &world.log).map(|()| code),
        Err(e) => {
            born.init.discard();
            lifecycle::destroy(&born.held, &born.record, &world.log)?;
            Err(e)
        }
    }
}

/// Stays with it to its end; `None` when detached.
fn stay(
    born: &Restored,
    flags: &Flags,
    screen: &Screen<'_>,
    signals: Option<&Signals>,
) -> Result<Option<i32>> {
    flags.write_pid(born.record.process.pid)?;
    let Some(signals) = signals else { return Ok(None) };
    let mut relay = screen.ours.as_ref().map(|ours| Relay::receive(ours.as_fd())).transpose()?;
    born.held.release();
    foreground::wait(&born.init, signals, relay.as_mut()).map(Some)
}
