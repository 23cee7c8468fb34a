//! `dhow-image digest IMAGE` and `manifest IMAGE`: what a name leads to, wherever it is.

use std::io::Write;

use clap::Args;
use dhow_image::edit::manifest_of;
use dhow_image::source::{Document, Inputs, with};
use dhow_image::transport::Place;
use dhow_image::{Error, Result};
use serde_json::json;

use crate::cli::RegistryFlags;
use crate::context::{Context, stdin};

/// Which image, and where.
#[derive(Args)]
struct Image {
    /// A name of the store, or a place such as docker://REF or oci:DIR:NAME
    #[arg(value_name = "IMAGE")]
    name: String,
    /// This platform's image of a list, not the list
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    #[command(flatten)]
    registry: RegistryFlags,
}

impl Image {
    fn document(&self, cx: &Context) -> Result<(Place, Document)> {
        let place: Place = self.name.parse()?;
        let platform = cx.platform(self.platform.as_deref())?;
        let (store, settings) = (cx.store_for([&place])?, cx.settings(&self.registry)?);
        let document = with(&place, &Inputs::new(&store, &settings, stdin), |s| match &platform {
            Some(_) => manifest_of(s, platform.as_ref()),
            None => s.root(),
        })?;
        Ok((place, document))
    }
}

/// Flags of `digest`.
#[derive(Args)]
pub struct Digest {
    #[command(flatten)]
    image: Image,
    /// With the repository before it
    #[arg(long)]
    full_ref: bool,
}

impl Digest {
    /// Prints it.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (place, document) = self.image.document(cx)?;
        let digest = &document.at.digest;
        if cx.json {
            let (kind, size) = (&document.at.media_type, document.at.size);
            return cx.print_json(&json!({"digest": digest, "mediaType": kind, "size": size}));
        }
        match (self.full_ref, &place) {
            (false, _) => cx.line(digest),
            (true, Place::Registry(name)) => cx.line(format!("{}@{digest}", name.name())),
            (true, Place::Store(name)) => {
                let name = dhow_image::reference::Reference::parse_normal(name)?;
                cx.line(format!("{}@{digest}", name.name()))
            }
            (true, other) => {
                Err(Error::usage("--full-ref", other.to_string(), "it has no repository"))
            }
        }
    }
}

/// Flags of `manifest`.
#[derive(Args)]
pub struct Manifest {
    #[command(flatten)]
    image: Image,
}

impl Manifest {
    /// Prints it, byte for byte.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (_, document) = self.image.document(cx)?;
        let mut out = std::io::stdout().lock();
        let done = out.write_all(&document.bytes).and_then(|()| out.flush());
        done.map_err(Error::at("write", "stdout"))
    }
}
