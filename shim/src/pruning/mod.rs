//! Removing what nothing uses: the work of every prune, which words it its own way.

mod cache;
mod containers;
mod images;
mod networks;
mod volumes;

pub use cache::{cache, layers_in_use};
pub use containers::containers;
pub use images::images;
pub use networks::networks;
pub use volumes::volumes;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::error::{Error, Result};
use crate::host::Host;
use crate::options::filters::Filters;
use crate::options::time::moment;

/// What a prune has removed.
#[derive(Debug, Default)]
pub struct Pruned {
    /// Lines of docker's report: ids, names, `untagged: …`.
    pub lines: Vec<String>,
    /// Bytes that came back.
    pub bytes: u64,
}

impl Pruned {
    /// docker's report: a heading and what went, nothing when nothing did.
    pub fn report(&self, heading: &str) -> String {
        if self.lines.is_empty() {
            return String::new();
        }
        format!("{heading}:\n{}\n\n", self.lines.join("\n"))
    }
}

/// `--filter` of a prune.
#[derive(Debug)]
pub struct Wanted {
    filters: Filters,
    until: Option<Timestamp>,
}

impl Wanted {
    /// What was typed, with the labels that config.json's `pruneFilters` adds; only `known`
    /// keys are taken.
    pub fn parse(host: &Host, typed: &[String], known: &[&str]) -> Result<Self> {
        let mut all = typed.to_vec();
        for usual in &host.settings.client()?.prune_filters {
            // As docker: what is typed wins over its opposite.
            let opposite = match usual.strip_prefix("label!=") {
                Some(label) => format!("label={label}"),
                None => usual.replacen("label=", "label!=", 1),
            };
            if known.contains(&"label") && !typed.contains(&opposite) {
                all.push(usual.clone());
            }
        }
        let filters = Filters::parse(&all, known)?;
        let until = match filters.values("until") {
            [] => None,
            [at] => Some(moment("--filter until", at, Timestamp::now())?),
            _ => return Err(Error::usage("more than one until filter specified")),
        };
        Ok(Self { filters, until })
    }

    /// Everything.
    pub fn all() -> Self {
        Self { filters: Filters::default(), until: None }
    }

    /// Whether something with these labels, made then, is meant.
    pub fn fits(&self, labels: &BTreeMap<String, String>, created: Timestamp) -> bool {
        self.until.is_none_or(|until| created <= until)
            && self.filters.labels("label", labels)
            && self.filters.lacks_labels("label!", labels)
    }

    /// How old something has to be.
    pub fn age(&self, now: Timestamp) -> Option<Duration> {
        self.until.map(|until| now.duration_since(until).unsigned_abs())
    }

    /// Whether a time is asked for.
    pub fn has_until(&self) -> bool {
        self.until.is_some()
    }

    /// What is asked for, as it was typed.
    pub fn told(&self) -> Vec<String> {
        let keys = ["label", "label!", "until"].into_iter();
        keys.flat_map(|key| self.filters.values(key).iter().map(move |v| format!("{key}={v}")))
            .collect()
    }

    /// Whether labels are asked for.
    pub fn asks_for_labels(&self) -> bool {
        self.filters.has("label") || self.filters.has("label!")
    }

    /// `all=true` and its like.
    pub fn switch(&self, key: &str) -> Result<Option<bool>> {
        self.filters.switch(key)
    }
}
