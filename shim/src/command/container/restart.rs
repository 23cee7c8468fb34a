//! `dhow restart`.

use clap::Args;

use crate::events;
use crate::exit::Exit;
use crate::host::Host;
use crate::monitor::{self, Start};
use crate::options::Stopping;
use crate::output::Output;

/// Stop containers and start them again
#[derive(Debug, Args)]
pub struct Restart {
    #[command(flatten)]
    stopping: Stopping,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

impl Restart {
    /// Prints each name.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        out.each(&self.containers, |needle| {
            let record = host.containers.find(needle)?.record;
            if record.host_config.auto_remove {
                return Err(crate::Error::conflict(format!(
                    "container {} was made with --rm: stopping it removes it",
                    record.name
                )));
            }
            self.stopping.stop(host, &record)?;
            monitor::start(host, &record, Start::default())?;
            events::of_container(&host.paths, &record, "restart", &[]);
            Ok(needle.to_owned())
        })
    }
}
