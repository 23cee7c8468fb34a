//! `dhow save`.

use std::io::BufWriter;
use std::path::{Path, PathBuf};

use clap::Args;
use dhow_image::copy::{Choice, copy};
use dhow_image::platform::Platform;
use dhow_image::progress::Silent;
use dhow_image::reference::Reference;
use dhow_image::registry::Settings;
use dhow_image::sink::{Archive, Flavour};
use dhow_image::source::{Inputs, with};
use dhow_image::store::Stored;
use dhow_image::transport::Place;

use crate::error::{Error, Result};
use crate::events;
use crate::exit::Exit;
use crate::host::Host;
use crate::making::{local, of_image, platform};
use crate::output::{Output, file};

/// Write images as a tar
#[derive(Debug, Args)]
pub struct Save {
    /// To this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// os/arch[/variant]
    #[arg(long, value_delimiter = ',')]
    pub platform: Vec<String>,
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
}

impl Save {
    /// An archive for `load`, docker's and podman's too. All images are found first.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.perform(host);
        out.end(result)
    }

    fn perform(&self, host: &Host) -> Result<()> {
        let images = self.grouped(host)?;
        let store = host.images()?;
        let path = self.output.as_deref();
        let title = path.unwrap_or(Path::new("stdout")).to_owned();
        file::write(path, |out| {
            let settings = Settings::default();
            let inputs = Inputs::new(store, &settings, nothing);
            let write = || -> dhow_image::Result<()> {
                let out = BufWriter::with_capacity(1 << 18, out);
                let sink = Archive::new(out, &title, Flavour::Docker)?;
                for (image, names) in &images {
                    let place = Place::Store(image.root.digest.to_string());
                    with(&place, &inputs, |source| {
                        copy(source, &sink, &Choice::One(None).into(), &Silent)
                    })?;
                    sink.entitle(names)?;
                    let id = image.id().to_string();
                    events::of_image(&host.paths, "save", &id, &id);
                }
                sink.finish().map(drop)
            };
            write().map_err(of_image)
        })
    }

    /// Each image once, with those of its names that were typed. A repository without a tag
    /// means all its tags, as in docker.
    fn grouped(&self, host: &Host) -> Result<Vec<(Stored, Vec<Reference>)>> {
        let store = host.images()?;
        let wanted = platform::parse_all(&self.platform)?;
        let known = store.images().map_err(of_image)?;
        let mut all: Vec<(Stored, Vec<Reference>)> = Vec::new();
        let mut add = |image: &Stored, name: Option<Reference>| match all
            .iter_mut()
            .find(|(i, _)| i.root.digest == image.root.digest)
        {
            Some((_, names)) => names.extend(name.filter(|n| !names.contains(n))),
            None => all.push((image.clone(), name.into_iter().collect())),
        };
        for needle in &self.images {
            let typed = Reference::parse_normal(needle).ok();
            let bare = typed.as_ref().filter(|t| t.tag().is_none() && t.digest().is_none());
            let mut found = false;
            for image in known.iter().filter(|_| bare.is_some()) {
                for name in
                    image.names.iter().filter(|n| bare.is_some_and(|b| b.name() == n.name()))
                {
                    add(image, Some(name.clone()));
                    found = true;
                }
            }
            if found {
                continue;
            }
            let image = local(store, needle)?;
            let name = typed.map(Reference::tagged).filter(|n| image.names.contains(n));
            // `hello` is short for a name that docker's rules would not make of it.
            let short = image.names.first().filter(|n| n.to_string() == crate::making::HELLO);
            add(&image, name.or_else(|| short.cloned()));
        }
        for (image, _) in &all {
            let fits = |wanted: &Platform| image.platform.fits(wanted).is_some();
            if let (Some(first), false) = (wanted.first(), wanted.iter().any(fits)) {
                return Err(Error::not_found(format!(
                    "no suitable export target found for platform {first}: {} is for {}",
                    image.title(),
                    image.platform
                )));
            }
        }
        Ok(all)
    }
}

fn nothing() -> Box<dyn std::io::Read + Send> {
    Box::new(std::io::empty())
}
