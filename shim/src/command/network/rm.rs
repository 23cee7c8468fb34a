//! `dhow network rm`.

use clap::Args;

use super::find;
use crate::error::Kind;
use crate::exit::Exit;
use crate::host::Host;
use crate::output::Output;

/// Remove networks
#[derive(Debug, Args)]
pub struct Rm {
    /// One that isn't there is fine
    #[arg(short, long)]
    pub force: bool,
    /// Names or ids
    #[arg(required = true, value_name = "NETWORK")]
    pub networks: Vec<String>,
}

impl Rm {
    /// Prints each as it was typed.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let mut worst = Exit::OK;
        for needle in &self.networks {
            match find(host, needle)
                .and_then(|network| host.networks.remove(&network, crate::net::lower))
            {
                Ok(()) => out.line(needle),
                // As docker: it isn't there, and nothing is said.
                Err(e) if e.kind == Kind::NotFound && self.force => {}
                Err(e) => {
                    out.error(&e);
                    worst = worst.and(Exit::of_verb(e.kind));
                }
            }
        }
        worst.and(out.exit())
    }
}
