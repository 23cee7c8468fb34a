//! `dhow-image layers IMAGE [DIGEST…]`: skopeo's outdated verb, which puts blobs of an image into
//! a directory `layers-…` here.

use std::collections::HashSet;
use std::io::Read;
use std::path::Path;

use clap::Args;
use dhow_image::digest::Digest;
use dhow_image::inspect::look;
use dhow_image::manifest::{Descriptor, Manifest};
use dhow_image::sink::{Dir, Part, Sink};
use dhow_image::source::{Document, Inputs, Source, with};
use dhow_image::transport::Place;
use dhow_image::{Error, Result};

use crate::cli::RegistryFlags;
use crate::context::{Context, stdin};

/// Flags of `layers`.
#[derive(Args)]
pub struct Layers {
    /// An image in any place; see copy
    image: String,
    /// Which layers, if not all and the config
    #[arg(value_name = "DIGEST")]
    digests: Vec<String>,
    #[command(flatten)]
    registry: RegistryFlags,
}

impl Layers {
    /// Fetches.
    pub fn run(self, cx: &Context) -> Result<()> {
        cx.warn("DEPRECATED: layers is deprecated in favor of copy");
        let place: Place = self.image.parse()?;
        let digest = |text: &String| match text.split_once(':') {
            Some(_) => text.parse::<Digest>(),
            None => format!("sha256:{text}").parse(),
        };
        let wanted: Vec<Digest> = self.digests.iter().map(digest).collect::<Result<_>>()?;
        let (store, settings) = (cx.store_for([&place])?, cx.settings(&self.registry)?);
        let inputs =
            Inputs { tmpdir: cx.tmpdir.as_deref(), ..Inputs::new(&store, &settings, stdin) };
        let platform = cx.platform(None)?;
        with(&place, &inputs, |source| {
            let looked = look(source, platform.as_ref())?;
            source.permit(&looked.chosen)?;
            fetch(source, &looked.chosen, &looked.manifest, &wanted)
        })
    }
}

fn fetch(
    source: &dyn Source,
    document: &Document,
    manifest: &Manifest,
    wanted: &[Digest],
) -> Result<()> {
    let mut seen = HashSet::new();
    let all = manifest.layers.iter().chain([&manifest.config]);
    let all: Vec<&Descriptor> = all.filter(|b| seen.insert(&b.digest)).collect();
    let find = |digest: &Digest| {
        let found = all.iter().copied().find(|b| b.digest == *digest);
        found.ok_or_else(|| Error::NotFound {
            what: "layer",
            name: digest.to_string(),
            hint: "it is none of this image's".into(),
        })
    };
    let chosen = match wanted {
        [] => all.clone(),
        _ => wanted.iter().map(find).collect::<Result<_>>()?,
    };
    let dir = tempfile::Builder::new()
        .prefix("layers-")
        .tempdir_in(".")
        .map_err(Error::at("create a directory in", Path::new(".")))?;
    let sink = Dir::open(dir.path())?;
    for blob in chosen {
        let open = || -> Result<Box<dyn Read + Send + '_>> { source.blob(blob) };
        sink.put(Part { blob, open: &open, spooled: None, layer: None })?;
    }
    sink.document(document, true)?;
    sink.finish()?;
    let _ = dir.keep();
    Ok(())
}
