//! `dhow container inspect`.

use clap::Args;

use crate::command::inspect::show;
use crate::exit::Exit;
use crate::host::Host;
use crate::model::view;
use crate::output::Output;

/// Show all about containers, as JSON
#[derive(Debug, Args)]
pub struct Inspect {
    /// A Go template for each, or json
    #[arg(short, long, value_name = "TEMPLATE")]
    pub format: Option<String>,
    /// Measure the files too
    #[arg(short, long)]
    pub size: bool,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

impl Inspect {
    /// An array of what was found; errors for the rest.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        show(out, &self.containers, self.format.as_deref(), |needle| {
            view::container(host, &host.containers.find(needle)?.record, self.size)
        })
    }
}
