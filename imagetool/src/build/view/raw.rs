//! Events as JSON, one document a line, in the form of BuildKit's clients (`rawjson`).

use std::collections::HashMap;
use std::io::{self, Write};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::trace::{Fate, Trace, Warning};
use crate::build::progress::{Event, Stream};
use crate::digest::Digest;

/// The view.
pub struct Raw {
    start: Timestamp,
    names: HashMap<usize, String>,
}

impl Raw {
    /// Of a build that began at this time.
    pub fn new(start: Timestamp) -> Self {
        Self { start, names: HashMap::new() }
    }

    /// Prints an event.
    pub fn tell(
        &mut self,
        trace: &mut Trace,
        event: &Event<'_>,
        at: Duration,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let Some(place) = trace.tell(event, at) else { return Ok(()) };
        let now = self.time(at);
        let vertex = self.vertex(trace, place);
        let document = match event {
            Event::Wrote(_, stream, bytes) => json!({ "logs": [{
                "vertex": vertex,
                "stream": if *stream == Stream::Stdout { 1 } else { 2 },
                "data": STANDARD.encode(bytes),
                "timestamp": now,
            }]}),
            Event::Moved(_, name, ..) => {
                let parts = trace.steps[place].parts.iter();
                let parts: Vec<Value> = parts
                    .filter(|part| part.name == *name)
                    .map(|part| {
                        let mut status = json!({
                            "id": part.name, "vertex": vertex, "current": part.current,
                            "timestamp": now, "started": self.time(part.began),
                        });
                        if part.total > 0 {
                            status["total"] = part.total.into();
                        }
                        if part.done {
                            status["completed"] = now.clone().into();
                        }
                        status
                    })
                    .collect();
                json!({ "statuses": parts })
            }
            Event::Warning(..) => {
                let warning = trace.warnings.last().map(|warning| of_warning(warning, &vertex));
                json!({ "warnings": [warning] })
            }
            _ => json!({ "vertexes": [self.step(trace, place, &vertex)] }),
        };
        writeln!(out, "{document}")?;
        out.flush()
    }

    fn step(&self, trace: &Trace, place: usize, vertex: &str) -> Value {
        let step = &trace.steps[place];
        let mut value =
            json!({ "digest": vertex, "name": step.name, "started": self.time(step.began) });
        let Some((at, fate)) = &step.ended else { return value };
        value["completed"] = self.time(*at).into();
        match fate {
            Fate::Done(_) => {}
            Fate::Cached => value["cached"] = true.into(),
            Fate::Failed(why) => value["error"] = why.as_str().into(),
            Fate::Canceled => value["error"] = "context canceled".into(),
        }
        value
    }

    /// What a step is called: a digest of its text and place.
    fn vertex(&mut self, trace: &Trace, place: usize) -> String {
        let name = || Digest::of(format!("{place}\0{}", trace.steps[place].name).as_bytes());
        self.names.entry(place).or_insert_with(|| name().to_string()).clone()
    }

    fn time(&self, at: Duration) -> String {
        let at = SignedDuration::try_from(at).unwrap_or(SignedDuration::MAX);
        self.start.checked_add(at).unwrap_or(self.start).to_string()
    }
}

fn of_warning(warning: &Warning, vertex: &str) -> Value {
    json!({
        "vertex": vertex,
        "level": 1,
        "short": STANDARD.encode(warning.short()),
        "range": [{ "start": { "line": warning.line }, "end": { "line": warning.line } }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_an_event() {
        let (mut out, mut trace) = (Vec::new(), Trace::default());
        let mut raw = Raw::new("2026-01-02T03:04:05Z".parse().unwrap());
        let at = Duration::from_millis(500);
        for event in [
            Event::Began(7, "[1/1] RUN x"),
            Event::Wrote(7, Stream::Stderr, b"hi\n"),
            Event::Moved(7, "exporting layers", 0, Some(0)),
            Event::Warning("Check", "what", 3),
            Event::Failed(7, "no"),
            Event::Done(9, at),
        ] {
            raw.tell(&mut trace, &event, at, &mut out).unwrap();
        }
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines.len(), 5);
        let vertex = lines[0]["vertexes"][0]["digest"].as_str().unwrap();
        assert!(vertex.starts_with("sha256:"));
        assert_eq!(lines[0]["vertexes"][0]["started"], "2026-01-02T03:04:05.5Z");
        assert_eq!(lines[1]["logs"][0]["data"], "aGkK");
        assert_eq!(lines[1]["logs"][0]["stream"], 2);
        assert_eq!(lines[2]["statuses"][0]["completed"], "2026-01-02T03:04:05.5Z");
        assert_eq!(lines[3]["warnings"][0]["range"][0]["start"]["line"], 3);
        assert_eq!(lines[4]["vertexes"][0]["error"], "no");
        assert_eq!(lines[4]["vertexes"][0]["digest"], vertex);
    }
}
