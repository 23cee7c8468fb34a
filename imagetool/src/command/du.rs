//! `dhow-image du`: what images take on the disk.

use clap::Args;
use dhow_image::Result;
use dhow_image::reference::Reference;

use super::table::{human, table};
use crate::context::Context;

/// Flags of `du`.
#[derive(Args)]
pub struct Du {}

impl Du {
    /// Prints a row an image, and what it comes to.
    #[allow(clippy::unused_self)] // every verb has the same form
    pub fn run(self, cx: &Context) -> Result<()> {
        let usage = cx.store()?.usage()?;
        if cx.json {
            return cx.print_json(&usage);
        }
        let head = ["NAME", "ID", "UNIQUE", "SHARED", "BLOBS", "UNPACKED"];
        let mut rows = vec![head.map(str::to_owned)];
        for image in &usage.images {
            let name = image.names.first().and_then(|n| n.parse::<Reference>().ok());
            let name = name.map_or_else(|| "<none>".into(), |name| name.familiar());
            let sizes = [image.unique, image.shared, image.blobs, image.unpacked].map(human);
            let [unique, shared, blobs, unpacked] = sizes;
            rows.push([name, image.id.short().into(), unique, shared, blobs, unpacked]);
        }
        if !cx.quiet {
            let [blobs, unpacked] = [usage.blobs, usage.unpacked].map(human);
            let all = human(usage.blobs + usage.unpacked);
            rows.push(["total".into(), String::new(), all, String::new(), blobs, unpacked]);
        }
        table(&rows).iter().try_for_each(|line| cx.line(line))?;
        if usage.idle + usage.partial > 0 && !cx.quiet {
            let [idle, partial] = [usage.idle, usage.partial].map(human);
            cx.line(format!("nothing needs {idle} (gc); {partial} of downloads are begun"))?;
        }
        Ok(())
    }
}
