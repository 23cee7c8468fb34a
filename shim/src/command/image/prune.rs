//! `dhow image prune`.

use clap::Args;

use crate::error::Result;
use crate::exit::Exit;
use crate::host::Host;
use crate::output::{Output, confirm, human};
use crate::pruning::{self, Wanted};

/// Remove images without a name
#[derive(Debug, Args)]
pub struct Prune {
    /// Every image that no container uses, not only the nameless
    #[arg(short, long)]
    pub all: bool,
    /// Only what matches KEY=VALUE: until, label, label!, dangling
    #[arg(long, value_name = "FILTER")]
    pub filter: Vec<String>,
    /// Don't ask
    #[arg(short, long)]
    pub force: bool,
}

impl Prune {
    /// Prints what went, and how much space came back.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.perform(host, out);
        out.end(result)
    }

    fn perform(&self, host: &Host, out: &mut Output) -> Result<()> {
        let wanted = Wanted::parse(host, &self.filter, &["until", "label", "label!", "dangling"])?;
        let all = self.all || wanted.switch("dangling")? == Some(false);
        let what = if all {
            "WARNING! This will remove all images without at least one container associated to them."
        } else {
            "WARNING! This will remove all dangling images."
        };
        if !self.force && !confirm(out, what) {
            return Ok(());
        }
        let pruned = pruning::images(host, all, &wanted)?;
        out.text(&pruned.report("Deleted Images"));
        out.line(&format!("Total reclaimed space: {}", human::size(pruned.bytes)));
        Ok(())
    }
}
