//! `dhow pause`.

use clap::Args;

use crate::exit::Exit;
use crate::host::Host;
use crate::monitor;
use crate::output::Output;

/// Freeze all processes of containers
#[derive(Debug, Args)]
pub struct Pause {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

impl Pause {
    /// Prints each name.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        out.each(&self.containers, |needle| {
            let record = host.containers.find(needle)?.record;
            monitor::freeze(host, &record, true)?;
            Ok(needle.to_owned())
        })
    }
}
