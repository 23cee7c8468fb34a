//! `dhow-image save IMAGE…`: a tar for `load`, `docker load` and `podman load`.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use dhow_image::copy::{Choice, copy};
use dhow_image::reference::Reference;
use dhow_image::registry::Settings;
use dhow_image::sink::{Archive, Flavour, to_file};
use dhow_image::source::{Inputs, with};
use dhow_image::store::{Store, Stored};
use dhow_image::transport::{File, Place};
use dhow_image::{Error, Result};

use crate::context::{Context, stdin, stdout};

/// Flags of `save`.
#[derive(Args)]
pub struct Save {
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// Write to a file instead of stdout
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    output: String,
    /// Whom the archive is for
    #[arg(long, value_enum, default_value_t = Format::DockerArchive)]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    DockerArchive,
    OciArchive,
}

impl Save {
    /// Saves; all images are found before the first byte is written.
    pub fn run(self, cx: &Context) -> Result<()> {
        let file = File::new(&self.output);
        if file == File::Std && std::io::stdout().is_terminal() {
            return Err(Error::usage(
                "output",
                "-",
                "a terminal can't take a tar: give -o FILE, or a pipe",
            ));
        }
        let store = cx.store()?;
        let images = grouped(&store, &self.images)?;
        let flavour = match self.format {
            Format::DockerArchive => Flavour::Docker,
            Format::OciArchive => Flavour::Oci,
        };
        let choice = match self.format {
            Format::DockerArchive => Choice::One(None),
            Format::OciArchive => Choice::All,
        };
        let settings = Settings::default();
        let inputs = Inputs::new(&store, &settings, stdin);
        let progress = cx.progress();
        to_file(&file, stdout, |out, title| {
            let sink = Archive::new(out, title, flavour)?;
            for (image, names) in &images {
                let place = Place::Store(image.root.digest.to_string());
                with(&place, &inputs, |source| {
                    copy(source, &sink, &choice.clone().into(), &*progress)
                })?;
                sink.entitle(names)?;
            }
            sink.finish().map(drop)
        })
    }
}

/// Each image once, with those of its names that were typed.
fn grouped(store: &Store, needles: &[String]) -> Result<Vec<(Stored, Vec<Reference>)>> {
    let mut all: Vec<(Stored, Vec<Reference>)> = Vec::new();
    for needle in needles {
        let image = store.find(needle)?;
        let name = Reference::parse_normal(needle).ok().map(Reference::tagged);
        let name = name.filter(|n| image.names.contains(n));
        match all.iter_mut().find(|(i, _)| i.root.digest == image.root.digest) {
            Some((_, names)) => names.extend(name),
            None => all.push((image, name.into_iter().collect())),
        }
    }
    Ok(all)
}
