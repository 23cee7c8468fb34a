//! `dhow port`.

use clap::Args;

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::model::Protocol;
use crate::net::ports::{lines, ports};
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
        let only = typed.map(one).transpose()?;
        let state = crate::monitor::state(host, &record)?;
        let all = lines(&ports(&record, &state), only.flatten());
        match typed {
            Some(typed) if only.flatten().is_none() || all.is_empty() => {
                Err(Error::usage_of_object(typed, &self.container))
            }
            _ => Ok(all.into_iter().map(|line| line + "\n").collect()),
        }
    }
}
