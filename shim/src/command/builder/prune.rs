//! `dhow builder prune`.

use clap::Args;
use dhow_image::build::cache;

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::making::of_image;
use crate::options::size;
use crate::output::{Output, confirm, human};
use crate::pruning::layers_in_use;

/// Remove what earlier builds have left
#[derive(Debug, Args)]
pub struct Prune {
    /// What images stand on and contexts' digests, too
    #[arg(short, long)]
    pub all: bool,
    /// Only what matches KEY=VALUE: until, id, type, description, inuse, shared, …
    #[arg(long, value_name = "FILTER")]
    pub filter: Vec<String>,
    /// Don't ask
    #[arg(short, long)]
    pub force: bool,
    /// How much may stay, the last used first
    #[arg(long, value_name = "SIZE", alias = "reserved-space", alias = "max-used-space")]
    pub keep_storage: Option<String>,
}

impl Prune {
    /// Prints what went, and how much space came back.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.perform(host, out);
        out.end(result)
    }

    fn perform(&self, host: &Host, out: &mut Output) -> Result<()> {
        let keep = self.keep_storage.as_deref().map(|text| size::bytes("--keep-storage", text));
        let keep = u64::try_from(keep.transpose()?.unwrap_or(0)).unwrap_or(0);
        let filter = super::filter(&self.filter, self.all, keep)?;
        filter.check().map_err(|e| Error::usage(e.to_string()))?;
        let warning = if self.all {
            "WARNING! This will remove all build cache."
        } else {
            "WARNING! This will remove all dangling build cache."
        };
        if !self.force && !confirm(out, warning) {
            return Ok(());
        }
        let layers = layers_in_use(host)?;
        let pruned = cache::prune(host.images()?, &filter, &layers).map_err(of_image)?;
        out.text(&super::du::table(&pruned.entries));
        out.line(&format!("Total:\t{}", human::size(pruned.freed)));
        Ok(())
    }
}
