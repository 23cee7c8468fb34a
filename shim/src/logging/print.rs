//! Records as `dhow logs` shows them.

use std::collections::BTreeMap;
use std::io::{BufWriter, Result, Write};

use jiff::Timestamp;

use super::record::{Entry, decode};

/// Which records to show, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Look {
    /// Nothing before this.
    pub since: Option<Timestamp>,
    /// Nothing after this.
    pub until: Option<Timestamp>,
    /// Each record's time before it.
    pub timestamps: bool,
    /// What goes with it before it; a space when there is nothing, as docker has it.
    pub details: bool,
}

/// How docker's records begin. No text in a record can: its quotes would be escaped.
const BEGIN: &[u8] = b"{\"log\":\"";

/// Whether the end of what was asked for was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// There may be more.
    More,
    /// What comes is younger than asked for.
    Until,
}

/// Shows records: the container's stdout to one place, its stderr to another.
pub struct Printer<'a> {
    look: Look,
    out: BufWriter<&'a mut dyn Write>,
    err: BufWriter<&'a mut dyn Write>,
    last_was_err: bool,
    damaged: u64,
}

impl<'a> Printer<'a> {
    /// Nothing is shown yet.
    pub fn new(look: Look, out: &'a mut dyn Write, err: &'a mut dyn Write) -> Self {
        let (out, err) = (BufWriter::with_capacity(64 * 1024, out), BufWriter::new(err));
        Self { look, out, err, last_was_err: false, damaged: 0 }
    }

    /// Shows one line of a file.
    pub fn line(&mut self, line: &[u8]) -> Result<Reached> {
        if let Some(entry) = decode(line) {
            return self.entry(&entry);
        }
        self.damaged += 1;
        // What was torn has no newline: the next whole record follows it in the same line.
        let next = line.windows(BEGIN.len()).rposition(|part| part == BEGIN).filter(|&at| at > 0);
        match next.and_then(|at| decode(&line[at..])) {
            Some(entry) => self.entry(&entry),
            None => Ok(Reached::More),
        }
    }

    /// Shows one record.
    pub fn entry(&mut self, entry: &Entry<'_>) -> Result<Reached> {
        if self.look.since.is_some_and(|since| entry.time < since) {
            return Ok(Reached::More);
        }
        if self.look.until.is_some_and(|until| entry.time > until) {
            return Ok(Reached::Until);
        }
        if entry.stderr != self.last_was_err {
            self.flush()?; // both may be one terminal: what came first is seen first
            self.last_was_err = entry.stderr;
        }
        let to = if entry.stderr { &mut self.err } else { &mut self.out };
        if self.look.timestamps {
            // Nine digits always, as docker prints them here.
            write!(to, "{} ", entry.time.strftime("%Y-%m-%dT%H:%M:%S.%9fZ"))?;
        }
        if self.look.details {
            write!(to, "{} ", details(&entry.attributes))?;
        }
        to.write_all(&entry.text)?;
        Ok(Reached::More)
    }

    /// What was shown is seen.
    pub fn flush(&mut self) -> Result<()> {
        self.out.flush()?;
        self.err.flush()
    }

    /// What a power cut tore, or a disk did not take (`lost`), is said, not hidden.
    pub fn finish(&mut self, lost: Option<&str>) -> Result<()> {
        if self.damaged > 0 {
            writeln!(self.err, "dhow: {} damaged log entries were left out", self.damaged)?;
        }
        if let Some(lost) = lost {
            writeln!(self.err, "dhow: {}", lost.trim_end())?;
        }
        self.flush()
    }
}

/// `a=1,b=x+y`
fn details(attributes: &BTreeMap<String, String>) -> String {
    let pairs =
        attributes.iter().map(|(key, value)| format!("{}={}", escaped(key), escaped(value)));
    pairs.collect::<Vec<_>>().join(",")
}

/// Go's `url.QueryEscape`.
fn escaped(text: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(lines: &[&str], look: Look) -> (String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut printer = Printer::new(look, &mut out, &mut err);
        for line in lines {
            if printer.line(line.as_bytes()).unwrap() == Reached::Until {
                break;
            }
        }
        printer.finish(None).unwrap();
        drop(printer);
        (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn details_are_escaped_as_in_an_address() {
        let line = r#"{"log":"hi\n","stream":"stdout","attrs":{"E":"x y","a":"1/2"},"time":"2026-01-02T03:04:05.5Z"}"#;
        let look = Look { timestamps: true, details: true, ..Look::default() };
        let (out, _) = shown(&[line], look);
        assert_eq!(out, "2026-01-02T03:04:05.500000000Z E=x+y,a=1%2F2 hi\n");
    }

    #[test]
    fn torn_records_are_counted_and_the_rest_is_shown() {
        let look = Look { timestamps: true, details: true, ..Look::default() };
        let stderr = r#"{"log":"err\n","stream":"stderr","time":"2026-01-02T03:04:05.5Z"}"#;
        let torn =
            r#"{"log":"ha{"log":"whole\n","stream":"stdout","time":"2026-01-02T03:04:05.5Z"}"#;
        assert_eq!(shown(&[torn], Look::default()).0, "whole\n");
        let (out, err) = shown(&["\0\0\n", "1767323045500000000 o one\n", stderr], look);
        assert_eq!(out, "2026-01-02T03:04:05.500000000Z  one\n");
        let want =
            "2026-01-02T03:04:05.500000000Z  err\ndhow: 1 damaged log entries were left out\n";
        assert_eq!(err, want);
    }

    #[test]
    fn times_bound_what_is_shown() {
        let at = |second| Timestamp::new(second, 0).ok();
        let look = Look { since: at(2), until: at(3), ..Look::default() };
        let lines =
            ["1000000000 o a\n", "2000000000 o b\n", "3000000000 o c\n", "4000000000 o d\n"];
        assert_eq!(shown(&lines, look).0, "b\nc\n");
    }
}
