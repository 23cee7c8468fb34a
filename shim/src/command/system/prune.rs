//! `dhow system prune`.

use clap::Args;

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::output::{Output, confirm, human};
use crate::pruning::{self, Wanted};

/// Remove what nothing uses
#[derive(Debug, Args)]
pub struct Prune {
    /// Every image that no container uses, not only the nameless
    #[arg(short, long)]
    pub all: bool,
    /// Only what matches KEY=VALUE: until, label, label!
    #[arg(long, value_name = "FILTER")]
    pub filter: Vec<String>,
    /// Don't ask
    #[arg(short, long)]
    pub force: bool,
    /// Anonymous volumes too
    #[arg(long)]
    pub volumes: bool,
}

impl Prune {
    /// Stopped containers, then networks, then volumes if asked for, then images, then the builds' cache.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.perform(host, out);
        out.end(result)
    }

    fn perform(&self, host: &Host, out: &mut Output) -> Result<()> {
        let wanted = Wanted::parse(host, &self.filter, &["until", "label", "label!"])?;
        if self.volumes && wanted.has_until() {
            return Err(Error::usage("The \"until\" filter is not supported with \"--volumes\""));
        }
        if !self.force && !confirm(out, &self.warning(&wanted)) {
            return Ok(());
        }
        let containers = pruning::containers(host, &wanted)?;
        out.text(&containers.report("Deleted Containers"));
        let mut bytes = containers.bytes;
        out.text(&pruning::networks(host, &wanted)?.report("Deleted Networks"));
        if self.volumes {
            let volumes = pruning::volumes(host, false, &wanted)?;
            out.text(&volumes.report("Deleted Volumes"));
            bytes += volumes.bytes;
        }
        let images = pruning::images(host, self.all, &wanted)?;
        out.text(&images.report("Deleted Images"));
        let cache = pruning::cache(host, self.all, &wanted)?;
        out.text(&cache.report("Deleted build cache objects"));
        bytes += images.bytes + cache.bytes;
        out.line(&format!("Total reclaimed space: {}", human::size(bytes)));
        Ok(())
    }

    /// docker's words, for what there is here.
    fn warning(&self, wanted: &Wanted) -> String {
        let mut lines = vec![
            "WARNING! This will remove:",
            "  - all stopped containers",
            "  - all networks not used by at least one container",
        ];
        if self.volumes {
            lines.push("  - all anonymous volumes not used by at least one container");
        }
        lines.push(if self.all {
            "  - all images without at least one container associated to them"
        } else {
            "  - all dangling images"
        });
        lines.push(if self.all { "  - all build cache" } else { "  - unused build cache" });
        let mut text = lines.join("\n");
        let filters = wanted.told();
        if !filters.is_empty() {
            text += "\n\n  Items to be pruned will be filtered with:";
            text.extend(filters.iter().map(|filter| format!("\n  - {filter}")));
        }
        text + "\n"
    }
}
