//! `dhow-image save IMAGE…`: a tar for `load`, `docker load` and `podman load`.

use std::io::IsTerminal;
use std::path::Path;

use clap::{Args, ValueEnum};
use dhow_image::copy::{Choice, Options, copy};
use dhow_image::manifest::Compression;
use dhow_image::recode::{Kind, Packing, Recode};
use dhow_image::reference::Reference;
use dhow_image::registry::Settings;
use dhow_image::sink::{Archive, Flavour, Outputs, into, to_file};
use dhow_image::source::{Inputs, with};
use dhow_image::store::{Store, Stored};
use dhow_image::transport::{File, Place, Which};
use dhow_image::{Error, Result};

use crate::context::{Context, stdin, stdout};

/// Flags of `save`.
#[derive(Args)]
pub struct Save {
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// Write to a file, or a directory, instead of stdout
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    output: String,
    /// Whom it is for
    #[arg(long, value_enum, default_value_t = Format::DockerArchive)]
    format: Format,
    /// Compress layers that aren't compressed
    #[arg(long, conflicts_with = "uncompressed")]
    compress: bool,
    /// Write all layers uncompressed
    #[arg(long)]
    uncompressed: bool,
    /// As podman's: take every name for an image, which is always done
    #[arg(long, short, hide_short_help = true)]
    multi_image_archive: bool,
    /// This platform's images of lists
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    DockerArchive,
    OciArchive,
    OciDir,
    DockerDir,
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
        match (self.format, &file) {
            (Format::DockerArchive, _) => self.archive(cx, &store, &file, Flavour::Docker, &images),
            (Format::OciArchive, _) => self.archive(cx, &store, &file, Flavour::Oci, &images),
            (_, File::Std) => {
                Err(Error::usage("output", "-", "a pipe takes no directory: name one with -o"))
            }
            (Format::DockerDir, _) if images.len() > 1 => {
                Err(Error::usage("output", &self.output, "a docker-dir holds one image"))
            }
            (format, File::Path(dir)) => self.directory(cx, &store, dir, format, &images),
        }
    }

    /// How an image goes there: of a list one platform's, or all if there is room for a list.
    fn options(&self, cx: &Context, lists: bool, spool: &Path) -> Result<Options> {
        let platform = cx.platform(self.platform.as_deref())?;
        let choice = if lists && platform.is_none() { Choice::All } else { Choice::One(platform) };
        let packing = match (self.compress, self.uncompressed) {
            (true, _) => Packing::Plain(Compression::Gzip),
            (_, true) => Packing::All(Compression::None),
            _ => Packing::AsTheyAre,
        };
        let kind = (self.format == Format::DockerDir).then_some(Kind::Docker);
        let recode = Recode { kind, packing, ..Recode::default() };
        Ok(Options { recode, spool: spool.to_owned(), ..Options::from(choice) })
    }

    fn archive(
        &self,
        cx: &Context,
        store: &Store,
        file: &File,
        flavour: Flavour,
        images: &[Named],
    ) -> Result<()> {
        let (settings, lease) = (Settings::default(), store.lease()?);
        let inputs = Inputs::new(store, &settings, stdin);
        let options = self.options(cx, flavour == Flavour::Oci, lease.dir())?;
        let progress = cx.progress();
        to_file(file, stdout, |out, title| {
            let sink = Archive::new(out, title, flavour)?.named_in_full();
            for (image, names) in images {
                let place = Place::Store(image.root.digest.to_string());
                with(&place, &inputs, |source| copy(source, &sink, &options, &*progress))?;
                sink.entitle(names)?;
            }
            sink.finish().map(drop)
        })
    }

    fn directory(
        &self,
        cx: &Context,
        store: &Store,
        dir: &Path,
        format: Format,
        images: &[Named],
    ) -> Result<()> {
        let (settings, lease) = (Settings::default(), store.lease()?);
        let inputs = Inputs::new(store, &settings, stdin);
        let outputs = Outputs::new(store, &settings, stdout);
        let options = self.options(cx, format == Format::OciDir, lease.dir())?;
        let progress = cx.progress();
        for (image, names) in images {
            let from = Place::Store(image.root.digest.to_string());
            let which = names.first().map_or(Which::Only, |name| Which::Named(name.to_string()));
            let to = match format {
                Format::OciDir => Place::Layout(dir.to_owned(), which),
                _ => Place::Dir(dir.to_owned()),
            };
            with(&from, &inputs, |source| {
                into(&to, &outputs, |sink| copy(source, sink, &options, &*progress))
            })?;
        }
        Ok(())
    }
}

/// An image, and those of its names that were typed.
type Named = (Stored, Vec<Reference>);

/// Each image once, with those of its names that were typed.
fn grouped(store: &Store, needles: &[String]) -> Result<Vec<Named>> {
    let mut all: Vec<Named> = Vec::new();
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
