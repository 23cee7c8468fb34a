//! `dhow rename`.

use clap::Args;

use crate::error::Result;
use crate::exit::Exit;
use crate::host::Host;
use crate::monitor;
use crate::output::Output;

/// Give a container another name
#[derive(Debug, Args)]
pub struct Rename {
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    pub container: String,
    /// The new name
    #[arg(value_name = "NEW_NAME")]
    pub name: String,
}

impl Rename {
    /// Prints nothing.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result: Result<()> = host.containers.find(&self.container).and_then(|found| {
            host.containers.rename(&found.record, &self.name)?;
            monitor::renew(host, &found.record)
        });
        out.end(result)
    }
}
