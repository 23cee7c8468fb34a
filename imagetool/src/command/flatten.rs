//! `dhow-image flatten IMAGE`: its layers become one, or those above the lowest few.

use clap::Args;
use dhow_image::config::History;
use dhow_image::edit::{Draft, NewLayer};
use dhow_image::layer::merged::Merged;
use dhow_image::stack::{Layer, flatten, lay};
use dhow_image::transport::Place;
use dhow_image::{Error, Result};

use crate::cli::RegistryFlags;
use crate::cli::dest::{Dest, Work};
use crate::cli::target::CompressFlag;
use crate::context::Context;

/// Flags of `flatten`.
#[derive(Args)]
pub struct Flatten {
    /// A name of the store, or a place such as docker://REF or oci:DIR:NAME
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Leave so many of the lowest layers as they are
    #[arg(long, value_name = "N", default_value_t)]
    keep: usize,
    #[command(flatten)]
    dest: Dest,
    #[command(flatten)]
    compress: CompressFlag,
    /// Which platform's image of a list
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    #[command(flatten)]
    registry: RegistryFlags,
}

impl Flatten {
    /// Flattens. The same image gives the same bytes: its time stays what it was.
    pub fn run(self, cx: &Context) -> Result<()> {
        let from: Place = self.image.parse()?;
        let to = self.dest.place(Some(&from))?;
        let compress = self.compress.get()?;
        let work = Work::new(cx, &self.registry, self.platform.as_deref())?;
        let changed = work.with(&from, |source| {
            let mut draft = work.draft(source)?;
            let layers: Vec<Layer> = draft.layers().map(|(b, d)| (b.clone(), d.clone())).collect();
            let Some(above) = layers.get(self.keep..).filter(|l| !l.is_empty() || self.keep == 0)
            else {
                let why = format!("the image has {} layers", layers.len());
                return Err(Error::usage("--keep", self.keep.to_string(), why));
            };
            let how = compress.unwrap_or_else(|| draft.compression());
            let mut merged = Merged::new(false, self.keep > 0);
            lay(&mut merged, source, above, &*work.progress)?;
            let (layer, ()) = NewLayer::pack(work.lease.dir(), how, |out| {
                flatten(&merged, source, above, out, &*work.progress)
            })?;
            let made = History {
                created: draft.config.created.clone(),
                created_by: "dhow-image flatten".into(),
                comment: format!("{} layers of {}", above.len(), draft.base()),
                ..History::default()
            };
            keep(&mut draft, self.keep);
            draft.push(layer, Some(made))?;
            work.put(draft, &to)
        })?;
        work.tell(&changed, &to)
    }
}

/// Drops the layers above the lowest `count`, and what the history tells of them.
fn keep(draft: &mut Draft<'_>, count: usize) {
    draft.keep_layers(count);
    let mut layers = 0;
    draft.config.history.retain(|step| {
        let kept = layers < count;
        layers += usize::from(!step.empty_layer);
        kept
    });
}
