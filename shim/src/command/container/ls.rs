//! `dhow ps`.

use clap::Args;
use jiff::Timestamp;

use crate::command::container::row::{Names, row};
use crate::error::Result;
use crate::exit::Exit;
use crate::host::Host;
use crate::model::{Record, Status};
use crate::options::containers::Wanted;
use crate::output::{Column, Format, Output, human, listing};
use crate::store::size_of;

/// List containers
#[derive(Debug, Args)]
pub struct Ls {
    /// Stopped ones too
    #[arg(short, long)]
    pub all: bool,
    /// Keep what matches KEY=VALUE: ancestor, before, exited, expose, health, id, label, name, network,
    /// publish, since, status, volume
    #[arg(short, long, value_name = "FILTER")]
    pub filter: Vec<String>,
    /// A Go template a row, table TEMPLATE, or json
    #[arg(long, value_name = "TEMPLATE")]
    pub format: Option<String>,
    /// The N newest in any state
    #[arg(short = 'n', long, value_name = "N", default_value_t = -1, allow_negative_numbers = true,
        hide_default_value = true)]
    pub last: i64,
    /// The newest in any state
    #[arg(short, long)]
    pub latest: bool,
    /// Whole ids and commands
    #[arg(long)]
    pub no_trunc: bool,
    /// Ids only
    #[arg(short, long)]
    pub quiet: bool,
    /// Measure what each has written
    #[arg(short, long)]
    pub size: bool,
}

const COLUMNS: [Column; 7] = [
    ("CONTAINER ID", "ID"),
    ("IMAGE", "Image"),
    ("COMMAND", "Command"),
    ("CREATED", "RunningFor"),
    ("STATUS", "Status"),
    ("PORTS", "Ports"),
    ("NAMES", "Names"),
];

const MORE: [Column; 8] = [
    ("CREATED AT", "CreatedAt"),
    ("STATE", "State"),
    ("SIZE", "Size"),
    ("LABELS", "Labels"),
    ("MOUNTS", "Mounts"),
    ("LOCAL VOLUMES", "LocalVolumes"),
    ("NETWORKS", "Networks"),
    ("PLATFORM", "Platform"),
];

const RAW: &str = "container_id: {{.ID}}
image: {{.Image}}
command: {{.Command}}
created_at: {{.CreatedAt}}
state: {{- pad .State 1 0}}
status: {{- pad .Status 1 0}}
names: {{.Names}}
labels: {{- pad .Labels 1 0}}
ports: {{- pad .Ports 1 0}}
";

impl Ls {
    /// A row a container, newest first.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.text(host, out).map(|text| out.text(&text));
        out.end(result)
    }

    fn text(&self, host: &Host, out: &Output) -> Result<String> {
        let format = self.shape(host, out)?;
        format.check(&[&COLUMNS[..], &MORE[..]].concat())?;
        let filters = Wanted::parse(&self.filter)?;
        let last = if self.latest { 1 } else { self.last };
        let everything = self.all || last > 0 || filters.names_a_state();
        let mut found = crate::monitor::containers(host, !everything)?;
        let filters = filters.settle(host)?;
        found.retain(|c| {
            let alive = c.state.status.is_alive() || c.state.status == Status::Restarting;
            (everything || alive) && filters.fit(c)
        });
        if last > 0 {
            found.truncate(last as usize);
        }
        let now = Timestamp::now();
        let images = Names::of(host);
        let rows: Vec<_> = found
            .iter()
            .map(|c| row(c, now, &images, self.no_trunc, self.measured(host, &c.record)))
            .collect();
        let mut columns = COLUMNS.to_vec();
        if self.size {
            columns.push(("SIZE", "Size"));
        }
        let text = listing(&rows, &format, &columns, &[&COLUMNS[..], &MORE[..]].concat(), "ID");
        // The program is about to end: that frees them all at once.
        std::mem::forget((rows, found));
        text
    }

    /// Here `-q` wins over a template.
    fn shape(&self, host: &Host, out: &Output) -> Result<Format> {
        let typed = self.format.as_deref().filter(|f| !f.is_empty());
        if self.quiet && typed.is_some() {
            out.note("WARNING: Ignoring custom format, because both --format and --quiet are set.");
        }
        let liked = match typed {
            None if !self.quiet => host.settings.client()?.ps_format.clone(),
            _ => None,
        };
        match typed.or(liked.as_deref()) {
            Some(other) if self.quiet && other != "raw" => Ok(Format::Quiet),
            other => {
                let size = if self.size { "size: {{.Size}}\n" } else { "" };
                Format::with_raw(
                    other,
                    self.quiet,
                    &format!("{RAW}{size}"),
                    "container_id: {{.ID}}",
                )
            }
        }
    }

    fn measured(&self, host: &Host, record: &Record) -> String {
        if !self.size && !self.format.as_ref().is_some_and(|f| f.contains(".Size")) {
            return "0B".to_owned();
        }
        let written = size_of(&host.paths.container(&record.id).join("upper"));
        let image =
            host.images().ok().and_then(|s| s.find(&record.image.id).ok()).map_or(0, |i| i.size);
        let (rw, all) = (human::short_size(written), human::short_size(written + image));
        format!("{rw} (virtual {all})")
    }
}
