//! `dhow stop`.

use clap::Args;

use crate::exit::Exit;
use crate::host::Host;
use crate::options::Stopping;
use crate::output::Output;

/// Stop containers: their stop signal, then SIGKILL
#[derive(Debug, Args)]
pub struct Stop {
    #[command(flatten)]
    stopping: Stopping,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

impl Stop {
    /// Prints each name.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        out.each(&self.containers, |needle| {
            let record = host.containers.find(needle)?.record;
            self.stopping.stop(host, &record)?;
            Ok(needle.to_owned())
        })
    }
}
