//! `dhow-image raw add-layer IMAGE TAR`: a tar becomes an image's topmost layer, as it is.

use std::io::Read;

use clap::Args;
use dhow_image::edit::NewLayer;
use dhow_image::layer::compress::inflate;
use dhow_image::{Error, Result};

use crate::cli::RegistryFlags;
use crate::cli::target::{CompressFlag, HistoryFlags, ImageFlag, TagFlag, exactly, noted, report};
use crate::context::{Context, stdin};

/// Flags of `raw add-layer`.
#[derive(Args)]
pub struct AddLayer {
    /// A name of the store or a place such as oci:DIR:TAG, unless --image is given; then a tar, or
    /// `-` for stdin. One that is compressed is added uncompressed
    #[arg(value_name = "[IMAGE] TAR")]
    words: Vec<String>,
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
    history: HistoryFlags,
    #[command(flatten)]
    registry: RegistryFlags,
}

impl AddLayer {
    /// Adds it; everything typed is read before the image is.
    pub fn run(mut self, cx: &Context) -> Result<()> {
        let target = self.image.take(&mut self.words)?;
        let [path] = exactly(std::mem::take(&mut self.words), ["TAR"])?;
        self.tag.get()?;
        self.history.entry(cx, "", "")?;
        let compress = self.compress.get()?;
        let platform = cx.platform(self.platform.as_deref())?;
        let tar = open(&path)?;
        let how = (&self.tag, platform.as_ref());
        let changed = target.edit(cx, &self.registry, how, |draft, spool| {
            let (_, plain) = inflate(tar)?;
            let compress = compress.unwrap_or_else(|| draft.compression());
            let layer = noted(NewLayer::of_tar(spool, compress, plain)?);
            let author = draft.config.author.clone();
            let history = self.history.entry(cx, "dhow-image raw add-layer", &author)?;
            draft.push(layer, history)
        })?;
        report(cx, &target, &changed)
    }
}

fn open(path: &str) -> Result<Box<dyn Read + Send>> {
    if path == "-" {
        return Ok(stdin());
    }
    let file = std::fs::File::open(path).map_err(Error::at("open", path))?;
    if file.metadata().map_err(Error::at("read", path))?.is_dir() {
        return Err(Error::usage("layer", path, "it is a directory, not a tar"));
    }
    Ok(Box::new(file))
}
