//! `dhow container prune`.

use clap::Args;

use crate::error::Result;
use crate::exit::Exit;
use crate::host::Host;
use crate::output::{Output, confirm, human};
use crate::pruning::{self, Wanted};

/// Remove all stopped containers
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
    /// Prints the ids, and how much space came back.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.perform(host, out);
        out.end(result)
    }

    fn perform(&self, host: &Host, out: &mut Output) -> Result<()> {
        let wanted = Wanted::parse(host, &self.filter, &["until", "label", "label!"])?;
        if !self.force && !confirm(out, "WARNING! This will remove all stopped containers.") {
            return Ok(());
        }
        let pruned = pruning::containers(host, &wanted)?;
        out.text(&pruned.report("Deleted Containers"));
        out.line(&format!("Total reclaimed space: {}", human::size(pruned.bytes)));
        Ok(())
    }
}
