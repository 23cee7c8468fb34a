//! `dhow network create`.

use clap::Args;

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::model::network::Driver;
use crate::options::new_network::{CreateFlags, draft};
use crate::output::Output;
use crate::store::allows_rules;

/// Make a network
#[derive(Debug, Args)]
pub struct Create {
    #[command(flatten)]
    flags: CreateFlags,
    /// Its name
    #[arg(value_name = "NETWORK")]
    name: String,
}

impl Create {
    /// Prints its id.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.perform(host, out).map(|id| out.line(&id));
        out.end(result)
    }

    fn perform(&self, host: &Host, out: &Output) -> Result<String> {
        let daemon = host.settings.daemon()?;
        crate::store::check_network_name(&self.name)?;
        if !dhow_image::rootless::is_root() {
            return Err(Error::usage(format!(
                "create network {}: without root, a container's only networks are bridge, host and none",
                self.name
            )));
        }
        let (draft, warnings) = draft(&self.name, &self.flags, daemon)?;
        if draft.driver == Driver::Bridge {
            allows_rules(daemon, draft.enable_ipv6)?;
        }
        // Pools of the default network are nobody else's, though nobody has used it yet.
        let _ = host.networks.default_bridge(daemon);
        let made = host.networks.create(draft, daemon, crate::net::raise)?;
        for warning in warnings {
            out.note(&warning);
        }
        Ok(made.id)
    }
}
