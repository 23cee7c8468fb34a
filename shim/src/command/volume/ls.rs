//! `dhow volume ls`.

use std::collections::HashSet;

use clap::Args;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
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
        let filters = Filters::parse(&self.filter)?;
        let used = if filters.dangling.is_some() { volumes_in_use(host)? } else { HashSet::new() };
        let mut found = host.volumes.list();
        found.retain(|volume| filters.fit(volume, &used));
        let rows: Vec<_> = found.iter().map(row).collect();
        listing(&rows, &format, &COLUMNS, &[&COLUMNS[..], &MORE[..]].concat(), "Name")
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

/// `--filter`, parsed: values of one key are alternatives, keys and labels add up.
#[derive(Default)]
struct Filters {
    dangling: Option<bool>,
    drivers: Vec<String>,
    labels: Vec<String>,
    names: Vec<String>,
}

impl Filters {
    fn parse(typed: &[String]) -> Result<Self> {
        let mut filters = Self::default();
        for text in typed {
            let (key, value) = text.split_once('=').ok_or_else(|| {
                Error::usage(format!("invalid argument \"{text}\" for \"-f, --filter\" flag: invalid filter '{text}'; write KEY=VALUE"))
            })?;
            let value = value.trim().to_owned();
            match key.trim().to_lowercase().as_str() {
                "dangling" => {
                    let on = crate::cli::switch(&value);
                    let fault = |_| {
                        Error::usage(format!(
                            "invalid filter 'dangling=[{value}]'; use true or false"
                        ))
                    };
                    filters.dangling = Some(on.map_err(fault)?);
                }
                "driver" => filters.drivers.push(value),
                "label" => filters.labels.push(value),
                "name" => filters.names.push(value),
                other => {
                    return Err(Error::usage(format!(
                        "invalid filter '{other}'; use dangling, driver, label or name"
                    )));
                }
            }
        }
        Ok(filters)
    }

    fn fit(&self, volume: &Volume, used: &HashSet<String>) -> bool {
        let any = |wanted: &[String], fits: &dyn Fn(&str) -> bool| {
            wanted.is_empty() || wanted.iter().any(|w| fits(w))
        };
        let labels = &volume.spec.labels;
        self.dangling.is_none_or(|wanted| wanted != used.contains(&volume.name))
            && any(&self.drivers, &|driver| driver == "local")
            && any(&self.names, &|name| is_like(&volume.name, name))
            && self.labels.iter().all(|wanted| match wanted.split_once('=') {
                Some((key, value)) => labels.get(key).is_some_and(|have| have == value),
                None => labels.contains_key(wanted),
            })
    }
}

/// A part of the name; `^` and `$` bind it to the ends.
fn is_like(name: &str, wanted: &str) -> bool {
    match (wanted.strip_prefix('^'), wanted.strip_suffix('$')) {
        (Some(whole), Some(_)) => name == whole.trim_end_matches('$'),
        (Some(start), None) => name.starts_with(start),
        (None, Some(end)) => name.ends_with(end),
        (None, None) => name.contains(wanted),
    }
}
