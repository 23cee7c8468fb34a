//! `dhow manifest inspect`.

use clap::Args;
use dhow_image::lists::{Entry, Remote, indent};
use dhow_image::reference::Reference;

use super::{lists, missing, named, of_remote, settings};
use crate::error::Result;
use crate::exit::Exit;
use crate::host::Host;
use crate::making::of_image;
use crate::output::Output;

/// Show a manifest or a manifest list
#[derive(Debug, Args)]
pub struct Inspect {
    /// Allow a registry without TLS
    #[arg(long)]
    pub insecure: bool,
    /// Layers and platforms too
    #[arg(short, long)]
    pub verbose: bool,
    /// [MANIFEST_LIST] MANIFEST: an image of a local list, a local list, or what a registry has
    #[arg(required = true, num_args = 1..=2, value_name = "MANIFEST")]
    pub names: Vec<String>,
}

impl Inspect {
    /// JSON as docker lays it out.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.text(host).map(|text| out.line(&text));
        out.end(result)
    }

    fn text(&self, host: &Host) -> Result<String> {
        let lists = lists(host)?;
        if let [list, image] = &self.names[..] {
            let (list, image) = (named(list)?, named(image)?);
            let found = lists.get(&list).map_err(of_image)?.ok_or_else(|| missing(&list))?;
            let entry = found.entries.into_iter().find(|e| e.reference == image);
            return Ok(self.image(&entry.ok_or_else(|| missing(&image))?));
        }
        let name = named(&self.names[0])?;
        if let Some(list) = lists.get(&name).map_err(of_image)? {
            return self.list(&name, &list.entries);
        }
        let settings = settings(host, self.insecure)?;
        match lists::remote(&settings, &name).map_err(|e| of_remote(e, &name))? {
            Remote::Image(entry) => Ok(self.image(&entry)),
            Remote::List(entries) => self.list(&name, &entries),
        }
    }

    fn image(&self, entry: &Entry) -> String {
        if self.verbose { entry.described("") } else { indent(&entry.raw, "\t", "") }
    }

    fn list(&self, name: &Reference, entries: &[Entry]) -> Result<String> {
        if !self.verbose {
            return lists::document(name, entries).map(|(text, _)| text).map_err(of_image);
        }
        let all: Vec<String> = entries.iter().map(|e| format!("\t{}", e.described("\t"))).collect();
        Ok(format!("[\n{}\n]", all.join(",\n")))
    }
}
