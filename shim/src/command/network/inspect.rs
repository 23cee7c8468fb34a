//! `dhow network inspect`.

use clap::Args;

use super::find;
use crate::command::inspect::show;
use crate::exit::Exit;
use crate::host::Host;
use crate::model::view;
use crate::output::Output;

/// Show all about networks, as JSON
#[derive(Debug, Args)]
pub struct Inspect {
    /// A Go template for each, or json
    #[arg(short, long, value_name = "TEMPLATE")]
    pub format: Option<String>,
    /// A cluster's services too; there are none
    #[arg(short, long)]
    pub verbose: bool,
    /// Names or ids
    #[arg(required = true, value_name = "NETWORK")]
    pub networks: Vec<String>,
}

impl Inspect {
    /// An array of what was found; errors for the rest.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        show(out, &self.networks, self.format.as_deref(), |needle| {
            view::network(host, &find(host, needle)?)
        })
    }
}
