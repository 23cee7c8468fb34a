//! `dhow builder du`.

use std::fmt::Write;

use clap::Args;
use dhow_image::build::cache::{self, Entry};
use jiff::Timestamp;

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::making::of_image;
use crate::output::{Output, human};

/// Show how much space what of earlier builds takes
#[derive(Debug, Args)]
pub struct Du {
    /// Only what matches KEY=VALUE: until, id, type, description, inuse, shared, …
    #[arg(long, value_name = "FILTER")]
    pub filter: Vec<String>,
    /// All that is known of each
    #[arg(long)]
    pub verbose: bool,
}

impl Du {
    /// buildx's table, with its sums.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.perform(host, out);
        out.end(result)
    }

    fn perform(&self, host: &Host, out: &mut Output) -> Result<()> {
        let filter = super::filter(&self.filter, true, 0)?;
        filter.check().map_err(|e| Error::usage(e.to_string()))?;
        let mut entries = cache::usage(host.images()?).map_err(of_image)?;
        let now = Timestamp::now();
        entries.retain(|entry| filter.shows(entry, now));
        let text = if self.verbose { whole(&entries) } else { table(&entries) };
        out.text(&text);
        if self.filter.is_empty() {
            out.text(&sums(&entries));
        }
        Ok(())
    }
}

/// Go's tabwriter with columns a tab wide is not for people: blanks it is.
pub(super) fn table(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let now = Timestamp::now();
    let mut text = format!("{:<41}{:<12}{:<12}LAST ACCESSED\n", "ID", "RECLAIMABLE", "SIZE");
    for entry in entries {
        let mutable = if entry.is_mutable() { "*" } else { "" };
        let shared = if entry.shared { "*" } else { "" };
        let size = format!("{}{shared}", human::size(entry.size));
        let used = entry.last_used.map(|then| human::ago(then, now)).unwrap_or_default();
        let id = format!("{}{mutable}", entry.id);
        let _ = writeln!(text, "{id:<41}{:<12}{size:<12}{used}", !entry.in_use);
    }
    text
}

fn whole(entries: &[Entry]) -> String {
    let now = Timestamp::now();
    let mut text = String::new();
    for entry in entries {
        let mut row = |key: &str, value: &str| {
            if !value.is_empty() {
                let _ = writeln!(text, "{:<14}{value}", format!("{key}:"));
            }
        };
        row("ID", &entry.id);
        row("Parents", &entry.parents.join(","));
        row("Created at", &entry.created.map(human::stamp).unwrap_or_default());
        row("Mutable", &entry.is_mutable().to_string());
        row("Reclaimable", &(!entry.in_use).to_string());
        row("Shared", &entry.shared.to_string());
        row("Size", &human::size(entry.size));
        row("Description", &entry.text);
        row("Last used", &entry.last_used.map(|then| human::ago(then, now)).unwrap_or_default());
        row("Type", entry.kind.word());
        text.push('\n');
    }
    text
}

fn sums(entries: &[Entry]) -> String {
    let sum = |fits: &dyn Fn(&Entry) -> bool| -> u64 {
        entries.iter().filter(|e| fits(e)).map(|e| e.size).sum()
    };
    let shared = sum(&|e| e.shared);
    let mut rows = Vec::new();
    if shared > 0 {
        rows.push(("Shared", shared));
        rows.push(("Private", sum(&|e| !e.shared)));
    }
    rows.push(("Reclaimable", sum(&|e| !e.in_use && !e.shared)));
    rows.push(("Total", sum(&|_| true)));
    let row =
        |(name, size): (&str, u64)| format!("{:<14}{}\n", format!("{name}:"), human::size(size));
    rows.into_iter().map(row).collect()
}
