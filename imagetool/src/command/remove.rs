//! `dhow-image remove IMAGE…`: prints what is gone.

use std::collections::HashSet;

use clap::Args;
use dhow_image::Result;
use dhow_image::digest::ChainId;
use dhow_image::store::{Removal, Users};
use serde_json::json;

use crate::cli::target::{ImageFlag, exactly};
use crate::context::Context;

/// Flags of `remove`.
#[derive(Args)]
pub struct Remove {
    /// Names or ids
    #[arg(required_unless_present = "image", value_name = "IMAGE")]
    images: Vec<String>,
    #[command(flatten)]
    of_layout: ImageFlag,
    /// Remove an id that has several names
    #[arg(long, short)]
    force: bool,
    /// Keep this layer, as a container stands on it
    #[arg(long, value_name = "CHAIN-ID")]
    in_use: Vec<String>,
}

impl Remove {
    /// Removes one after the other; the first failure ends it.
    pub fn run(self, cx: &Context) -> Result<()> {
        if let Some(tagged) = self.of_layout.tagged()? {
            let [] = exactly(self.images, [])?;
            return tagged.untag();
        }
        let in_use = self.in_use.iter().map(|c| c.parse());
        let in_use: HashSet<ChainId> = in_use.collect::<Result<_>>()?;
        let store = cx.store()?;
        let users = Users::default();
        for needle in &self.images {
            let how = Removal { force: self.force, users: &users, in_use: &in_use };
            let removed = store.remove(needle, how)?;
            if cx.json {
                cx.print_json(&json!({
                    "untagged": removed.untagged,
                    "deleted": removed.deleted,
                    "freed": removed.freed,
                }))?;
                continue;
            }
            removed.untagged.iter().try_for_each(|n| cx.line(format!("Untagged: {n}")))?;
            removed.deleted.iter().try_for_each(|d| cx.line(format!("Deleted: {d}")))?;
        }
        Ok(())
    }
}
