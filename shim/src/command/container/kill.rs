//! `dhow kill`.

use clap::Args;

use crate::exit::Exit;
use crate::host::Host;
use crate::monitor;
use crate::options::rights;
use crate::output::Output;

/// Send a signal to containers
#[derive(Debug, Args)]
pub struct Kill {
    /// Signal by name or number
    #[arg(short, long, default_value = "KILL")]
    pub signal: String,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

impl Kill {
    /// Prints each name.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        out.each(&self.containers, |needle| {
            let signal = rights::signal(&self.signal)?;
            let record = host.containers.find(needle)?.record;
            monitor::signal(host, &record, signal)?;
            Ok(needle.to_owned())
        })
    }
}
