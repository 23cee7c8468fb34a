//! Events as docker's client shows them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::{Value, json};

use super::event::{Actor, Event, Kind};
use crate::error::{Error, Result};
use crate::output::Template;

/// How each event is shown.
#[derive(Debug)]
pub enum Look {
    /// docker's own line.
    Line,
    /// docker's JSON, key for key.
    Json,
    /// A Go template.
    Template(Template),
}

/// docker's JSON of an event.
#[derive(Serialize)]
struct Message<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    status: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    from: &'a str,
    #[serde(rename = "Type")]
    kind: Kind,
    #[serde(rename = "Action")]
    action: &'a str,
    #[serde(rename = "Actor")]
    actor: &'a Actor,
    scope: &'a str,
    time: i64,
    #[serde(rename = "timeNano")]
    nanos: i64,
}

impl<'a> From<&'a Event> for Message<'a> {
    fn from(event: &'a Event) -> Self {
        // docker's old keys, which it gives for containers and images alone.
        let old = matches!(event.kind, Kind::Container | Kind::Image);
        let from = event.actor.attributes.get("image").filter(|_| event.kind == Kind::Container);
        Self {
            status: if old { &event.action } else { "" },
            id: if old { &event.actor.id } else { "" },
            from: from.map_or("", String::as_str),
            kind: event.kind,
            action: &event.action,
            actor: &event.actor,
            scope: "local",
            time: event.nanos / 1_000_000_000,
            nanos: event.nanos,
        }
    }
}

impl Look {
    /// What `--format` says; nothing means docker's own line.
    pub fn of(typed: Option<&str>) -> Result<Self> {
        Ok(match typed.map(str::trim) {
            None | Some("") => Self::Line,
            Some("json" | "{{json .}}") => Self::Json,
            Some(_) => Self::Template(Template::parse(typed.unwrap_or_default())?),
        })
    }

    /// The event's text, with its newline.
    pub fn show(&self, event: &Event) -> Result<String> {
        let message = Message::from(event);
        let mut text = match self {
            Self::Line => line(event),
            Self::Json => serde_json::to_string(&message)
                .map_err(|e| Error::engine(format!("encode: {e}")))?,
            Self::Template(template) => template.render(&fields(&message))?,
        };
        text.push('\n');
        Ok(text)
    }
}

/// The event by the names that Go's struct has.
fn fields(message: &Message<'_>) -> Value {
    json!({
        "Status": message.status,
        "ID": message.id,
        "From": message.from,
        "Type": message.kind,
        "Action": message.action,
        "Actor": message.actor,
        "Scope": message.scope,
        "Time": message.time,
        "TimeNano": message.nanos,
    })
}

fn line(event: &Event) -> String {
    let at = Timestamp::from_nanosecond(event.nanos.into()).unwrap_or_default();
    let at = at.to_zoned(TimeZone::system());
    let zone = if at.offset().is_zero() { "Z".to_owned() } else { at.strftime("%:z").to_string() };
    let at = at.strftime("%Y-%m-%dT%H:%M:%S.%9f");
    let (kind, action, id) = (event.kind.as_str(), &event.action, &event.actor.id);
    let line = format!("{at}{zone} {kind} {action} {id}{}", attributes(&event.actor.attributes));
    // DIFFERS: labels are an image's word, and may hold what moves a terminal's cursor or ends a line.
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn attributes(all: &BTreeMap<String, String>) -> String {
    if all.is_empty() {
        return String::new();
    }
    let pairs: Vec<String> = all.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!(" ({})", pairs.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(typed: Option<&str>, kind: Kind) -> String {
        let more = [("name", "web"), ("image", "busybox")];
        let mut event = Event::new(kind, "start", "abc", &more);
        event.nanos = 1_795_275_433_065_497_779;
        Look::of(typed).unwrap().show(&event).unwrap()
    }

    #[test]
    fn json_is_dockers_key_for_key() {
        let container = r#"{"status":"start","id":"abc","from":"busybox","Type":"container","Action":"start","Actor":{"ID":"abc","Attributes":{"image":"busybox","name":"web"}},"scope":"local","time":1795275433,"timeNano":1795275433065497779}"#;
        assert_eq!(shown(Some("json"), Kind::Container).trim_end(), container);
        assert_eq!(shown(Some("{{json .}}"), Kind::Container).trim_end(), container);
        assert!(shown(Some("json"), Kind::Volume).starts_with("{\"Type\":\"volume\",\"Action\""));
        assert!(!shown(Some("json"), Kind::Image).contains("\"from\""));
    }

    #[test]
    fn a_label_is_no_terminal_s_command_and_ends_no_line() {
        let event = Event::new(Kind::Container, "start", "abc", &[("a", "\x1b[2Jx\ny")]);
        let line = Look::Line.show(&event).unwrap();
        assert!(line.ends_with(" container start abc (a= [2Jx y)\n"), "{line}");
    }

    #[test]
    fn lines_and_templates() {
        let line = shown(None, Kind::Container);
        assert!(line.ends_with(" container start abc (image=busybox, name=web)\n"), "{line}");
        let template = "{{.Type}} {{.Actor.Attributes.name}} {{.TimeNano}} {{.From}}";
        let want = "container web 1795275433065497779 busybox\n";
        assert_eq!(shown(Some(template), Kind::Container), want);
    }
}
