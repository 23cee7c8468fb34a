//! `dhow-image prune`: removes images that nothing uses, by the rules of docker's image prune.

use std::collections::HashSet;

use clap::Args;
use dhow_image::moment::moment;
use dhow_image::store::{Store, Stored};
use dhow_image::{Error, Result};
use jiff::Timestamp;
use serde_json::json;

use super::table::human;
use crate::context::Context;

/// Flags of `prune`.
#[derive(Args)]
pub struct Prune {
    /// Images with names, too
    #[arg(long, short)]
    all: bool,
    /// Only what fits: until=TIME|AGE, label=KEY[=VALUE], label!=KEY[=VALUE], dangling=BOOL
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Taken as docker takes it: nothing is asked
    #[arg(long, short, hide_short_help = true)]
    force: bool,
}

impl Prune {
    /// Prints what went.
    pub fn run(self, cx: &Context) -> Result<()> {
        let wanted = Wanted::parse(&self.filter)?;
        let all = self.all || wanted.dangling == Some(false);
        let store = cx.store()?;
        let used = store.images_in_use()?;
        let gone = store.prune(&HashSet::new(), |image| {
            let idle = !used.contains(&image.id().to_string());
            Ok(idle && (all || image.names.is_empty()) && wanted.fits(&store, image)?)
        })?;
        let freed: u64 = gone.iter().map(|(_, removed)| removed.freed).sum();
        let untagged: Vec<&String> = gone.iter().flat_map(|(_, r)| &r.untagged).collect();
        let deleted: Vec<_> = gone.iter().flat_map(|(_, r)| &r.deleted).collect();
        if cx.json {
            let shape = json!({ "untagged": untagged, "deleted": deleted, "freed": freed });
            return cx.print_json(&shape);
        }
        untagged.iter().try_for_each(|name| cx.line(format!("Untagged: {name}")))?;
        deleted.iter().try_for_each(|digest| cx.line(format!("Deleted: {digest}")))?;
        if freed > 0 && !cx.quiet {
            cx.line(format!("{} of blobs", human(freed)))?;
        }
        Ok(())
    }
}

/// `--filter`.
#[derive(Default)]
struct Wanted {
    until: Option<Timestamp>,
    labels: Vec<String>,
    without: Vec<String>,
    dangling: Option<bool>,
}

impl Wanted {
    fn parse(filters: &[String]) -> Result<Self> {
        let mut wanted = Self::default();
        for text in filters {
            let bad = |why: &str| Error::usage("filter", text, why);
            if let Some(label) = text.strip_prefix("label!=") {
                wanted.without.push(label.to_owned());
                continue;
            }
            match text.split_once('=') {
                Some(("label", label)) => wanted.labels.push(label.to_owned()),
                Some(("until", _)) if wanted.until.is_some() => {
                    return Err(bad("until can be given once"));
                }
                Some(("until", at)) => {
                    let why = "write 2026-01-02T15:04:05, seconds since 1970, or an age as 10m";
                    wanted.until = Some(moment(at, Timestamp::now()).ok_or_else(|| bad(why))?);
                }
                Some(("dangling", "true" | "1")) => wanted.dangling = Some(true),
                Some(("dangling", "false" | "0")) => wanted.dangling = Some(false),
                Some(("dangling", _)) => return Err(bad("dangling is true or false")),
                _ => return Err(bad("use until=, label=, label!= or dangling=")),
            }
        }
        Ok(wanted)
    }

    fn fits(&self, store: &Store, image: &Stored) -> Result<bool> {
        let created = image.created.as_deref().and_then(|text| text.parse().ok());
        let created: Timestamp = created.unwrap_or(Timestamp::UNIX_EPOCH);
        if self.until.is_some_and(|until| created > until) {
            return Ok(false);
        }
        if self.labels.is_empty() && self.without.is_empty() {
            return Ok(true);
        }
        let labels = image.config(store)?.config.labels;
        let has = |wanted: &String| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|have| have == value),
            None => labels.contains_key(wanted),
        };
        Ok(self.labels.iter().all(has) && !self.without.iter().any(has))
    }
}
