//! `dhow-image compact [IMAGE…]`: blobs that the unpacked layers can make again are dropped.

use clap::Args;
use dhow_image::Result;
use dhow_image::store::Store;
use serde_json::json;

use super::table::human;
use crate::context::Context;

/// Flags of `compact`.
#[derive(Args)]
pub struct Compact {
    /// Images of the store; without one, all
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    /// Make the dropped blobs files again
    #[arg(long)]
    undo: bool,
}

impl Compact {
    /// Prints what became of each layer's blob.
    pub fn run(self, cx: &Context) -> Result<()> {
        let store = cx.store()?;
        let work = if self.undo { Store::expand } else { Store::compact };
        let all = work(&store, &self.images)?;
        if cx.json {
            let kept = all.kept.iter().map(|(blob, why)| json!({ "blob": blob, "why": why }));
            return cx.print_json(&json!({
                "done": all.done,
                "kept": kept.collect::<Vec<_>>(),
                "freed": all.freed,
            }));
        }
        let verb = if self.undo { "Made" } else { "Dropped" };
        all.done.iter().try_for_each(|blob| cx.line(format!("{verb} blob {blob}")))?;
        let kept = |(blob, why): &(_, String)| cx.line(format!("Kept blob {blob}: {why}"));
        all.kept.iter().try_for_each(kept)?;
        if all.freed > 0 && !cx.quiet {
            cx.line(format!("{} given back", human(all.freed)))?;
        }
        Ok(())
    }
}
