//! `dhow manifest create`.

use clap::Args;
use dhow_image::lists::List;

use super::{image, lists, named, settings};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::making::of_image;
use crate::output::Output;

/// Make a local manifest list, to be annotated and pushed
#[derive(Debug, Args)]
pub struct Create {
    /// Change a list that is there
    #[arg(short, long)]
    pub amend: bool,
    /// Allow a registry without TLS
    #[arg(long)]
    pub insecure: bool,
    /// What the list will be called
    #[arg(value_name = "MANIFEST_LIST")]
    pub list: String,
    /// Its images, in the registry
    #[arg(required = true, value_name = "MANIFEST")]
    pub images: Vec<String>,
}

impl Create {
    /// Every image is looked up before the list is changed.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.perform(host, out);
        out.end(result)
    }

    fn perform(&self, host: &Host, out: &mut Output) -> Result<()> {
        let lists = lists(host)?;
        let name = named(&self.list)?;
        let refused =
            || Error::conflict("refusing to amend an existing manifest list with no --amend flag");
        let known = lists.get(&name).map_err(of_image)?;
        if known.is_some() && !self.amend {
            return Err(refused());
        }
        let settings = settings(host, self.insecure)?;
        let known = known.map(|list| list.entries).unwrap_or_default();
        let mut fresh = Vec::new();
        for typed in &self.images {
            let wanted = named(typed)?;
            // What the list has already keeps what was noted of it.
            match known.iter().find(|e| e.reference == wanted) {
                Some(entry) => fresh.push(entry.clone()),
                None => fresh.push(image(&settings, &wanted)?),
            }
        }
        let mut raced = false;
        let changed = lists.change(&name, |list| {
            raced = list.is_some() && !self.amend;
            let mut list =
                list.unwrap_or_else(|| List { reference: name.clone(), entries: Vec::new() });
            if raced {
                return Ok(list);
            }
            list.entries.retain(|old| !fresh.iter().any(|new| new.reference == old.reference));
            list.entries.extend(fresh);
            Ok(list)
        });
        changed.map_err(of_image)?;
        if raced {
            return Err(refused());
        }
        out.line(&format!("Created manifest list {name}"));
        Ok(())
    }
}
