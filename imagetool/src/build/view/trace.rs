//! What is known of a build's steps so far; the views only read it.

use std::collections::HashMap;
use std::time::Duration;

use crate::build::progress::{Event, StepId};

/// All steps, in the order of being told of first.
#[derive(Debug, Default)]
pub struct Trace {
    /// The steps.
    pub steps: Vec<Step>,
    /// What is not as it should be, in the order of being told of.
    pub warnings: Vec<Warning>,
    places: HashMap<StepId, usize>,
}

/// A step.
#[derive(Debug)]
pub struct Step {
    /// Its text.
    pub name: String,
    /// When it began, since the build did.
    pub began: Duration,
    /// When it ended, and how.
    pub ended: Option<(Duration, Fate)>,
    /// Parts of its work.
    pub parts: Vec<Part>,
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Well, after so long.
    Done(Duration),
    /// An earlier build's result holds.
    Cached,
    /// Not well.
    Failed(String),
    /// Another one failed.
    Canceled,
}

/// A part of a step's work.
#[derive(Debug)]
pub struct Part {
    /// `transferring context:`, `exporting layers`.
    pub name: String,
    /// Bytes so far.
    pub current: u64,
    /// Bytes in all; 0: unknown.
    pub total: u64,
    /// When it began.
    pub began: Duration,
    /// When it was last told of.
    pub told: Duration,
    /// Whether it is done.
    pub done: bool,
    /// Told of since it was last printed.
    pub news: bool,
}

/// Something that can be built, but is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The check's name.
    pub check: String,
    /// What it found.
    pub text: String,
    /// Where.
    pub line: usize,
}

impl Warning {
    /// As BuildKit words it.
    pub fn short(&self) -> String {
        format!("{}: {} (line {})", self.check, self.text, self.line)
    }
}

impl Trace {
    /// Takes note; the step that is changed by it, by its place. What a RUN wrote is the views' own.
    pub fn tell(&mut self, event: &Event<'_>, at: Duration) -> Option<usize> {
        match *event {
            Event::Began(id, name) => {
                if self.places.contains_key(&id) {
                    return None;
                }
                self.places.insert(id, self.steps.len());
                let name = name.to_owned();
                self.steps.push(Step { name, began: at, ended: None, parts: Vec::new() });
                Some(self.steps.len() - 1)
            }
            Event::Cached(id) => self.end(id, at, Fate::Cached),
            Event::Done(id, took) => self.end(id, at, Fate::Done(took)),
            Event::Failed(id, why) => self.end(id, at, Fate::Failed(why.to_owned())),
            Event::Canceled(id) => self.end(id, at, Fate::Canceled),
            Event::Wrote(id, ..) => self.place(id),
            Event::Moved(id, name, current, total) => {
                let place = self.place(id)?;
                self.steps[place].moved(name, current, total, at);
                Some(place)
            }
            Event::Warning(check, text, line) => {
                let (check, text) = (check.to_owned(), text.to_owned());
                let warning = Warning { check, text, line };
                if !self.warnings.contains(&warning) {
                    self.warnings.push(warning);
                }
                (!self.steps.is_empty()).then_some(0)
            }
        }
    }

    /// Where the step of this number is.
    pub fn place(&self, id: StepId) -> Option<usize> {
        self.places.get(&id).copied()
    }

    fn end(&mut self, id: StepId, at: Duration, fate: Fate) -> Option<usize> {
        let place = self.place(id)?;
        let step = &mut self.steps[place];
        if step.ended.is_some() {
            return None;
        }
        for part in step.parts.iter_mut().filter(|part| !part.done) {
            (part.done, part.news, part.told) = (true, true, at);
        }
        step.ended = Some((at, fate));
        Some(place)
    }
}

impl Step {
    /// How it ended, if it has.
    pub fn fate(&self) -> Option<&Fate> {
        self.ended.as_ref().map(|(_, fate)| fate)
    }

    /// How long it took, or has been going on.
    pub fn took(&self, now: Duration) -> Duration {
        match &self.ended {
            Some((_, Fate::Done(took))) => *took,
            Some((at, _)) => at.saturating_sub(self.began),
            None => now.saturating_sub(self.began),
        }
    }

    fn moved(&mut self, name: &str, current: u64, total: Option<u64>, at: Duration) {
        let done = total == Some(current);
        if let Some(part) = self.parts.iter_mut().find(|part| part.name == name) {
            // What had no end when it began gets none by ending.
            part.total = if part.total == 0 && done { 0 } else { total.unwrap_or(part.total) };
            (part.current, part.told, part.done, part.news) = (current, at, done, true);
            return;
        }
        let total = if done { 0 } else { total.unwrap_or(0) };
        let name = name.to_owned();
        self.parts.push(Part { name, current, total, began: at, told: at, done, news: true });
    }
}

/// `2.05kB`, `132B`: as BuildKit's `%.2f` of bytes.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if n < 1000 {
        return format!("{n}B");
    }
    #[allow(clippy::cast_precision_loss)] // two digits are shown
    let mut scaled = n as f64 / 1000.0;
    let mut unit = 0;
    while scaled >= 1000.0 && unit + 1 < UNITS.len() {
        scaled /= 1000.0;
        unit += 1;
    }
    format!("{scaled:.2}{}", UNITS[unit])
}

impl Part {
    /// ` 2.05kB / 4.10kB`, with what is known.
    pub fn amount(&self) -> String {
        match (self.current, self.total) {
            (0, 0) => String::new(),
            (current, 0) => bytes(current),
            (current, total) => format!("{} / {}", bytes(current), bytes(total)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_worded_as_buildkits() {
        for (n, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1.00kB"),
            (2_049, "2.05kB"),
            (3_400_000, "3.40MB"),
            (u64::MAX, "18.45EB"),
        ] {
            assert_eq!(bytes(n), text);
        }
    }

    #[test]
    fn what_is_told_of_no_step_is_no_step() {
        let mut trace = Trace::default();
        let at = Duration::ZERO;
        assert_eq!(trace.tell(&Event::Done(4, at), at), None);
        assert_eq!(trace.tell(&Event::Began(4, "a"), at), Some(0));
        assert_eq!(trace.tell(&Event::Began(4, "b"), at), None);
        assert_eq!(trace.tell(&Event::Cached(4), at), Some(0));
        assert_eq!(trace.tell(&Event::Failed(4, "late"), at), None);
        assert_eq!(trace.steps[0].fate(), Some(&Fate::Cached));
    }
}
