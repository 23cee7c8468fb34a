//! `dhow system stop`: the machine goes down.

use clap::Args;

use super::told;
use crate::exit::Exit;
use crate::host::Host;
use crate::monitor;
use crate::output::Output;

/// Stop all containers
#[derive(Debug, Args)]
#[command(
    after_help = "Each gets its own stop signal and time, all at once. That doesn't count as stopped by you:\n\
                        `dhow system start` starts again what its policy wants, unless-stopped too."
)]
pub struct Stop {}

impl Stop {
    /// Prints each name that was stopped.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        told(monitor::close(host), out)
    }
}
