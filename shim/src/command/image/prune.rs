//! `dhow image prune`.

use std::collections::{BTreeSet, HashSet};

use clap::Args;
use dhow_image::digest::Digest;
use dhow_image::store::{Removal, Users};

use crate::error::Result;
use crate::events;
use crate::exit::Exit;
use crate::host::Host;
use crate::making::of_image;
use crate::output::{Output, confirm, human};

/// Remove images without a name
#[derive(Debug, Args)]
pub struct Prune {
    /// Every image that no container uses, not only the nameless
    #[arg(short, long)]
    pub all: bool,
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
        let what = if self.all {
            "WARNING! This will remove all images without at least one container associated to them."
        } else {
            "WARNING! This will remove all dangling images."
        };
        if !self.force && !confirm(out, what) {
            return Ok(());
        }
        let (mut layers, mut images) = (HashSet::new(), BTreeSet::new());
        for found in host.containers.list()? {
            let chains = found.record.chains();
            layers.extend(chains.filter_map(|chain| chain.parse::<Digest>().ok()));
            images.insert(found.record.image.id);
        }
        let store = host.images()?;
        let nobody = Users::default();
        let (mut lines, mut freed) = (String::new(), 0);
        for image in store.images().map_err(of_image)? {
            let id = image.id().to_string();
            if images.contains(&id) || !self.all && !image.names.is_empty() {
                continue;
            }
            let how = Removal { force: true, users: &nobody, in_use: &layers };
            let removed = store.remove(&id, how).map_err(of_image)?;
            events::of_removed(&host.paths, &id, &removed);
            freed += removed.freed;
            lines.extend(removed.untagged.iter().map(|n| format!("untagged: {n}\n")));
            lines.extend(removed.deleted.iter().map(|d| format!("deleted: {d}\n")));
        }
        if !lines.is_empty() {
            out.text(&format!("Deleted Images:\n{lines}\n"));
        }
        let reclaimed = freed.to_string();
        events::emit(&host.paths, events::Kind::Image, "prune", "", &[("reclaimed", &reclaimed)]);
        out.line(&format!("Total reclaimed space: {}", human::size(freed)));
        Ok(())
    }
}
