//! `dhow-image push IMAGE [DEST]`: prints `NAME@DIGEST`.

use clap::Args;
use dhow_image::copy::{self, Choice};
use dhow_image::recode::Recode;
use dhow_image::reference::Reference;
use dhow_image::sink::{Outputs, into};
use dhow_image::source::{Inputs, with};
use dhow_image::transport::Place;
use dhow_image::{Error, Result};
use serde_json::json;

use crate::cli::RegistryFlags;
use crate::cli::trust::SignFlags;
use crate::context::{Context, stdin, stdout};

/// Flags of `push`.
#[derive(Args)]
pub struct Push {
    /// A name or an id
    image: String,
    /// Where to, if not to the image's own name
    #[arg(value_name = "DEST")]
    to: Option<String>,
    /// Upload in chunks of so many bytes
    #[arg(long, value_name = "BYTES")]
    chunk_size: Option<u64>,
    #[command(flatten)]
    signing: SignFlags,
    #[command(flatten)]
    registry: RegistryFlags,
}

impl Push {
    /// Pushes.
    pub fn run(self, cx: &Context) -> Result<()> {
        let store = cx.store()?;
        let image = store.find(&self.image)?;
        let to = self.to.as_deref().unwrap_or(&self.image);
        let to = to.strip_prefix("docker://").unwrap_or(to);
        let reference = Reference::parse_normal(to)?.tagged();
        if self.to.is_none() && !image.names.contains(&reference) {
            return Err(Error::usage("name", &self.image, "an id needs a DEST to be pushed to"));
        }
        let settings = cx.settings(&self.registry)?;
        let inputs = Inputs::new(&store, &settings, stdin);
        let outputs = Outputs {
            mount_from: image.neighbour(&reference),
            chunk: self.chunk_size,
            ..Outputs::new(&store, &settings, stdout)
        };
        let progress = cx.progress();
        let signing = self.signing.signing(None)?;
        let recode = Recode::pushed();
        let options = copy::Options { signing, recode, spool: cx.spool(), ..Choice::All.into() };
        let from = Place::Store(self.image);
        let pushed = with(&from, &inputs, |source| {
            into(&Place::Registry(reference.clone()), &outputs, |sink| {
                copy::copy(source, sink, &options, &*progress)
            })
        })?;
        if cx.json {
            return cx.print_json(&json!({
                "reference": reference, "digest": pushed.digest, "size": pushed.size,
            }));
        }
        cx.line(reference.with_digest(&pushed.digest))
    }
}
