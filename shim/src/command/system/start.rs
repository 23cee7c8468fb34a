//! `dhow system start`: what the machine's start means for containers.

use clap::Args;

use super::told;
use crate::exit::Exit;
use crate::host::Host;
use crate::monitor;
use crate::output::Output;

/// Start what its restart policy wants to run
#[derive(Debug, Args)]
#[command(
    after_help = "always, unless-stopped (unless you stopped it) and on-failure (that failed) begin again;\n\
                        what runs already is left alone. At boot: dhow system unit --help"
)]
pub struct Start {}

impl Start {
    /// Prints each name that was started.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        told(monitor::revive(host), out)
    }
}
