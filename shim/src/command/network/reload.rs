//! `dhow network reload`, which docker hasn't: a daemon lays out its rules when it starts.

use clap::Args;

use crate::error::Result;
use crate::exit::Exit;
use crate::host::Host;
use crate::output::Output;

/// Lay out devices and rules anew, after another firewall has swept them away
#[derive(Debug, Args)]
pub struct Reload {}

impl Reload {
    /// Prints nothing.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = Self::perform(host);
        out.end(result)
    }

    fn perform(host: &Host) -> Result<()> {
        let running = crate::monitor::containers(host, true)?;
        let running: Vec<_> = running.into_iter().map(|c| (c.record, c.state)).collect();
        crate::net::reload(host, &running)
    }
}
