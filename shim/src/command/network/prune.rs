//! `dhow network prune`.

use clap::Args;

use crate::error::Result;
use crate::exit::Exit;
use crate::host::Host;
use crate::output::{Output, confirm};
use crate::pruning::{self, Wanted};

/// Remove networks that no container has an address in
#[derive(Debug, Args)]
pub struct Prune {
    /// Only what matches KEY=VALUE: until, label, label!
    #[arg(long, value_name = "FILTER")]
    pub filter: Vec<String>,
    /// Don't ask
    #[arg(short, long)]
    pub force: bool,
}

impl Prune {
    /// Prints their names.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.perform(host, out);
        out.end(result)
    }

    fn perform(&self, host: &Host, out: &mut Output) -> Result<()> {
        let wanted = Wanted::parse(host, &self.filter, &["until", "label", "label!"])?;
        let what =
            "WARNING! This will remove all custom networks not used by at least one container.";
        if !self.force && !confirm(out, what) {
            return Ok(());
        }
        let pruned = pruning::networks(host, &wanted)?;
        out.text(&pruned.report("Deleted Networks"));
        Ok(())
    }
}
