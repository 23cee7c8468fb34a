//! What happened, as docker's events: one journal that every dhow process of a world appends to.
//!
//! ```text
//! verbs, monitors ─▶ emit ─▶ journal (ROOT/events, rotated) ─▶ `dhow events`
//! ```
//!
//! There is no daemon that could tell: who does a thing writes a line of it, best effort, and
//! readers sleep on inotify until there is one.

mod event;
mod filter;
mod journal;
mod read;
mod show;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use dhow_image::store::{Removed, Store};

use crate::host::Paths;
use crate::model::{Record, State};

pub use event::{Actor, Event, Kind};
pub use filter::Filter;
pub use read::{Span, read};
pub use show::Look;

/// Appends one event. Best effort: a journal that can't be written fails no verb.
pub fn emit(paths: &Paths, kind: Kind, action: &str, id: &str, attributes: &[(&str, &str)]) {
    emit_in(&paths.root, kind, action, id, attributes);
}

/// As [`emit`], for who knows ROOT alone.
pub fn emit_in(root: &Path, kind: Kind, action: &str, id: &str, attributes: &[(&str, &str)]) {
    let _ = journal::append(root, &Event::new(kind, action, id, attributes));
}

/// Appends one event of a container: its image, name and labels come with it, as docker's.
pub fn of_container(paths: &Paths, record: &Record, action: &str, more: &[(&str, &str)]) {
    of_container_in(&paths.root, record, action, more);
}

/// As [`of_container`], for who knows ROOT alone.
pub fn of_container_in(root: &Path, record: &Record, action: &str, more: &[(&str, &str)]) {
    let labels = record.config.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let own = [("image", record.config.image.as_str()), ("name", record.name.as_str())];
    let all: Vec<_> = labels.chain(own).chain(more.iter().copied()).collect();
    emit_in(root, Kind::Container, action, &record.id, &all);
}

/// Appends one event of a stored image: its name and labels come with it, as docker's.
pub fn of_image(paths: &Paths, action: &str, id: &str, name: &str) {
    let labels = labels_of_image(paths, id);
    let labels = labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let all: Vec<_> = labels.chain([("name", name)]).collect();
    emit(paths, Kind::Image, action, id, &all);
}

/// None of an image that has gone.
fn labels_of_image(paths: &Paths, id: &str) -> BTreeMap<String, String> {
    let config = || {
        let store = Store::open(&paths.root).ok()?;
        store.find(id).ok()?.config(&store).ok()
    };
    config().map(|config| config.config.labels.into_iter().collect()).unwrap_or_default()
}

/// Tells what the removal of the image `id` came to.
pub fn of_removed(paths: &Paths, id: &str, removed: &Removed) {
    for _ in &removed.untagged {
        of_image(paths, "untag", id, id);
    }
    if removed.deleted.iter().any(|digest| digest.to_string() == id) {
        of_image(paths, "delete", id, id);
    }
}

/// Tells that the container's volumes are in its mounts (`mount`), or no longer are (`unmount`).
pub fn of_volumes(paths: &Paths, record: &Record, action: &str) {
    for mount in record.mounts.iter().filter(|mount| mount.kind == "volume") {
        let rw = if mount.rw { "true" } else { "false" };
        let mut all = vec![("container", record.id.as_str()), ("driver", mount.driver.as_str())];
        if action == "mount" {
            all.extend([
                ("destination", mount.destination.as_str()),
                ("propagation", mount.propagation.as_str()),
                ("read/write", rw),
            ]);
        }
        emit(paths, Kind::Volume, action, &mount.name, &all);
    }
}

/// Tells that a container's life of such a length has ended as `state` says.
pub fn of_end(paths: &Paths, record: &Record, state: &State, lasted: Duration) {
    if state.oom_killed {
        of_container(paths, record, "oom", &[]);
    }
    of_volumes(paths, record, "unmount");
    let (code, lasted) = (state.exit_code.to_string(), lasted.as_secs().to_string());
    of_container(paths, record, "die", &[("execDuration", &lasted), ("exitCode", &code)]);
}
