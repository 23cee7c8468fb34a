//! `--trace`: each step with its microseconds, as JSON lines; nothing at all without it.
//!
//! ```text
//! {"at":512,"took":187,"by":"init","step":"mounts","does":["new proc on /proc …", …]}
//! ```
//!
//! `at` counts from the start of the command that writes. Init's copy of the descriptor closes
//! when it executes; after the filter, which may not let it write, it is silent.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use crate::error::{Error, Result};

/// Where steps are written; nowhere by default.
#[derive(Debug, Clone, Default)]
pub struct Trace(Option<Arc<Sink>>);

#[derive(Debug)]
struct Sink {
    file: File,
    /// By the one clock that a time namespace leaves alone.
    started: SystemTime,
}

/// When a step began.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct Begun(Option<SystemTime>);

#[derive(Serialize)]
struct Line<'a> {
    at: u128,
    #[serde(skip_serializing_if = "Option::is_none")]
    took: Option<u128>,
    by: &'a str,
    step: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    does: Vec<String>,
}

impl Trace {
    /// The file, when there is one.
    pub fn file(&self) -> Option<&File> {
        self.0.as_deref().map(|sink| &sink.file)
    }

    /// Appends to a file, which is made when missing.
    pub fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path);
        let file = file.map_err(|e| Error::io("open the trace", path.to_string_lossy(), &e))?;
        Ok(Self(Some(Arc::new(Sink { file, started: SystemTime::now() }))))
    }

    /// Looks at the clock, if anyone wants to know.
    pub fn begin(&self) -> Begun {
        Begun(self.0.as_ref().map(|_| SystemTime::now()))
    }

    /// Writes a step that has ended.
    pub fn end(&self, by: &str, step: &str, begun: Begun, does: impl FnOnce() -> Vec<String>) {
        let Some((sink, begun)) = self.0.as_ref().zip(begun.0) else { return };
        let took = Some(begun.elapsed().unwrap_or_default().as_micros());
        sink.line(begun, Line { at: 0, took, by, step, does: does() });
    }

    /// Writes a moment, or a step that can't be written about once it is done.
    pub fn note(&self, by: &str, step: &str, does: impl FnOnce() -> Vec<String>) {
        let Some(sink) = &self.0 else { return };
        sink.line(SystemTime::now(), Line { at: 0, took: None, by, step, does: does() });
    }

    /// Does a step of the parent's and writes it.
    pub fn step<T>(&self, step: &str, what: impl FnOnce() -> T) -> T {
        let begun = self.begin();
        let done = what();
        self.end("parent", step, begun, Vec::new);
        done
    }
}

impl Sink {
    /// In one write, so that two processes' lines don't mix. A trace that can't be written must
    /// not stop a container.
    fn line(&self, when: SystemTime, line: Line<'_>) {
        let at = when.duration_since(self.started).unwrap_or_default().as_micros();
        let mut text = serde_json::to_string(&Line { at, ..line }).unwrap_or_default();
        text.push('\n');
        let _ = (&self.file).write_all(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_file_nothing_is_asked_of_anyone() {
        let trace = Trace::default();
        let begun = trace.begin();
        assert!(begun.0.is_none());
        trace.end("init", "mounts", begun, || unreachable!("nobody reads it"));
        trace.note("init", "exec", || unreachable!("nobody reads it"));
        assert_eq!(trace.step("plan", || 7), 7);
    }
}
