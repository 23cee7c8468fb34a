//! `dhow-image load [FILE]`: prints the full name of each image, or its id.

use std::io::IsTerminal;

use clap::Args;
use dhow_image::copy::{Choice, copy};
use dhow_image::reference::Reference;
use dhow_image::sink::Keep;
use dhow_image::source::each;
use dhow_image::transport::File;
use dhow_image::{Error, Result};
use serde_json::{Value, json};

use crate::context::{Context, stdin};

/// Flags of `load`.
#[derive(Args)]
pub struct Load {
    /// The archive, docker's or OCI's, compressed or not; or a directory that holds an OCI layout
    /// or a dir: image
    #[arg(value_name = "FILE", default_value = "-")]
    file: String,
    /// The same, as docker spells it
    #[arg(long, short, value_name = "FILE", conflicts_with = "file")]
    input: Option<String>,
    /// Which platform to take of a list: OS/ARCH[/VARIANT]
    #[arg(long)]
    platform: Option<String>,
    /// Don't unpack the layers yet
    #[arg(long)]
    no_unpack: bool,
}

impl Load {
    /// Loads every image of the archive.
    pub fn run(self, cx: &Context) -> Result<()> {
        let file = File::new(self.input.as_deref().unwrap_or(&self.file));
        if file == File::Std && std::io::stdin().is_terminal() {
            return Err(Error::usage(
                "input",
                "-",
                "a terminal has no tar: give a FILE, or a pipe",
            ));
        }
        let platform = cx.platform(self.platform.as_deref())?;
        let store = cx.store()?;
        let sink = Keep::new(&store, !self.no_unpack)?;
        let progress = cx.progress();
        let mut loaded: Vec<Value> = Vec::new();
        each(&file, &cx.trust(), stdin, sink.spool(), |source, names| {
            let root = copy(source, &sink, &Choice::One(platform.clone()).into(), &*progress)?;
            sink.publish(names)?;
            if cx.json {
                loaded.push(json!({ "names": names, "digest": root.digest }));
                return Ok(());
            }
            if names.is_empty() {
                let image = store.find(&root.digest.to_string())?;
                return cx.line(image.id());
            }
            names.iter().try_for_each(|n: &Reference| cx.line(n))
        })?;
        if cx.json { cx.print_json(&loaded) } else { Ok(()) }
    }
}
