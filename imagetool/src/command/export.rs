//! `dhow-image export IMAGE|DIRECTORY`: the merged root as a tar.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use dhow_image::edit::Draft;
use dhow_image::layer::merged::Merged;
use dhow_image::layer::{RootDir, export};
use dhow_image::sink::to_file;
use dhow_image::snapshot::Layers;
use dhow_image::source::{Inputs, with};
use dhow_image::stack::{Layer, flatten, lay};
use dhow_image::transport::{File, Place};
use dhow_image::{Error, Result};

use crate::cli::RegistryFlags;
use crate::context::{Context, stdin, stdout};

/// Flags of `export`.
#[derive(Args)]
pub struct Export {
    /// A name or an id, a place such as docker://REF or oci:DIR:NAME; or the directory of a bundle
    /// or root, beginning with `/` or `.`
    #[arg(value_name = "IMAGE|DIRECTORY")]
    what: String,
    /// Which platform's image of a list
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    #[command(flatten)]
    registry: RegistryFlags,
    /// Write to a file instead of stdout
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    output: String,
}

impl Export {
    /// Writes the tar; to a file as a whole or not at all.
    pub fn run(self, cx: &Context) -> Result<()> {
        let file = File::new(&self.output);
        if file == File::Std && std::io::stdout().is_terminal() {
            let why = "a terminal can't take a tar: give -o FILE, or a pipe";
            return Err(Error::usage("output", "-", why));
        }
        to_file(&file, stdout, |out, title| self.write(cx, out).map_err(|e| renamed(e, title)))
    }

    fn write(&self, cx: &Context, mut out: impl Write + Send) -> Result<()> {
        if self.what.starts_with(['/', '.']) {
            let root = RootDir::open(root_of(Path::new(&self.what)))?;
            return export(std::slice::from_ref(&root), out).map(drop);
        }
        let (store, platform) = (cx.store()?, cx.platform(self.platform.as_deref())?);
        let place: Place = self.what.parse()?;
        if !matches!(place, Place::Store(_)) || platform.is_some() {
            // Nothing of it is unpacked on the way.
            let (settings, progress) = (cx.settings(&self.registry)?, cx.progress());
            return with(&place, &Inputs::new(&store, &settings, stdin), |source| {
                let draft = Draft::of(source, platform.as_ref())?;
                let layers: Vec<Layer> =
                    draft.layers().map(|(b, d)| (b.clone(), d.clone())).collect();
                let mut merged = Merged::new(false, false);
                lay(&mut merged, source, &layers, &*progress)?;
                flatten(&merged, source, &layers, &mut out, &*progress)
            });
        }
        let image = store.find(&self.what)?;
        let layers = Layers::open(store.root());
        let chain = layers.unpack(&store, &image)?;
        layers.export(&chain, out).map(drop)
    }
}

/// A bundle's root is where its config says; any other directory is itself one.
fn root_of(dir: &Path) -> PathBuf {
    let config = fs::read(dir.join("config.json")).ok();
    let config = config.and_then(|b| serde_json::from_slice::<serde_json::Value>(&b).ok());
    let path = config.as_ref().and_then(|c| c.pointer("/root/path")?.as_str());
    path.map_or_else(|| dir.to_owned(), |path| dir.join(path))
}

/// Names the stream that could not be written.
fn renamed(error: Error, output: &Path) -> Error {
    match error {
        Error::Io { action, path, source } if path.as_os_str() == "archive" => {
            Error::io(action, output, source)
        }
        other => other,
    }
}
