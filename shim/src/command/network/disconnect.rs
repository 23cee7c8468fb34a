//! `dhow network disconnect`.

use clap::Args;

use super::find;
use crate::error::{Error, Kind, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::net::ipam;
use crate::output::Output;

/// Disconnect a container from a network
#[derive(Debug, Args)]
pub struct Disconnect {
    /// Whatever state the container is in, or though it has gone
    #[arg(short, long)]
    pub force: bool,
    /// The network's name or id
    #[arg(value_name = "NETWORK")]
    pub network: String,
    /// The container's
    #[arg(value_name = "CONTAINER")]
    pub container: String,
}

impl Disconnect {
    /// Prints nothing.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.perform(host);
        out.end(result)
    }

    fn perform(&self, host: &Host) -> Result<()> {
        let record = match host.containers.find(&self.container) {
            Ok(found) => found.record,
            Err(e) if e.kind == Kind::NotFound && self.force => return self.sweep(host),
            Err(e) => return Err(e),
        };
        let network = find(host, &self.network)?;
        crate::monitor::disconnect(host, &record, &network.name, self.force)
    }

    /// A container that has gone may have left its address.
    fn sweep(&self, host: &Host) -> Result<()> {
        let network = find(host, &self.network)?;
        let left = ipam::read(&host.paths, &network.id).into_iter().find(|lease| {
            lease.container == self.container || lease.names.contains(&self.container)
        });
        let left =
            left.ok_or_else(|| Error::not_found(format!("endpoint {} not found", self.container)))?;
        ipam::release(&host.paths, &network.id, &left.container)
    }
}
