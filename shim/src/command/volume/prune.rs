//! `dhow volume prune`.

use clap::Args;

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::output::{Output, confirm, human};
use crate::pruning::{self, Wanted};

/// Remove volumes that no container holds
#[derive(Debug, Args)]
pub struct Prune {
    /// Those with a name too, not only the anonymous
    #[arg(short, long)]
    pub all: bool,
    /// Only what matches KEY=VALUE: label, label!, all
    #[arg(long, value_name = "FILTER")]
    pub filter: Vec<String>,
    /// Don't ask
    #[arg(short, long)]
    pub force: bool,
}

impl Prune {
    /// Prints the names, and how much space came back.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.perform(host, out);
        out.end(result)
    }

    fn perform(&self, host: &Host, out: &mut Output) -> Result<()> {
        let wanted = Wanted::parse(host, &self.filter, &["label", "label!", "all"])?;
        let typed = wanted.switch("all")?;
        if self.all && typed.is_some() {
            return Err(Error::usage(
                "conflicting options: cannot specify both --all and --filter all=1",
            ));
        }
        let all = self.all || typed == Some(true);
        let what = if all {
            "WARNING! This will remove all local volumes not used by at least one container."
        } else {
            "WARNING! This will remove anonymous local volumes not used by at least one container."
        };
        if !self.force && !confirm(out, what) {
            return Ok(());
        }
        let pruned = pruning::volumes(host, all, &wanted)?;
        out.text(&pruned.report("Deleted Volumes"));
        out.line(&format!("Total reclaimed space: {}", human::size(pruned.bytes)));
        Ok(())
    }
}
