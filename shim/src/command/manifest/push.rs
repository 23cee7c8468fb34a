//! `dhow manifest push`.

use clap::Args;

use super::{lists, missing, named, settings};
use crate::error::Result;
use crate::exit::Exit;
use crate::host::Host;
use crate::making::of_image;
use crate::output::Output;

/// Bring a manifest list to a registry
#[derive(Debug, Args)]
pub struct Push {
    /// Allow a registry without TLS
    #[arg(long)]
    pub insecure: bool,
    /// Forget the local list after the push
    #[arg(short, long)]
    pub purge: bool,
    /// The list
    #[arg(value_name = "MANIFEST_LIST")]
    pub list: String,
}

impl Push {
    /// Prints the list's digest last.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.perform(host, out);
        out.end(result)
    }

    fn perform(&self, host: &Host, out: &mut Output) -> Result<()> {
        let name = named(&self.list)?;
        let kept = lists(host)?;
        let list = kept.get(&name).map_err(of_image)?.ok_or_else(|| missing(&name))?;
        let settings = settings(host, self.insecure)?;
        let digest = lists::push(&settings, &list, |image, digest| {
            out.line(&format!("Pushed ref {image} with digest: {digest}"));
        })
        .map_err(of_image)?;
        out.line(&digest.to_string());
        if self.purge {
            kept.remove(&name).map_err(of_image)?;
        }
        Ok(())
    }
}
