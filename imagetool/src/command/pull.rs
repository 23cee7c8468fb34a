//! `dhow-image pull REF…`: prints the full reference of each image.

use clap::Args;
use dhow_image::Result;
use dhow_image::pull::{Options, pull};
use dhow_image::reference::Reference;
use serde_json::json;

use crate::cli::RegistryFlags;
use crate::context::Context;

/// Flags of `pull`.
#[derive(Args)]
pub struct Pull {
    /// What to pull: `busybox`, `quay.io/a/b:tag`, `NAME@sha256:…`
    #[arg(required = true, value_name = "REF")]
    references: Vec<String>,
    /// Which platform to take: OS/ARCH[/VARIANT]
    #[arg(long)]
    platform: Option<String>,
    /// Don't unpack the layers yet
    #[arg(long)]
    no_unpack: bool,
    #[command(flatten)]
    registry: RegistryFlags,
}

impl Pull {
    /// Pulls; every name is read before anything is fetched.
    pub fn run(self, cx: &Context) -> Result<()> {
        let references =
            self.references.iter().map(|r| Reference::parse_normal(without_transport(r)));
        let references: Vec<Reference> = references.collect::<Result<_>>()?;
        let platform = cx.platform(self.platform.as_deref())?;
        let settings = cx.settings(&self.registry)?;
        let options = Options { platform, unpack: !self.no_unpack, settings };
        let store = cx.store()?;
        for reference in references {
            let progress = cx.progress();
            let pulled = pull(&store, &reference, &options, &*progress)?;
            cx.debug(|| format!("{} is {}", pulled.reference, pulled.digest));
            if cx.json {
                cx.print_json(&json!({
                    "reference": pulled.reference,
                    "digest": pulled.digest,
                    "manifest": pulled.manifest.digest,
                    "id": pulled.config_digest,
                    "changed": pulled.changed,
                }))?;
            } else {
                cx.line(&pulled.reference)?;
            }
        }
        Ok(())
    }
}

/// `docker://` says what is meant anyway.
fn without_transport(text: &str) -> &str {
    text.strip_prefix("docker://").unwrap_or(text)
}
