//! A container as `ps` and `system df` show it.

use std::cell::OnceCell;
use std::collections::HashMap;

use dhow_image::digest::Digest;
use dhow_image::reference::Reference;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::host::Host;
use crate::model::{Record, State, Status, Wellness};
use crate::net::ports::{column, ports};
use crate::output::{human, quoted};
use crate::store::Container;

/// A container as lists show it; `whole`: nothing is cut.
pub fn row(
    c: &Container,
    now: Timestamp,
    images: &Names<'_>,
    whole: bool,
    size: String,
) -> Map<String, Value> {
    let record = &c.record;
    let id = if whole { record.id.as_str() } else { record.short_id() };
    let mounts: Vec<String> = record
        .mounts
        .iter()
        .filter(|m| m.kind != "tmpfs")
        .map(|m| if m.name.is_empty() { m.source.as_str() } else { m.name.as_str() })
        .map(|name| if whole { name.to_owned() } else { cut(name, 15) })
        .collect();
    let volumes = record.mounts.iter().filter(|m| m.kind == "volume").count();
    let labels: Vec<String> =
        record.config.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let command = command_line(record);
    let command = if whole { command } else { cut(&command, 20) };
    let fields: [(&str, Value); 16] = [
        ("Command", quoted(&command, '"').into()),
        ("CreatedAt", human::stamp(record.created).into()),
        ("ID", id.into()),
        ("Image", images.shown(record, whole).into()),
        ("Labels", labels.join(",").into()),
        ("LocalVolumes", volumes.to_string().into()),
        ("Mounts", mounts.join(",").into()),
        ("Names", record.name.clone().into()),
        ("Networks", networks_of(record).into()),
        ("Platform", Value::Null),
        ("Ports", column(ports(record, &c.state)).into()),
        ("RunningFor", human::ago(record.created, now).into()),
        ("Size", size.into()),
        ("State", c.state.status.as_str().into()),
        ("Status", status(&c.state, now).into()),
        ("__labels", serde_json::to_value(&record.config.labels).unwrap_or_default()),
    ];
    fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
}

/// None of its own for one in another's.
fn networks_of(record: &Record) -> String {
    let mode = record.host_config.network_mode.as_str();
    if matches!(mode, "none" | "host") {
        return mode.to_owned();
    }
    let mut names: Vec<&str> = record.networks.iter().map(|w| w.network.as_str()).collect();
    names.sort_unstable();
    names.join(",")
}

/// docker's way to tell words with spaces apart.
fn command_line(record: &Record) -> String {
    let args =
        record.args.iter().map(|a| if a.contains(' ') { format!("'{a}'") } else { a.clone() });
    std::iter::once(record.path.clone()).chain(args).collect::<Vec<_>>().join(" ")
}

/// So many characters at most, the last of them an ellipsis.
fn cut(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    text.chars().take(length - 1).chain(['…']).collect()
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
pub struct Names<'a> {
    host: &'a Host,
    all: OnceCell<HashMap<String, Vec<String>>>,
}

impl<'a> Names<'a> {
    /// All of them, read when the first is asked for.
    pub fn of(host: &'a Host) -> Self {
        Self { host, all: OnceCell::new() }
    }

    fn of_image(&self, id: &str) -> Option<&Vec<String>> {
        let read = || {
            let names = self.host.images().ok().and_then(|s| s.names().ok()).unwrap_or_default();
            let mut all = HashMap::with_capacity(names.len());
            for (id, names) in names {
                all.entry(id).or_insert(names);
            }
            all
        };
        self.all.get_or_init(read).get(id)
    }

    /// What was typed, while it still names the container's image; else the image's id.
    fn shown(&self, record: &Record, whole: bool) -> String {
        let (typed, id) = (&record.config.image, &record.image.id);
        let hex = |id: &str| Digest::digits(id).to_owned();
        let short = |id: &str| hex(id).chars().take(12).collect::<String>();
        let name = Reference::parse_normal(typed).ok();
        let full = name.clone().map(|name| name.tagged().to_string());
        let names = self.of_image(id);
        let named = full.zip(names).is_some_and(|(full, names)| names.contains(&full));
        let prefix = hex(typed);
        let by_id = prefix.len() >= 2 && hex(id).starts_with(&prefix) && names.is_some();
        let digested = name.as_ref().is_some_and(|n| n.digest().is_some());
        match name {
            _ if by_id && (whole || short(typed) != short(id)) => typed.clone(),
            Some(_) if whole && (named || digested) => typed.clone(),
            Some(name) if (named || digested) && !by_id => match name.tag() {
                Some(tag) => format!("{}:{tag}", name.familiar_name()),
                None => name.familiar_name(),
            },
            _ if whole => id.clone(),
            _ => short(id),
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
    fn long_texts_are_cut() {
        assert_eq!(cut("sleep 1000", 20), "sleep 1000");
        assert_eq!(cut("sh -c 'echo a long line'", 20), "sh -c 'echo a long …");
        assert_eq!(cut("0123456789abcdef", 15), "0123456789abcd…");
    }
}
