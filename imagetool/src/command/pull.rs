//! `dhow-image pull REF…`: prints the full reference of each image.

use clap::Args;
use dhow_image::pull::{Options, pull};
use dhow_image::reference::Reference;
use dhow_image::registry::may_differ;
use dhow_image::{Error, Result};
use serde_json::json;

use crate::cli::RegistryFlags;
use crate::context::Context;

/// Flags of `pull`.
#[derive(Args)]
pub struct Pull {
    /// What to pull: `busybox`, `quay.io/a/b:tag`, `NAME@sha256:…`; a name without a registry is what
    /// registries.conf says, else Docker Hub's
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
        let references = self.references.iter().map(|typed| meanings(cx, typed));
        let references: Vec<Vec<Reference>> = references.collect::<Result<_>>()?;
        let platform = cx.platform(self.platform.as_deref())?;
        let settings = cx.settings(&self.registry)?;
        let options = Options { platform, unpack: !self.no_unpack, settings };
        let store = cx.store()?;
        for meanings in references {
            let progress = cx.progress();
            let pulled = first(&meanings, |r| pull(&store, r, &options, &*progress))?;
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

/// What a name may mean. With `docker://` it is Docker Hub's, if it has no registry; without it
/// registries.conf is asked first.
fn meanings(cx: &Context, typed: &str) -> Result<Vec<Reference>> {
    match typed.strip_prefix("docker://") {
        Some(name) => Ok(vec![Reference::parse_normal(name)?]),
        None => cx.registries()?.meanings(typed),
    }
}

/// The first that can be had. Where none can, what each said.
fn first<T>(meanings: &[Reference], get: impl Fn(&Reference) -> Result<T>) -> Result<T> {
    let mut said = Vec::new();
    let Some((last, others)) = meanings.split_last() else {
        return Err(Error::usage("reference", "", "it is empty"));
    };
    for meaning in others {
        match get(meaning) {
            Err(e) if may_differ(&e) => said.push(e.to_string()),
            done => return done,
        }
    }
    get(last).map_err(|e| if said.is_empty() { e } else { e.noting(&said.join("; ")) })
}
