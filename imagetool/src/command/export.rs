//! `dhow-image export IMAGE|DIRECTORY`: the merged root as a tar.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use dhow_image::layer::{RootDir, export};
use dhow_image::sink::to_file;
use dhow_image::snapshot::Layers;
use dhow_image::transport::File;
use dhow_image::{Error, Result};

use crate::context::{Context, stdout};

/// Flags of `export`.
#[derive(Args)]
pub struct Export {
    /// A name or an id; or the directory of a bundle or root, beginning with `/` or `.`
    #[arg(value_name = "IMAGE|DIRECTORY")]
    what: String,
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

    fn write(&self, cx: &Context, out: impl Write) -> Result<()> {
        if self.what.starts_with(['/', '.']) {
            let root = RootDir::open(root_of(Path::new(&self.what)))?;
            return export(std::slice::from_ref(&root), out).map(drop);
        }
        let store = cx.store()?;
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
