//! `dhow-image new IMAGE`: an image without layers.

use clap::Args;
use dhow_image::Result;
use dhow_image::copy::{Choice, copy};
use dhow_image::edit::{Changed, Draft};
use dhow_image::platform::Platform;
use dhow_image::sink::{Outputs, into};

use crate::cli::RegistryFlags;
use crate::cli::target::{ImageFlag, Target, exactly, report};
use crate::context::{Context, stdout};

/// Flags of `new`.
#[derive(Args)]
pub struct New {
    /// A name for the store, or a place such as oci:DIR:TAG
    #[arg(value_name = "IMAGE")]
    words: Vec<String>,
    #[command(flatten)]
    image: ImageFlag,
    /// What it is for [default: this machine]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    #[command(flatten)]
    registry: RegistryFlags,
}

impl New {
    /// Makes it.
    pub fn run(mut self, cx: &Context) -> Result<()> {
        let target = self.image.take(&mut self.words)?;
        let [] = exactly(std::mem::take(&mut self.words), [])?;
        let platform = cx.platform(self.platform.as_deref())?;
        let platform = platform.unwrap_or_else(Platform::host);
        let draft = Draft::scratch(&platform, Some(cx.now()?))?;
        let changed = match &target {
            Target::Tagged(tagged) => tagged.put(draft)?,
            Target::Place(place) => {
                let (store, settings) = (cx.store()?, cx.settings(&self.registry)?);
                let outputs = Outputs::new(&store, &settings, stdout);
                let derived = draft.finish()?;
                let progress = cx.progress();
                let root = into(place, &outputs, |sink| {
                    copy(&derived, sink, &Choice::One(None).into(), &*progress)
                })?;
                let manifest = derived.manifest().at.digest.clone();
                Changed { root, manifest, config: derived.config_digest().clone() }
            }
        };
        report(cx, &target, &changed)
    }
}
