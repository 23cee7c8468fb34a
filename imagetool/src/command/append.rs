//! `dhow-image append -f TAR… [-b BASE]`: tars become layers upon an image, as crane has it.

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::Args;
use dhow_image::config::History;
use dhow_image::edit::{Draft, NewLayer};
use dhow_image::layer::compress::inflate;
use dhow_image::manifest::Compression;
use dhow_image::platform::Platform;
use dhow_image::transport::Place;
use dhow_image::{Error, Result};

use crate::cli::RegistryFlags;
use crate::cli::dest::{Dest, Work};
use crate::cli::target::CompressFlag;
use crate::command::rebase::annotate;
use crate::context::{Context, stdin};

/// Flags of `append`.
#[derive(Args)]
pub struct Append {
    /// The image to append to: a name of the store or a place; without it, an empty one
    #[arg(long, short, value_name = "IMAGE")]
    base: Option<String>,
    /// A tar that becomes a layer, compressed or not; `-` is stdin. The last comes on top
    #[arg(
        long = "new_layer",
        short = 'f',
        visible_alias = "layer",
        value_name = "TAR",
        required = true,
        value_delimiter = ','
    )]
    layers: Vec<PathBuf>,
    #[command(flatten)]
    dest: Dest,
    /// Note in the result's annotations which image it is based on
    #[arg(long)]
    set_base_image_annotations: bool,
    #[command(flatten)]
    compress: CompressFlag,
    /// Which platform's image of a list; without a base, what the image is for
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    #[command(flatten)]
    registry: RegistryFlags,
}

impl Append {
    /// Appends.
    pub fn run(self, cx: &Context) -> Result<()> {
        let from = self.base.as_deref().map(str::parse::<Place>).transpose()?;
        let to = self.dest.place(from.as_ref())?;
        let compress = self.compress.get()?;
        let work = Work::new(cx, &self.registry, self.platform.as_deref())?;
        let changed = match &from {
            Some(from) => work.with(from, |source| {
                let mut draft = work.draft(source)?;
                if self.set_base_image_annotations {
                    annotate(&mut draft, from, &source.root()?.at.digest)?;
                }
                add_all(cx, &work, &mut draft, &self.layers, compress)?;
                work.put(draft, &to)
            })?,
            None if self.set_base_image_annotations => {
                let why = "there is no base: name one with -b";
                return Err(Error::usage("--set-base-image-annotations", "true", why));
            }
            None => {
                let platform = work.platform.clone().unwrap_or_else(Platform::host);
                let mut draft = Draft::scratch(&platform, Some(cx.now()?))?;
                add_all(cx, &work, &mut draft, &self.layers, compress)?;
                work.put(draft, &to)?
            }
        };
        work.tell(&changed, &to)
    }
}

/// Puts tars upon an image.
pub fn add_all(
    cx: &Context,
    work: &Work<'_>,
    draft: &mut Draft<'_>,
    tars: &[PathBuf],
    compress: Option<Compression>,
) -> Result<()> {
    for path in tars {
        let (_, plain) = inflate(open(path)?)?;
        let how = compress.unwrap_or_else(|| draft.compression());
        let layer = NewLayer::of_tar(work.lease.dir(), how, plain)?;
        let made = History {
            created: Some(cx.now()?),
            created_by: "dhow-image append".into(),
            ..History::default()
        };
        draft.push(layer, Some(made))?;
    }
    Ok(())
}

fn open(path: &Path) -> Result<Box<dyn std::io::Read + Send>> {
    if path.as_os_str() == "-" {
        return Ok(stdin());
    }
    let file = File::open(path).map_err(Error::at("open", path))?;
    if file.metadata().map_err(Error::at("read", path))?.is_dir() {
        let path = path.display().to_string();
        return Err(Error::usage("layer", path, "it is a directory, not a tar"));
    }
    Ok(Box::new(file))
}
