//! `dhow-image unpack IMAGE BUNDLE`: a bundle that any OCI runtime runs.

use std::path::PathBuf;

use clap::Args;
use dhow_image::Result;
use dhow_image::bundle::{self, config::Options};
use serde_json::json;

use crate::context::Context;

/// Flags of `unpack`.
#[derive(Args)]
pub struct Unpack {
    /// A name or an id
    image: String,
    /// The bundle's directory; it must not exist, or be empty
    bundle: PathBuf,
    /// Give the process a terminal
    #[arg(long, short)]
    tty: bool,
}

impl Unpack {
    /// Unpacks. Says nothing on stdout unless asked for JSON.
    pub fn run(self, cx: &Context) -> Result<()> {
        let store = cx.store()?;
        let image = store.find(&self.image)?;
        let options = Options { terminal: self.tty };
        let lost = bundle::unpack(&store, &image, &self.bundle, &options)?;
        if !cx.quiet {
            for what in &lost {
                cx.progress().message(&format!("not kept by this file system: {what}"));
            }
        }
        if cx.json {
            cx.print_json(&json!({ "bundle": self.bundle, "id": image.config_digest }))?;
        }
        Ok(())
    }
}
