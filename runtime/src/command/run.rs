//! `run`: create, start, and unless detached stay until the end.

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::World;
use super::launch::{Flags, Handle, detached_terminal};
use crate::error::{Error, Result};
use crate::foreground::{self, Relay, Signals};
use crate::lifecycle::{self, Born, Terminal, Wanted};
use crate::notify::Notify;
use crate::state::file;

/// What run alone has.
#[derive(Debug, Default)]
pub struct Extra {
    /// `--detach`.
    pub detach: bool,
    /// `--keep`: the container stays after its end.
    pub keep: bool,
    /// `--no-subreaper`.
    pub no_subreaper: bool,
}

/// Whoever shows the terminal: the engine by its socket, or we.
pub(super) struct Screen<'a> {
    /// `--console-socket`.
    pub socket: Option<&'a Path>,
    /// `--detach`.
    pub detach: bool,
    /// Where the master comes, when we show it.
    pub ours: Option<OwnedFd>,
}

impl Terminal for Screen<'_> {
    fn socket(&mut self, terminal: bool) -> Result<Option<OwnedFd>> {
        if self.detach {
            return detached_terminal(terminal, self.socket);
        }
        if self.socket.is_some() {
            let why = "cannot use console socket if dhow-runtime will not detach: add --detach";
            return Err(Error::rule(why));
        }
        if !terminal {
            return Ok(None);
        }
        let (ours, theirs) = foreground::terminal_pair()?;
        self.ours = Some(ours);
        Ok(Some(theirs))
    }
}

/// Whoever stays takes the container's orphans.
pub(super) const fn reaps(extra: &Extra) -> bool {
    !extra.detach && !extra.no_subreaper
}

/// Runs it; the exit code is the container's.
pub fn run(flags: &Flags, extra: &Extra, world: &World) -> Result<i32> {
    let signals = if extra.detach { None } else { Some(Signals::take()?) };
    let handle = Handle::connect(flags.pidfd_socket.as_deref())?;
    let socket = flags.console_socket.as_deref();
    let mut screen = Screen { socket, detach: extra.detach, ours: None };
    // What it holds ends with this process, which is soon when the container's has.
    let told = flags.pid_file.is_some() || flags.pidfd_socket.is_some();
    let now = !extra.detach && !told;
    let wanted = Wanted { now, reaps: reaps(extra), ..flags.wanted(world, false) };
    let born = lifecycle::create(&world.store, &wanted, &mut screen)?;
    let mut born = ManuallyDrop::new(born);
    let told = handle.send("standard", born.init.pidfd.as_fd());
    let ended = told.and_then(|()| started(&born, flags, &screen, signals.as_ref(), world));
    // Deleted by somebody else meanwhile: there is nothing of it left to remove.
    let ours = born.held.take_back();
    match ended {
        Ok(None) => Ok(0),
        Ok(Some(code)) if extra.keep || !ours => Ok(code),
        Ok(Some(code)) => lifecycle::destroy_own(&born, &world.log).map(|()| code),
        Err(e) if !ours => Err(e),
        Err(e) => {
            born.unmake(&world.log)?;
            Err(e)
        }
    }
}

/// Starts it and stays with it; `None` when detached.
fn started(
    born: &Born,
    flags: &Flags,
    screen: &Screen<'_>,
    signals: Option<&Signals>,
    world: &World,
) -> Result<Option<i32>> {
    let trace = &world.log.trace;
    let mut relay = screen.ours.as_ref().map(|ours| Relay::receive(ours.as_fd())).transpose()?;
    let pid = born.record.process.pid;
    flags.write_pid(pid)?;
    let dir = born.held.dir.file(file::NOTIFY);
    let notify =
        world.notify.as_ref().map(|host| Notify::open(&dir, host, &world.log)).transpose()?;
    // Others may use it now: exec, kill, state. Hooks may take their time.
    born.held.release();
    trace.step("go", || born.init.go())?;
    trace.step("poststart", || lifecycle::poststart(&born.hooks, &born.record))?;
    let Some(signals) = signals else {
        let ended = born.init.pidfd.as_fd();
        return notify.map_or(Ok(()), |notify| notify.until_ready(pid, ended)).map(|()| None);
    };
    let relay = relay.as_mut();
    trace
        .step("wait", || foreground::wait_notified(&born.init, signals, relay, notify.as_ref()))
        .map(Some)
}
