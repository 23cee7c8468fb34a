//! `dhow container prune`.

use clap::Args;

use crate::error::Result;
use crate::events::{Kind, emit};
use crate::exit::Exit;
use crate::host::Host;
use crate::monitor;
use crate::output::{Output, confirm, human};
use crate::store::{discard, size_of};

/// Remove all stopped containers
#[derive(Debug, Args)]
pub struct Prune {
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
        if !self.force && !confirm(out, "WARNING! This will remove all stopped containers.") {
            return Ok(());
        }
        let mut removed = Vec::new();
        let mut bytes = 0;
        for found in host.containers.list()? {
            let record = found.record;
            if monitor::state(host, &record)?.status.is_alive() {
                continue;
            }
            let size = size_of(&host.paths.container(&record.id).join("upper"));
            discard(host, &record, false)?;
            bytes += size;
            removed.push(record.id);
        }
        if !removed.is_empty() {
            out.text(&format!("Deleted Containers:\n{}\n\n", removed.join("\n")));
        }
        let reclaimed = bytes.to_string();
        emit(&host.paths, Kind::Container, "prune", "", &[("reclaimed", &reclaimed)]);
        out.line(&format!("Total reclaimed space: {}", human::size(bytes)));
        Ok(())
    }
}
