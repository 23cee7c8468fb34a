//! What would fail for a bundle on this host, and why: told before anything is touched.
//!
//! [`rules`] finds what config.json itself breaks, all of it; [`caller`], [`kernel`] and [`files`]
//! look at the host, by reading alone.

mod caller;
mod files;
mod kernel;
mod program;
mod report;
mod rules;

use serde_json::Value;

use crate::error::Result;
use crate::lifecycle::{self, Wanted};
use crate::state::{self, Store};
use crate::validate::{self, Container};
pub use report::{Finding, Report};
use rules::Repaired;

/// Judges a bundle; `id` is the container's, when it has one already.
pub fn check(store: &Store, wanted: &Wanted<'_>, id: Option<&str>) -> Result<Report> {
    let (bundle, text) = state::bundle(wanted.bundle, wanted.config)?;
    let mut report = Report::default();
    if let Some(id) = id {
        free(store, id, &mut report);
    }
    let repaired = rules::every(&text, &mut report.problems, |text| {
        let container = validate::container(validate::parse(text)?, &bundle)?;
        lifecycle::decide(wanted, container).map(drop)
    });
    // What of it can be understood is held against the host.
    let text = repaired.document.to_string();
    if let Ok(container) = validate::parse(&text).and_then(|s| validate::container(s, &bundle)) {
        let asked = Asked { repaired: &repaired, container: &container };
        report.warnings.extend(container.warnings.iter().map(|told| odd(&asked, told)));
        caller::look(&asked, &mut report);
        kernel::look(&asked, &mut report);
        files::look(&asked, &mut report);
        groups(&asked, wanted, &mut report);
    }
    Ok(report)
}

/// What is held against the host.
struct Asked<'a> {
    repaired: &'a Repaired,
    container: &'a Container<'a>,
}

impl Asked<'_> {
    /// The value at a pointer into what was understood, or null.
    fn value(&self, pointer: &str) -> &Value {
        self.repaired.document.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// A finding about it, by its place in the config as it is written.
    fn about(&self, pointer: &str, why: impl Into<String>, remedy: &str) -> Finding {
        Finding {
            pointer: self.repaired.written(pointer),
            what: if pointer.is_empty() {
                String::new()
            } else {
                report::shown(self.value(pointer))
            },
            why: why.into(),
            remedy: remedy.to_owned(),
        }
    }
}

/// What is passed over already when it is read: pointer and reason.
fn odd(asked: &Asked<'_>, told: &str) -> Finding {
    match told.split_once(": ") {
        Some((pointer, why)) if pointer.starts_with('/') => asked.about(pointer, why, ""),
        _ => asked.about("", told, ""),
    }
}

fn free(store: &Store, id: &str, report: &mut Report) {
    let (why, remedy) = match store.leftover(id) {
        Ok(None) => return,
        Ok(Some(_)) => {
            ("there is a container of that id".to_owned(), "choose another, or delete it")
        }
        Err(e) => (e.to_string(), "choose another"),
    };
    let (pointer, remedy) = (String::new(), remedy.to_owned());
    report.problems.push(Finding { pointer, what: format!("id {id:?}"), why, remedy });
}

/// The groups that it would have must not be somebody else's.
fn groups(asked: &Asked<'_>, wanted: &Wanted<'_>, report: &mut Report) {
    let Ok(group) = lifecycle::group(wanted, asked.container) else { return };
    for missing in group.missing() {
        let why = "leave it out, or enable it in the kernel";
        report.problems.push(asked.about(&missing.pointer, missing.why, why));
    }
    let ignored = asked.container.resources.warning();
    report.warnings.extend(ignored.map(|why| asked.about("/linux/resources/memory", why, "")));
    let pids = group.record().pids().unwrap_or_default();
    if let Some(first) = pids.first() {
        let why = format!("its cgroup is in use by {} processes, such as {first}", pids.len());
        let remedy = "end them, or choose another path";
        report.problems.push(asked.about("/linux/cgroupsPath", why, remedy));
    }
}
