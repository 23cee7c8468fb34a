//! `dhow wait`.

use clap::Args;

use crate::exit::Exit;
use crate::host::Host;
use crate::monitor::{self, Condition};
use crate::output::Output;

/// Wait until containers end and print their exit codes
#[derive(Debug, Args)]
pub struct Wait {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

impl Wait {
    /// Prints each exit code.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        out.each(&self.containers, |needle| {
            let record = host.containers.find(needle)?.record;
            let code = monitor::wait(host, &record, Condition::NotRunning)?;
            Ok(code.to_string())
        })
    }
}
