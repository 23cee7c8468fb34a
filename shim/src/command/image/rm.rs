//! `dhow rmi`.

use std::collections::HashSet;

use clap::Args;
use dhow_image::digest::Digest;
use dhow_image::reference::Reference;

use crate::error::{Error, Result};
use crate::events;
use crate::exit::Exit;
use crate::host::Host;
use crate::making::{name_of, of_image};
use crate::monitor;
use crate::output::Output;

/// Remove images
#[derive(Debug, Args)]
pub struct Rm {
    /// In spite of stopped containers or several names
    #[arg(short, long)]
    pub force: bool,
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
}

impl Rm {
    /// Prints what was untagged and deleted.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let mut worst = Exit::OK;
        for needle in &self.images {
            match self.remove(host, needle) {
                Ok(lines) => out.text(&lines),
                Err(e) => {
                    out.error(&e);
                    // As docker: forced, what isn't there is as good as removed.
                    let fine = self.force && e.kind == crate::Kind::NotFound;
                    worst = worst.and(if fine { Exit::OK } else { Exit::of_verb(e.kind) });
                }
            }
        }
        worst.and(out.exit())
    }

    fn remove(&self, host: &Host, needle: &str) -> Result<String> {
        let store = host.images()?;
        let needle = name_of(store, needle);
        let image = store.find(needle).map_err(of_image)?;
        let mut in_use = HashSet::new();
        let typed = Reference::parse_normal(needle).map(Reference::tagged).ok();
        let by_id = !image.names.iter().any(|n| typed.as_ref() == Some(n));
        for found in host.containers.list()? {
            let record = &found.record;
            in_use.extend(record.chains().filter_map(|chain| chain.parse::<Digest>().ok()));
            if record.image.id != image.id().to_string() || !by_id && image.names.len() > 1 {
                continue; // a name among several may go: the image stays
            }
            let alive = monitor::state(host, record)?.status.is_alive();
            if alive || !self.force {
                let (what, how) = if alive {
                    ("running", "cannot be forced")
                } else {
                    ("stopped", "must be forced")
                };
                return Err(Error::conflict(format!(
                    "conflict: unable to remove {needle} ({how}) - image is being used by {what} container {}",
                    record.short_id()
                )));
            }
        }
        let removed = store.remove(needle, self.force, &in_use).map_err(of_image)?;
        events::of_removed(&host.paths, &image.id().to_string(), &removed);
        let mut lines = String::new();
        lines.extend(removed.untagged.iter().map(|name| format!("Untagged: {name}\n")));
        lines.extend(removed.deleted.iter().map(|digest| format!("Deleted: {digest}\n")));
        Ok(lines)
    }
}
