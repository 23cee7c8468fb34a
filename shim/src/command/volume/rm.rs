//! `dhow volume rm`.

use clap::Args;

use crate::error::{Error, Kind};
use crate::exit::Exit;
use crate::host::Host;
use crate::output::Output;
use crate::store::holders;

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
            let holders = holders(host, name)?;
            if !holders.is_empty() {
                return Err(Error::conflict(format!(
                    "remove {name}: volume is in use - [{}]; remove the containers first",
                    holders.join(", ")
                )));
            }
            host.volumes.remove(name)?;
            Ok(name.to_owned())
        })
    }
}
