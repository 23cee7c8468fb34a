//! `dhow stats`.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value};

use crate::error::Result;
use crate::exit::Exit;
use crate::host::Host;
use crate::model::{Record, Status};
use crate::monitor;
use crate::output::{Column, Format, Output, human, listing};
use crate::usage::{Sample, cpu_percent};

/// Between two looks of a live view.
const PERIOD: Duration = Duration::from_secs(1);
/// The window of a single look.
const WINDOW: Duration = Duration::from_millis(250);

/// Show what containers use: CPU, memory, network, block I/O
#[derive(Debug, Args)]
pub struct Stats {
    /// Those that don't run, too
    #[arg(short, long)]
    pub all: bool,
    /// A Go template a row, table TEMPLATE, or json
    #[arg(long, value_name = "TEMPLATE")]
    pub format: Option<String>,
    /// One look, then end
    #[arg(long)]
    pub no_stream: bool,
    /// Whole ids
    #[arg(long)]
    pub no_trunc: bool,
    /// Names or ids; none means all that run
    #[arg(value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

const COLUMNS: [Column; 8] = [
    ("CONTAINER ID", "ID"),
    ("NAME", "Name"),
    ("CPU %", "CPUPerc"),
    ("MEM USAGE / LIMIT", "MemUsage"),
    ("MEM %", "MemPerc"),
    ("NET I/O", "NetIO"),
    ("BLOCK I/O", "BlockIO"),
    ("PIDS", "PIDs"),
];
const MORE: [Column; 1] = [("CONTAINER", "Container")];

/// A container to show, under the name it was asked for.
struct Shown {
    typed: String,
    record: Record,
    /// None while it doesn't run.
    sample: Option<Sample>,
}

impl Stats {
    /// A row a container, once or again and again.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.perform(host, out);
        out.end(result)
    }

    fn perform(&self, host: &Host, out: &mut Output) -> Result<()> {
        let settings = host.settings.client()?.stats_format.clone();
        let format = Format::of(self.format.as_deref().or(settings.as_deref()), false)?;
        let mut before = samples(&self.look(host)?);
        std::thread::sleep(WINDOW);
        loop {
            let shown = self.look(host)?;
            let rows: Vec<_> = shown.iter().map(|one| self.row(one, &before)).collect();
            let all = [&COLUMNS[..], &MORE[..]].concat();
            let text = listing(&rows, &format, &COLUMNS, &all, "ID")?;
            if self.no_stream {
                out.text(&text);
                return Ok(());
            }
            if std::io::stdout().is_terminal() {
                out.control(redrawn(&text).as_bytes());
            } else {
                out.text(&text);
            }
            before = samples(&shown);
            std::thread::sleep(PERIOD);
        }
    }

    /// What is to be shown now. A container that goes leaves the list; one that was named must be there.
    fn look(&self, host: &Host) -> Result<Vec<Shown>> {
        let mut all = Vec::new();
        if self.containers.is_empty() {
            for found in host.containers.list()? {
                let typed = found.record.short_id().to_owned();
                let shown = look_at(host, found.record, typed)?;
                all.extend(Some(shown).filter(|shown| self.all || shown.sample.is_some()));
            }
        }
        for needle in &self.containers {
            let record = host.containers.find(needle)?.record;
            all.push(look_at(host, record, needle.clone())?);
        }
        Ok(all)
    }

    fn row(&self, shown: &Shown, before: &HashMap<String, Sample>) -> Map<String, Value> {
        let record = &shown.record;
        let now = shown.sample.unwrap_or_else(Sample::none);
        let percent = before.get(&record.id).map_or(0.0, |before| cpu_percent(before, &now));
        let pair =
            |word: fn(u64) -> String, (a, b): (u64, u64)| format!("{} / {}", word(a), word(b));
        let id = if self.no_trunc { record.id.as_str() } else { record.short_id() };
        let fields = [
            ("Container", shown.typed.clone()),
            ("ID", id.to_owned()),
            ("Name", record.name.clone()),
            ("CPUPerc", format!("{percent:.2}%")),
            ("MemUsage", pair(human::memory, (now.memory, now.limit))),
            ("MemPerc", format!("{:.2}%", part(now.memory, now.limit))),
            ("NetIO", pair(human::short_size, now.network)),
            ("BlockIO", pair(human::short_size, now.io)),
            ("PIDs", now.pids.to_string()),
        ];
        fields.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect()
    }
}

fn look_at(host: &Host, record: Record, typed: String) -> Result<Shown> {
    let state = monitor::state(host, &record)?;
    let alive = matches!(state.status, Status::Running | Status::Paused);
    // As docker: only a network of its own is the container's to count.
    let network = !matches!(record.host_config.network_mode.as_str(), "host" | "none");
    let sample = if alive { Sample::take(state.pid, &record.id, network) } else { None };
    Ok(Shown { typed, record, sample })
}

fn samples(shown: &[Shown]) -> HashMap<String, Sample> {
    shown.iter().filter_map(|one| Some((one.record.id.clone(), one.sample?))).collect()
}

#[allow(clippy::cast_precision_loss)] // for people
fn part(bytes: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { bytes as f64 / of as f64 * 100.0 }
}

/// Over what stood there before, line by line, so that nothing flickers.
fn redrawn(text: &str) -> String {
    format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"))
}
