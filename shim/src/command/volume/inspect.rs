//! `dhow volume inspect`.

use clap::Args;

use crate::command::inspect::show;
use crate::exit::Exit;
use crate::host::Host;
use crate::model::view;
use crate::output::Output;

/// Show all about volumes, as JSON
#[derive(Debug, Args)]
pub struct Inspect {
    /// A Go template for each, or json
    #[arg(short, long, value_name = "TEMPLATE")]
    pub format: Option<String>,
    /// Names
    #[arg(required = true, value_name = "VOLUME")]
    pub volumes: Vec<String>,
}

impl Inspect {
    /// An array of what was found; errors for the rest.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        show(out, &self.volumes, self.format.as_deref(), |name| {
            view::volume(&host.volumes.find(name)?)
        })
    }
}
