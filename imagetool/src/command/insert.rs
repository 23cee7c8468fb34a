//! `dhow-image insert IMAGE SOURCE TARGET`: a file or a tree becomes an image's topmost layer.

use std::path::Path;

use clap::Args;
use dhow_image::Result;
use dhow_image::bundle::insert::{self, Target};
use dhow_image::edit::NewLayer;
use dhow_image::layer::Adjust;
use nix::unistd::{getegid, geteuid};

use crate::cli::RegistryFlags;
use crate::cli::maps::MapFlags;
use crate::cli::target::{CompressFlag, HistoryFlags, ImageFlag, TagFlag, exactly, noted, report};
use crate::context::Context;

/// Flags of `insert`.
#[derive(Args)]
pub struct Insert {
    /// A name of the store or a place such as oci:DIR:TAG, unless --image is given; then a file or
    /// a directory, and where in the image it goes; with --whiteout a path of the image only
    #[arg(value_name = "[IMAGE] SOURCE TARGET")]
    words: Vec<String>,
    /// Take away what is at TARGET
    #[arg(long, conflicts_with = "opaque")]
    whiteout: bool,
    /// Of a directory that was at TARGET nothing stays
    #[arg(long)]
    opaque: bool,
    #[command(flatten)]
    image: ImageFlag,
    #[command(flatten)]
    tag: TagFlag,
    #[command(flatten)]
    compress: CompressFlag,
    /// Which platform's image of a list
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    #[command(flatten)]
    maps: MapFlags,
    #[command(flatten)]
    history: HistoryFlags,
    #[command(flatten)]
    registry: RegistryFlags,
}

impl Insert {
    /// Inserts; everything typed is read before the image is.
    pub fn run(mut self, cx: &Context) -> Result<()> {
        let image = self.image.take(&mut self.words)?;
        let words = std::mem::take(&mut self.words);
        let (from, to) = if self.whiteout {
            let [to] = exactly(words, ["TARGET"])?;
            (None, to)
        } else {
            let [from, to] = exactly(words, ["SOURCE", "TARGET"])?;
            (Some(from), to)
        };
        let to = Target::new(&to)?;
        self.tag.get()?;
        self.history.entry(cx, "", "")?;
        let compress = self.compress.get()?;
        let manner = self.maps.manner((geteuid().as_raw(), getegid().as_raw()))?;
        let newest = cx.epoch()?.map(jiff::Timestamp::as_second);
        let platform = cx.platform(self.platform.as_deref())?;
        let how = (&self.tag, platform.as_ref());
        let changed = image.edit(cx, &self.registry, how, |draft, spool| {
            let compress = compress.unwrap_or_else(|| draft.compression());
            let adjust = Adjust::new(&manner, newest);
            let (layer, _) = NewLayer::pack(spool, compress, |out| match &from {
                Some(from) => insert::insert(Path::new(from), &to, self.opaque, adjust, out),
                None => insert::whiteout(&to, adjust, out),
            })?;
            draft.push(noted(layer), self.history.entry(cx, "dhow-image insert", "")?)
        })?;
        report(cx, &image, &changed)
    }
}
