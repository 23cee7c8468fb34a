//! `dhow volume rm`.

use clap::Args;

use crate::error::{Error, Kind};
use crate::exit::Exit;
use crate::host::Host;
use crate::output::Output;
use crate::store::in_use;

/// Remove volumes
#[derive(Debug, Args)]
pub struct Rm {
    /// One that isn't there is fine
    #[arg(short, long)]
    pub force: bool,
    /// Names
    #[arg(required = true, value_name = "VOLUME")]
    pub volumes: Vec<String>,
}

impl Rm {
    /// Prints each name.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        out.each(&self.volumes, |name| {
            match host.volumes.find(name) {
                Err(e) if e.kind == Kind::NotFound && self.force => return Ok(name.to_owned()),
                other => other?,
            };
            if in_use(host, name) {
                return Err(Error::conflict(format!(
                    "volume {name} is in use; remove the containers that hold it first"
                )));
            }
            host.volumes.remove(name)?;
            Ok(name.to_owned())
        })
    }
}
