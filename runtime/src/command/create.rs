//! `create`: a container up to where only its start is missing.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::World;
use super::launch::{Flags, Handle, detached_terminal};
use crate::error::Result;
use crate::lifecycle::{self, Terminal};

/// An engine's socket, if it gave one.
struct Engine<'a>(Option<&'a Path>);

impl Terminal for Engine<'_> {
    fn socket(&mut self, terminal: bool) -> Result<Option<OwnedFd>> {
        detached_terminal(terminal, self.0)
    }
}

/// Makes it.
pub fn create(flags: &Flags, world: &World) -> Result<()> {
    let handle = Handle::connect(flags.pidfd_socket.as_deref())?;
    let mut terminal = Engine(flags.console_socket.as_deref());
    let mut born = lifecycle::create(&world.store, &flags.wanted(world, true), &mut terminal)?;
    let told = handle.send("standard", born.init.pidfd.as_fd());
    let told = told.and_then(|()| flags.write_pid(born.record.process.pid));
    told.inspect_err(|_| {
        let _ = born.unmake(&world.log);
    })
}
