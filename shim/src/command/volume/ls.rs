//! `dhow volume ls`.

use std::collections::HashSet;

use clap::Args;
use serde_json::{Map, Value};

use crate::error::Result;
use crate::exit::Exit;
use crate::host::Host;
use crate::options::filters::{Filters, Pattern};
use crate::output::{Column, Format, Output, listing};
use crate::store::{Volume, volumes_in_use};

/// List volumes
#[derive(Debug, Args)]
pub struct Ls {
    /// Keep what matches KEY=VALUE: dangling, driver, label, name
    #[arg(short, long, value_name = "FILTER")]
    pub filter: Vec<String>,
    /// A Go template a row, table TEMPLATE, or json
    #[arg(long, value_name = "TEMPLATE")]
    pub format: Option<String>,
    /// Names only
    #[arg(short, long)]
    pub quiet: bool,
}

const COLUMNS: [Column; 2] = [("DRIVER", "Driver"), ("VOLUME NAME", "Name")];
const MORE: [Column; 8] = [
    ("AVAILABILITY", "Availability"),
    ("GROUP", "Group"),
    ("LABELS", "Labels"),
    ("LINKS", "Links"),
    ("MOUNTPOINT", "Mountpoint"),
    ("SCOPE", "Scope"),
    ("SIZE", "Size"),
    ("STATUS", "Status"),
];

impl Ls {
    /// A row a volume, by name.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.text(host).map(|text| out.text(&text));
        out.end(result)
    }

    fn text(&self, host: &Host) -> Result<String> {
        let typed = match (&self.format, self.quiet) {
            (None, false) => host.settings.client()?.volumes_format.clone(),
            (typed, _) => typed.clone(),
        };
        let format = Format::of(typed.as_deref(), self.quiet)?;
        format.check(&[&COLUMNS[..], &MORE[..]].concat())?;
        let found = self.found(host)?;
        let rows: Vec<_> = found.iter().map(row).collect();
        listing(&rows, &format, &COLUMNS, &[&COLUMNS[..], &MORE[..]].concat(), "Name")
    }
}

impl Ls {
    fn found(&self, host: &Host) -> Result<Vec<Volume>> {
        let filters = Filters::parse(&self.filter, &["dangling", "driver", "label", "name"])?;
        let dangling = filters.switch("dangling")?;
        let used = if dangling.is_some() { volumes_in_use(host)? } else { HashSet::new() };
        let names: Vec<Pattern> = filters.values("name").iter().map(|n| Pattern::new(n)).collect();
        let mut found = host.volumes.list();
        found.retain(|volume| {
            dangling.is_none_or(|wanted| wanted != used.contains(&volume.name))
                && filters.any("driver", |driver| driver == "local")
                && filters.labels("label", &volume.spec.labels)
                && (names.is_empty() || names.iter().any(|name| name.fits(&volume.name)))
        });
        Ok(found)
    }
}

fn row(volume: &Volume) -> Map<String, Value> {
    let labels: Vec<String> = volume.spec.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let fields = [
        ("Availability", "N/A".into()),
        ("Driver", "local".into()),
        ("Group", "N/A".into()),
        ("Labels", labels.join(",").into()),
        ("Links", "N/A".into()),
        ("Mountpoint", volume.data.display().to_string().into()),
        ("Name", volume.name.clone().into()),
        ("Scope", "local".into()),
        ("Size", "N/A".into()),
        ("Status", "N/A".into()),
        ("__labels", serde_json::to_value(&volume.spec.labels).unwrap_or_default()),
    ];
    fields.into_iter().map(|(k, v): (&str, Value)| (k.to_owned(), v)).collect()
}
