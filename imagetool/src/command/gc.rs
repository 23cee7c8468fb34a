//! `dhow-image gc`: removes what nothing needs, from the store or a layout, and the containers of killed builds.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use clap::Args;
use dhow_image::store::collect_layout;
use dhow_image::{Error, Result, build};
use serde_json::json;

use super::table::human;
use crate::context::Context;

/// Flags of `gc`.
#[derive(Args)]
pub struct Gc {
    /// A layout instead of the store
    #[arg(long, value_name = "PATH")]
    layout: Option<PathBuf>,
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
}

impl Gc {
    /// Prints what went.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (blobs, layers, freed) = if let Some(layout) = &self.layout {
            let done = collect_layout(layout_dir(layout)?, self.dry_run)?;
            (done.blobs, Vec::new(), done.freed)
        } else {
            let (store, none) = (cx.store()?, HashSet::new());
            if !self.dry_run {
                build::run::sweep(&cx.run_dir().join("build"))?;
            }
            let done = if self.dry_run { store.collectable(&none) } else { store.collect(&none) };
            let done = done?.told()?;
            (done.blobs, done.layers, done.freed)
        };
        if cx.json {
            return cx.print_json(&json!({ "blobs": blobs, "layers": layers, "freed": freed }));
        }
        let verb = if self.dry_run { "Would delete" } else { "Deleted" };
        blobs.iter().try_for_each(|b| cx.line(format!("{verb} blob {b}")))?;
        layers.iter().try_for_each(|l| cx.line(format!("{verb} layer {l}")))?;
        if freed > 0 && !cx.quiet {
            cx.line(format!("{} of blobs", human(freed)))?;
        }
        Ok(())
    }
}

/// A layout's path, by umoci's rules: a tag has no place in it.
pub fn layout_dir(path: &Path) -> Result<&Path> {
    let text = path.to_string_lossy();
    if text.is_empty() || text.contains(':') {
        return Err(Error::usage("--layout", text, "write the path of a layout, without a tag"));
    }
    Ok(path)
}
