//! `dhow-image search TERM`: a registry's images by words; names alone with --quiet.

use clap::Args;
use dhow_image::Result;
use dhow_image::registry::search;
use serde_json::{Value, json};

use super::table::table;
use crate::cli::RegistryFlags;
use crate::context::Context;

/// Flags of `search`.
#[derive(Args)]
pub struct Search {
    /// Words; `HOST[:PORT]/WORDS` for a registry other than Docker Hub
    #[arg(value_name = "TERM")]
    term: String,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 25)]
    limit: usize,
    #[command(flatten)]
    registry: RegistryFlags,
}

impl Search {
    /// Searches.
    pub fn run(self, cx: &Context) -> Result<()> {
        let found = search(&cx.settings(&self.registry)?, &self.term, self.limit)?;
        let host = dhow_image::registry::split_term(&self.term)?.0;
        let name = |short: &str| match host {
            "docker.io" => format!("docker.io/{short}"),
            host => format!("{host}/{}", short.strip_prefix(&format!("{host}/")).unwrap_or(short)),
        };
        if cx.json {
            let shape = |f: &dhow_image::registry::Found| {
                json!({ "name": name(&f.name), "description": f.description,
                        "stars": f.star_count, "official": f.is_official })
            };
            return cx.print_json(&found.iter().map(shape).collect::<Vec<Value>>());
        }
        if cx.quiet {
            return found.iter().try_for_each(|f| cx.line(tame(&name(&f.name))));
        }
        let mut rows = vec![["NAME", "STARS", "OFFICIAL", "DESCRIPTION"].map(str::to_owned)];
        for f in &found {
            let official = if f.is_official { "yes" } else { "-" };
            let about: String = tame(&f.description).chars().take(60).collect();
            rows.push([tame(&name(&f.name)), f.star_count.to_string(), official.into(), about]);
        }
        table(&rows).iter().try_for_each(|line| cx.line(line))
    }
}

/// What a stranger wrote, without control characters.
fn tame(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
