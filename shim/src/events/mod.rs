//! What happened, as docker's events: one journal that every dhow process of a world appends to.
//!
//! ```text
//! verbs, monitors ─▶ emit ─▶ journal (ROOT/events, rotated) ─▶ `dhow events`
//! ```
//!
//! There is no daemon that could tell: who does a thing writes a line of it, best effort, and
//! readers sleep on inotify until there is one.

mod event;
pub mod journal;

use crate::host::Paths;
use crate::model::Record;

pub use event::{Actor, Event, Kind};

/// Appends one event. Best effort: a journal that can't be written fails no verb.
pub fn emit(paths: &Paths, kind: Kind, action: &str, id: &str, attributes: &[(&str, &str)]) {
    let _ = journal::append(&paths.root, &Event::new(kind, action, id, attributes));
}

/// Appends one event of a container: its image, name and labels come with it, as docker's.
pub fn of_container(paths: &Paths, record: &Record, action: &str, more: &[(&str, &str)]) {
    let labels = record.config.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let own = [("image", record.config.image.as_str()), ("name", record.name.as_str())];
    let all: Vec<_> = labels.chain(own).chain(more.iter().copied()).collect();
    emit(paths, Kind::Container, action, &record.id, &all);
}
