//! `dhow ps`.

use clap::Args;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::model::{Record, State, Status, Wellness};
use crate::output::{Column, Format, Output, human, listing};
use crate::store::{Container, size_of};

/// List containers
#[derive(Debug, Args)]
pub struct Ls {
    /// Stopped ones too
    #[arg(short, long)]
    pub all: bool,
    /// Keep what matches KEY=VALUE: id, name, label, status, exited, ancestor, before, since, volume, network
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

impl Ls {
    /// A row a container, newest first.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.text(host).map(|text| out.text(&text));
        out.end(result)
    }

    fn text(&self, host: &Host) -> Result<String> {
        let format = Format::of(self.format.as_deref(), self.quiet)?;
        let filters = Filters::parse(&self.filter)?;
        let mut found = Vec::new();
        for mut container in host.containers.list()? {
            container.state = crate::monitor::state(host, &container.record)?;
            found.push(container);
        }
        let last = if self.latest { 1 } else { self.last };
        let everything = self.all || last > 0 || filters.name_a_state();
        let filters = filters.settle(host, &found)?;
        found.retain(|c| {
            let alive = c.state.status.is_alive() || c.state.status == Status::Restarting;
            (everything || alive) && filters.keep(c)
        });
        if last > 0 {
            found.truncate(last as usize);
        }
        let now = Timestamp::now();
        let images = Names::of(host);
        let rows: Vec<_> = found.iter().map(|c| self.row(host, c, now, &images)).collect();
        let mut columns = COLUMNS.to_vec();
        if self.size {
            columns.push(("SIZE", "Size"));
        }
        listing(&rows, &format, &columns, &[&COLUMNS[..], &MORE[..]].concat(), "ID")
    }

    fn row(
        &self,
        host: &Host,
        c: &Container,
        now: Timestamp,
        images: &Names,
    ) -> Map<String, Value> {
        let record = &c.record;
        let id = if self.no_trunc { record.id.as_str() } else { record.short_id() };
        let mounts: Vec<&str> = record
            .mounts
            .iter()
            .filter(|m| m.kind != "tmpfs")
            .map(|m| if m.name.is_empty() { m.source.as_str() } else { m.name.as_str() })
            .map(|name| if self.no_trunc { name } else { name.get(..15).unwrap_or(name) })
            .collect();
        let volumes = record.mounts.iter().filter(|m| m.kind == "volume").count();
        let labels: Vec<String> =
            record.config.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let command = std::iter::once(&record.path).chain(&record.args);
        let command: Vec<&str> = command.map(String::as_str).collect();
        let fields: [(&str, Value); 16] = [
            ("Command", quoted(&command.join(" "), self.no_trunc).into()),
            ("CreatedAt", human::stamp(record.created).into()),
            ("ID", id.into()),
            ("Image", images.shown(record, self.no_trunc).into()),
            ("Labels", labels.join(",").into()),
            ("LocalVolumes", volumes.to_string().into()),
            ("Mounts", mounts.join(",").into()),
            ("Names", record.name.clone().into()),
            ("Networks", record.host_config.network_mode.clone().into()),
            ("Platform", Value::Null),
            ("Ports", "".into()),
            ("RunningFor", human::ago(record.created, now).into()),
            ("Size", self.measured(host, record).into()),
            ("State", c.state.status.as_str().into()),
            ("Status", status(&c.state, now).into()),
            ("__labels", serde_json::to_value(&record.config.labels).unwrap_or_default()),
        ];
        fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
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

fn quoted(command: &str, whole: bool) -> String {
    let mut text: String = command.to_owned();
    if !whole && command.chars().count() > 20 {
        text = command.chars().take(19).collect();
        text.push('…');
    }
    format!("\"{text}\"")
}

/// docker's words: "Up 3 seconds", "Exited (0) 4 seconds ago", "Created".
fn status(state: &State, now: Timestamp) -> String {
    let up = || state.started_at.map_or_else(String::new, |at| human::since(at, now));
    let ended = || state.finished_at.map_or_else(String::new, |at| human::ago(at, now));
    match state.status {
        Status::Running => match &state.health {
            Some(health) if health.status == Wellness::Starting => {
                format!("Up {} (health: starting)", up())
            }
            Some(health) => format!("Up {} ({})", up(), health.status.as_str()),
            None => format!("Up {}", up()),
        },
        Status::Paused => format!("Up {} (Paused)", up()),
        Status::Restarting => format!("Restarting ({}) {}", state.exit_code, ended()),
        Status::Removing => "Removal In Progress".to_owned(),
        Status::Dead => "Dead".to_owned(),
        Status::Created => "Created".to_owned(),
        // The monitor was killed with it: nobody knows the code.
        Status::Exited if state.exit_code < 0 => format!("Exited (unknown) {}", ended()),
        Status::Exited => format!("Exited ({}) {}", state.exit_code, ended()),
    }
}

/// What images are called now: a container whose image has lost its name shows an id.
struct Names(Vec<(String, Vec<String>)>);

impl Names {
    fn of(host: &Host) -> Self {
        let images = host.images().ok().and_then(|s| s.images().ok()).unwrap_or_default();
        let names =
            |i: &dhow_image::store::Stored| i.names.iter().map(ToString::to_string).collect();
        Self(images.iter().map(|i| (i.id().to_string(), names(i))).collect())
    }

    fn shown(&self, record: &Record, whole: bool) -> String {
        let typed = &record.config.image;
        let named = self
            .0
            .iter()
            .any(|(id, names)| *id == record.image.id && names.contains(&record.image.reference));
        let by_id = record.image.reference.starts_with("sha256:");
        if named || by_id && !typed.starts_with("sha256:") {
            return typed.clone();
        }
        let hex = record.image.id.strip_prefix("sha256:").unwrap_or(&record.image.id);
        if whole { record.image.id.clone() } else { hex.get(..12).unwrap_or(hex).to_owned() }
    }
}

/// `--filter`, parsed: values of one key are alternatives, keys add up.
struct Filters(Vec<(String, String)>);

const KEYS: [&str; 10] =
    ["id", "name", "label", "status", "exited", "ancestor", "before", "since", "volume", "network"];

impl Filters {
    fn parse(typed: &[String]) -> Result<Self> {
        let mut all = Vec::new();
        for text in typed {
            let (key, value) = text
                .split_once('=')
                .ok_or_else(|| Error::usage(format!("--filter \"{text}\": write KEY=VALUE")))?;
            let key = key.trim().to_lowercase();
            if !KEYS.contains(&key.as_str()) {
                return Err(Error::usage(format!(
                    "invalid filter '{key}'; use one of {}",
                    KEYS.join(", ")
                )));
            }
            if key == "status" {
                let states =
                    ["created", "running", "paused", "restarting", "removing", "exited", "dead"];
                if !states.contains(&value) {
                    return Err(Error::usage(format!(
                        "invalid filter 'status={value}'; use one of {}",
                        states.join(", ")
                    )));
                }
            }
            if key == "exited" && value.parse::<i32>().is_err() {
                return Err(Error::usage(format!(
                    "invalid filter 'exited={value}'; give a number"
                )));
            }
            all.push((key, value.trim().to_owned()));
        }
        Ok(Self(all))
    }

    /// As docker: to ask for a state is to ask for stopped ones too.
    fn name_a_state(&self) -> bool {
        self.0
            .iter()
            .any(|(key, _)| matches!(key.as_str(), "status" | "exited" | "before" | "since"))
    }

    /// `before` and `since` name containers, `ancestor` an image: looked up once.
    fn settle(self, host: &Host, all: &[Container]) -> Result<Vec<Filter>> {
        let find = |name: &str| -> Result<Timestamp> {
            let record = host.containers.find(name)?.record;
            Ok(all
                .iter()
                .find(|c| c.record.id == record.id)
                .map_or(record.created, |c| c.record.created))
        };
        let mut settled = Vec::new();
        for (key, value) in self.0 {
            settled.push(match key.as_str() {
                "before" => Filter::Before(find(&value)?),
                "since" => Filter::Since(find(&value)?),
                "ancestor" => {
                    let image = host.images()?.find(&value).ok();
                    Filter::Ancestor(image.map(|i| i.id().to_string()), value)
                }
                _ => Filter::Field(key, value),
            });
        }
        Ok(settled)
    }
}

enum Filter {
    Before(Timestamp),
    Since(Timestamp),
    Ancestor(Option<String>, String),
    Field(String, String),
}

trait Keep {
    fn keep(&self, container: &Container) -> bool;
}

impl Keep for Vec<Filter> {
    fn keep(&self, container: &Container) -> bool {
        self.iter().enumerate().all(|(i, filter)| {
            // Another value of the same key may let it in instead; labels must all fit.
            filter.fits(container)
                || filter.key().is_some_and(|key| {
                    key != "label"
                        && self.iter().enumerate().any(|(j, other)| {
                            i != j && other.key() == Some(key) && other.fits(container)
                        })
                })
        })
    }
}

impl Filter {
    fn key(&self) -> Option<&str> {
        match self {
            Self::Field(key, _) => Some(key),
            Self::Ancestor(..) => Some("ancestor"),
            _ => None,
        }
    }

    fn fits(&self, container: &Container) -> bool {
        let record = &container.record;
        match self {
            Self::Before(at) => record.created < *at,
            Self::Since(at) => record.created > *at,
            Self::Ancestor(id, typed) => {
                id.as_ref() == Some(&record.image.id) || *typed == record.config.image
            }
            Self::Field(key, value) => match key.as_str() {
                "id" => record.id.starts_with(value.as_str()),
                "name" => {
                    record.name.contains(value.trim_start_matches(['^', '/']).trim_end_matches('$'))
                }
                "status" => container.state.status.as_str() == value,
                "exited" => {
                    container.state.status == Status::Exited
                        && value.parse() == Ok(container.state.exit_code)
                }
                "label" => match value.split_once('=') {
                    Some((k, v)) => record.config.labels.get(k).is_some_and(|have| have == v),
                    None => record.config.labels.contains_key(value),
                },
                "volume" => {
                    record.mounts.iter().any(|m| m.name == *value || m.destination == *value)
                }
                _ => record.host_config.network_mode == *value,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_in_dockers_words() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let at: Timestamp = "2026-01-01T00:00:57Z".parse().unwrap();
        let state = |status, exit_code| State {
            status,
            exit_code,
            started_at: Some(at),
            finished_at: Some(at),
            ..State::default()
        };
        assert_eq!(status(&state(Status::Running, 0), now), "Up 3 seconds");
        assert_eq!(status(&state(Status::Exited, 7), now), "Exited (7) 3 seconds ago");
        assert_eq!(status(&state(Status::Exited, -1), now), "Exited (unknown) 3 seconds ago");
        assert_eq!(status(&State::default(), now), "Created");
    }

    #[test]
    fn long_commands_are_cut_at_twenty() {
        assert_eq!(quoted("sleep 1000", false), "\"sleep 1000\"");
        assert_eq!(quoted("sh -c 'echo a long line'", false), "\"sh -c 'echo a long …\"");
    }

    #[test]
    fn filters_are_checked() {
        assert!(Filters::parse(&["what=1".into()]).is_err());
        assert!(Filters::parse(&["status=gone".into()]).is_err());
        assert!(Filters::parse(&["name".into()]).is_err());
        assert!(Filters::parse(&["exited=0".into()]).unwrap().name_a_state());
    }
}
