//! `dhow manifest rm`.

use clap::Args;

use super::{lists, missing, named};
use crate::error::Result;
use crate::exit::Exit;
use crate::host::Host;
use crate::making::of_image;
use crate::output::Output;

/// Forget local manifest lists
#[derive(Debug, Args)]
pub struct Rm {
    /// The lists
    #[arg(required = true, value_name = "MANIFEST_LIST")]
    pub lists: Vec<String>,
}

impl Rm {
    /// Prints nothing but errors; those that are there go.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let mut worst = out.exit();
        for typed in &self.lists {
            if let Err(e) = remove(host, typed) {
                out.error(&e);
                worst = worst.and(Exit::of_verb(e.kind));
            }
        }
        worst
    }
}

fn remove(host: &Host, typed: &str) -> Result<()> {
    let name = named(typed)?;
    lists(host)?.remove(&name).map_err(|e| match e {
        dhow_image::Error::NotFound { .. } => missing(&name),
        other => of_image(other),
    })
}
