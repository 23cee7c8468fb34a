//! `dhow-image raw blob IMAGE DIGEST`: a blob of an image, byte for byte.

use std::io::Write;

use clap::Args;
use dhow_image::digest::Digest;
use dhow_image::edit::Draft;
use dhow_image::sink::to_file;
use dhow_image::source::{Inputs, with};
use dhow_image::transport::{File, Place};
use dhow_image::{Error, Result};

use crate::cli::RegistryFlags;
use crate::context::{Context, stdin, stdout};

/// Flags of `raw blob`.
#[derive(Args)]
pub struct Blob {
    /// A name of the store, or a place such as docker://REF or oci:DIR:NAME
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Which blob of it: a layer's or the config's
    #[arg(value_name = "DIGEST")]
    digest: String,
    /// Write to a file instead of stdout
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    output: String,
    /// Which platform's image of a list
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    #[command(flatten)]
    registry: RegistryFlags,
}

impl Blob {
    /// Writes it; to a file as a whole, checked, or not at all.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (place, digest): (Place, Digest) = (self.image.parse()?, self.digest.parse()?);
        let platform = cx.platform(self.platform.as_deref())?;
        let (store, settings) = (cx.store_for([&place])?, cx.settings(&self.registry)?);
        with(&place, &Inputs::new(&store, &settings, stdin), |source| {
            let draft = Draft::of(source, platform.as_ref())?;
            let mut blobs = draft.manifest.layers.iter().chain([&draft.manifest.config]);
            let blob = blobs.find(|b| b.digest == digest).ok_or_else(|| Error::NotFound {
                what: "blob",
                name: format!("{digest} in {}", self.image),
                hint: String::new(),
            })?;
            to_file(&File::new(&self.output), stdout, |mut out, title| {
                let mut from = source.blob(blob)?;
                let mut buffer = vec![0; 1 << 20];
                loop {
                    match from.read(&mut buffer) {
                        Ok(0) => return out.flush().map_err(Error::at("write", title)),
                        Ok(n) => {
                            out.write_all(&buffer[..n]).map_err(Error::at("write", title))?;
                        }
                        Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                        Err(e) => return Err(Error::from_io("read", &self.image, e)),
                    }
                }
            })
        })
    }
}
