//! `dhow port`.

use clap::Args;

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::model::Protocol;
use crate::net::ports::{lines, ports};
use crate::options::ports::served;
use crate::output::Output;

/// Show which ports of the host lead to a container's
#[derive(Debug, Args)]
pub struct Port {
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    pub container: String,
    /// Only this port of the container
    #[arg(value_name = "PRIVATE_PORT[/PROTO]")]
    pub port: Option<String>,
}

impl Port {
    /// A line a port.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.text(host).map(|text| out.text(&text));
        out.end(result)
    }

    fn text(&self, host: &Host) -> Result<String> {
        let record = host.containers.find(&self.container)?.record;
        let typed = self.port.as_deref().filter(|text| !text.is_empty());
        let only = typed.map(port).transpose()?;
        let state = crate::monitor::state(host, &record)?;
        let all = lines(&ports(&record, &state), only);
        if let Some(typed) = typed.filter(|_| all.is_empty()) {
            return Err(Error::not_found(format!(
                "No public port '{typed}' published for {}",
                self.container
            )));
        }
        Ok(all.into_iter().map(|line| line + "\n").collect())
    }
}

/// `80`, `80/udp`.
fn port(text: &str) -> Result<(u16, Protocol)> {
    served(text)
        .filter(|_| !text.contains('-'))
        .ok_or_else(|| Error::conflict(format!("invalid port ({text}); write it as 80 or 53/udp")))
}
