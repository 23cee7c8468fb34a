//! `dhow system df`.

use clap::Args;
use dhow_image::build::cache::Entry;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::usage::{self, Usage};
use crate::error::Result;
use crate::exit::Exit;
use crate::host::Host;
use crate::output::{Column, Format, Output, Template, compact, human, listing};

/// Show how much space what takes
#[derive(Debug, Args)]
pub struct Df {
    /// A Go template a row, table TEMPLATE, or json
    #[arg(long, value_name = "TEMPLATE")]
    pub format: Option<String>,
    /// Each image, container and volume
    #[arg(short, long)]
    pub verbose: bool,
}

type Row = Map<String, Value>;

const COLUMNS: [Column; 5] = [
    ("TYPE", "Type"),
    ("TOTAL", "TotalCount"),
    ("ACTIVE", "Active"),
    ("SIZE", "Size"),
    ("RECLAIMABLE", "Reclaimable"),
];
const IMAGES: [Column; 8] = [
    ("REPOSITORY", "Repository"),
    ("TAG", "Tag"),
    ("IMAGE ID", "ID"),
    ("CREATED", "CreatedSince"),
    ("SIZE", "Size"),
    ("SHARED SIZE", "SharedSize"),
    ("UNIQUE SIZE", "UniqueSize"),
    ("CONTAINERS", "Containers"),
];
const CONTAINERS: [Column; 8] = [
    ("CONTAINER ID", "ID"),
    ("IMAGE", "Image"),
    ("COMMAND", "Command"),
    ("LOCAL VOLUMES", "LocalVolumes"),
    ("SIZE", "Size"),
    ("CREATED", "RunningFor"),
    ("STATUS", "Status"),
    ("NAMES", "Names"),
];
const VOLUMES: [Column; 3] = [("VOLUME NAME", "Name"), ("LINKS", "Links"), ("SIZE", "Size")];
const CACHE: [Column; 7] = [
    ("CACHE ID", "ID"),
    ("CACHE TYPE", "CacheType"),
    ("SIZE", "Size"),
    ("CREATED", "CreatedSince"),
    ("LAST USED", "LastUsedSince"),
    ("USAGE", "UsageCount"),
    ("SHARED", "Shared"),
];

const RAW: &str = "type: {{.Type}}
total: {{.TotalCount}}
active: {{.Active}}
size: {{.Size}}
reclaimable: {{.Reclaimable}}
";

impl Df {
    /// A row a kind, or with -v a table a kind.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.text(host).map(|text| out.text(&text));
        out.end(result)
    }

    fn text(&self, host: &Host) -> Result<String> {
        let typed = self.format.as_deref().filter(|f| !f.is_empty());
        let usage = usage::measure(host, Timestamp::now(), typed.is_some())?;
        if self.verbose {
            return whole(&usage, typed);
        }
        let format = Format::with_raw(typed, false, RAW, RAW)?;
        listing(&rows(&usage), &format, &COLUMNS, &COLUMNS, "Type")
    }
}

/// docker's four kinds.
fn rows(usage: &Usage) -> Vec<Row> {
    let active = |used: &dyn Fn(&usage::Item) -> bool, items: &[usage::Item]| {
        items.iter().filter(|item| used(item)).count()
    };
    let sum = |items: &[usage::Item], idle: bool| -> u64 {
        items.iter().filter(|i| !idle || !i.used).map(|i| i.size).sum()
    };
    let used = |item: &usage::Item| item.used;
    let (containers, volumes) = (&usage.containers, &usage.volumes);
    // What images share is counted with them.
    let own = |fits: &dyn Fn(&Entry) -> bool| -> u64 {
        usage.cache.iter().filter(|e| !e.shared && fits(e)).map(|e| e.size).sum()
    };
    let kinds = [
        (
            "Images",
            usage.images.len(),
            active(&used, &usage.images),
            usage.layers,
            usage.layers_idle,
        ),
        (
            "Containers",
            containers.len(),
            active(&used, containers),
            sum(containers, false),
            sum(containers, true),
        ),
        (
            "Local Volumes",
            volumes.len(),
            active(&used, volumes),
            sum(volumes, false),
            sum(volumes, true),
        ),
        (
            "Build Cache",
            usage.cache.len(),
            usage.cache.iter().filter(|entry| entry.in_use).count(),
            own(&|_| true),
            own(&|entry| !entry.in_use),
        ),
    ];
    let row = |(kind, total, active, size, idle): (&str, usize, usize, u64, u64)| -> Row {
        let percent =
            (idle * 100).checked_div(size).map_or_else(String::new, |p| format!(" ({p}%)"));
        let fields = [
            ("Active", active.to_string()),
            ("Reclaimable", format!("{}{percent}", human::size(idle))),
            ("Size", human::size(size)),
            ("TotalCount", total.to_string()),
            ("Type", kind.to_owned()),
        ];
        fields.into_iter().map(|(k, v)| (k.to_owned(), v.into())).collect()
    };
    kinds.into_iter().map(row).collect()
}

fn rows_of(items: &[usage::Item]) -> Vec<Row> {
    items.iter().map(|item| item.row.clone()).collect()
}

fn whole(usage: &Usage, typed: Option<&str>) -> Result<String> {
    let (images, containers) = (rows_of(&usage.images), rows_of(&usage.containers));
    let volumes = rows_of(&usage.volumes);
    let now = Timestamp::now();
    let cache: Vec<Row> = usage.cache.iter().map(|entry| of_entry(entry, now)).collect();
    let own: u64 = usage.cache.iter().filter(|e| !e.shared).map(|e| e.size).sum();
    if let Some(typed) = typed.filter(|typed| *typed != "table") {
        let shown = |rows: Vec<Row>| -> Value {
            let plain = |row: Row| row.into_iter().filter(|(k, _)| !k.starts_with("__")).collect();
            rows.into_iter().map(|row| Value::Object(plain(row))).collect()
        };
        let value = serde_json::json!({
            "Images": shown(images), "Containers": shown(containers), "Volumes": shown(volumes),
            "BuildCache": shown(cache),
        });
        return match typed {
            "json" => Ok(in_order(&value)),
            template => Ok(Template::parse(template)?.render(&value)?),
        };
    }
    let table =
        |rows: &[Row], columns: &[Column]| listing(rows, &Format::Table, columns, columns, "");
    Ok(format!(
        "Images space usage:\n\n{}\nContainers space usage:\n\n{}\nLocal Volumes space usage:\n\n{}\n\
         Build cache usage: {}\n\n{}",
        table(&images, &IMAGES)?,
        table(&containers, &CONTAINERS)?,
        table(&volumes, &VOLUMES)?,
        human::size(own),
        table(&cache, &CACHE)?,
    ))
}

/// How often something was used isn't counted.
fn of_entry(entry: &Entry, now: Timestamp) -> Row {
    let since =
        |then: Option<Timestamp>| then.map(|then| human::ago(then, now)).unwrap_or_default();
    let fields = [
        ("CacheType", entry.kind.word().to_owned()),
        ("CreatedSince", since(entry.created)),
        ("Description", entry.text.clone()),
        ("ID", entry.id.clone()),
        ("InUse", entry.in_use.to_string()),
        ("LastUsedSince", since(entry.last_used)),
        ("Parent", entry.parents.join(",")),
        ("Shared", entry.shared.to_string()),
        ("Size", human::size(entry.size)),
        ("UsageCount", String::new()),
    ];
    fields.into_iter().map(|(k, v)| (k.to_owned(), v.into())).collect()
}

/// The four kinds as docker has them, not by name.
fn in_order(value: &Value) -> String {
    let part = |key: &str| format!("\"{key}\":{}", compact(&value[key]));
    let parts = ["Images", "Containers", "Volumes", "BuildCache"].map(part);
    format!("{{{}}}\n", parts.join(","))
}
