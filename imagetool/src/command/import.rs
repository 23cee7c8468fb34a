//! `dhow-image import FILE|URL|- [NAME]`: a tar of a root becomes an image; prints its id.

use std::fs::File;
use std::io;

use clap::Args;
use dhow_image::import::{Options, import};
use dhow_image::reference::Reference;
use dhow_image::registry::download;
use dhow_image::{Error, Result};
use serde_json::json;

use crate::cli::RegistryFlags;
use crate::context::Context;

/// Flags of `import`.
#[derive(Args)]
pub struct Import {
    /// A tar, plain or compressed: a file, a URL, or `-` for stdin
    file: String,
    /// The image's name
    name: Option<String>,
    /// A Dockerfile instruction upon its config: CMD, ENV, …
    #[arg(long = "change", short, value_name = "INSTRUCTION")]
    changes: Vec<String>,
    /// A comment for its history
    #[arg(long, short, default_value_t)]
    message: String,
    /// What it runs on: OS/ARCH[/VARIANT]
    #[arg(long)]
    platform: Option<String>,
    #[command(flatten)]
    registry: RegistryFlags,
}

impl Import {
    /// Imports; name and instructions are read before the stream.
    pub fn run(self, cx: &Context) -> Result<()> {
        let name = self.name.as_deref().map(Reference::parse_normal).transpose()?;
        let name = name.map(Reference::tagged);
        let platform = cx.platform(self.platform.as_deref())?;
        let message = match self.message {
            empty if empty.is_empty() => format!("Imported from {}", self.file),
            given => given,
        };
        let created = Some(cx.now()?);
        let options =
            Options { name: name.clone(), changes: self.changes, message, platform, created };
        let store = cx.store()?;
        let done = match self.file.as_str() {
            "-" => import(&store, io::stdin().lock(), &options)?,
            url if url.starts_with("http://") || url.starts_with("https://") => {
                let settings = cx.settings(&self.registry)?;
                import(&store, download(&settings, url)?, &options)?
            }
            path => {
                let file = File::open(path).map_err(Error::at("open", path))?;
                import(&store, file, &options)?
            }
        };
        for what in done.lost.iter().filter(|_| !cx.quiet) {
            cx.progress().message(&format!("not kept by this file system: {what}"));
        }
        if cx.json {
            let manifest = done.manifest.digest;
            return cx.print_json(&json!({ "id": done.id, "manifest": manifest, "name": name }));
        }
        cx.line(done.id)
    }
}
