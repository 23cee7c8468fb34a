//! `dhow rmi`.

use std::collections::HashSet;

use clap::Args;
use dhow_image::digest::Digest;
use dhow_image::platform::Platform;
use dhow_image::store::{Removal, Users};

use crate::error::Result;
use crate::events;
use crate::exit::Exit;
use crate::host::Host;
use crate::making::{find_image, name_of, of_image, platform};
use crate::monitor;
use crate::output::Output;

/// Remove images
#[derive(Debug, Args)]
pub struct Rm {
    /// In spite of stopped containers or several names
    #[arg(short, long)]
    pub force: bool,
    /// Leave untagged parents in place (an image here has none)
    #[arg(long)]
    pub no_prune: bool,
    /// os/arch[/variant]
    #[arg(long, value_delimiter = ',')]
    pub platform: Vec<String>,
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
}

impl Rm {
    /// Prints what was untagged and deleted.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let wanted = match platform::parse_all(&self.platform) {
            Ok(wanted) => wanted,
            Err(e) => return out.end(Err(e)),
        };
        let mut worst = Exit::OK;
        for needle in &self.images {
            match self.remove(host, needle, &wanted) {
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

    fn remove(&self, host: &Host, needle: &str, wanted: &[Platform]) -> Result<String> {
        let store = host.images()?;
        let needle = name_of(store, needle);
        let image = find_image(store, needle)?;
        platform::check_any(&image, needle, wanted)?;
        let (mut in_use, mut users) = (HashSet::new(), Users::default());
        let id = image.id().to_string();
        for found in host.containers.list()? {
            let record = &found.record;
            in_use.extend(record.chains().filter_map(|chain| chain.parse::<Digest>().ok()));
            let mounted = record.mounts.iter().any(|m| m.kind == "image" && m.source == id);
            if record.image.id == id || mounted {
                let alive = monitor::state(host, record)?.status.is_alive();
                let user = if alive { &mut users.running } else { &mut users.stopped };
                user.get_or_insert_with(|| record.short_id().to_owned());
            }
        }
        let how = Removal { force: self.force, users: &users, in_use: &in_use };
        let removed = store.remove(needle, how).map_err(of_image)?;
        events::of_removed(&host.paths, &image.id().to_string(), &removed);
        let mut lines = String::new();
        lines.extend(removed.untagged.iter().map(|name| format!("Untagged: {name}\n")));
        lines.extend(removed.deleted.iter().map(|digest| format!("Deleted: {digest}\n")));
        Ok(lines)
    }
}
