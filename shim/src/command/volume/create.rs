//! `dhow volume create`.

use clap::Args;

use crate::error::Result;
use crate::exit::Exit;
use crate::host::Host;
use crate::output::Output;

/// Make a volume
#[derive(Debug, Args)]
pub struct Create {
    /// Its name, or a made-up one
    #[arg(value_name = "VOLUME")]
    pub name: Option<String>,
}

impl Create {
    /// Prints its name; one that is there is fine, as in docker.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.perform(host).map(|name| out.line(&name));
        out.end(result)
    }

    fn perform(&self, host: &Host) -> Result<String> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => crate::making::new_id()?,
        };
        Ok(host.volumes.ensure(&name)?.name)
    }
}
