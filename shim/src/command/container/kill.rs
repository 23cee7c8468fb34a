//! `dhow kill`.

use clap::Args;

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::monitor;
use crate::options::rights;
use crate::output::Output;

/// Send a signal to containers
#[derive(Debug, Args)]
pub struct Kill {
    /// Signal by name or number
    #[arg(short, long, default_value = "KILL", hide_default_value = true)]
    pub signal: String,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

impl Kill {
    /// Prints each name.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        out.each(&self.containers, |needle| {
            self.perform(host, needle).map(|()| needle.to_owned()).map_err(|e| {
                Error::new(e.kind, format!("cannot kill container: {needle}: {}", e.message))
            })
        })
    }

    fn perform(&self, host: &Host, needle: &str) -> Result<()> {
        let record = host.containers.find(needle)?.record;
        let wrong = |_| Error::usage(format!("invalid signal: {}", self.signal));
        monitor::signal(host, &record, rights::signal(&self.signal).map_err(wrong)?)
    }
}
