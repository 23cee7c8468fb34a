//! A log read back from systemd's journal, through `journalctl`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind};
use std::process::{Child, ChildStdout, Command, Stdio};

use jiff::Timestamp;
use serde_json::Value;

use super::print::{Printer, Reached};
use super::record::Entry;
use crate::error::{Error, Result};

/// What journald itself and our driver put into every record.
const OURS: [&str; 10] = [
    "CONTAINER_ID",
    "CONTAINER_ID_FULL",
    "CONTAINER_NAME",
    "CONTAINER_TAG",
    "IMAGE_NAME",
    "SYSLOG_IDENTIFIER",
    "SYSLOG_TIMESTAMP",
    "PRIORITY",
    "MESSAGE",
    "SYSLOG_FACILITY",
];

/// A reading under way: who has it can end it.
pub struct Reading {
    child: Child,
    lines: BufReader<ChildStdout>,
    /// journald's name for the last record that was read.
    cursor: Option<String>,
}

/// What to read.
#[derive(Debug, Clone, Copy)]
pub enum Part<'a> {
    /// So many of the last records; none means all.
    Last(Option<u64>),
    /// As [`Part::Last`], and those to come.
    Follow(Option<u64>),
    /// Those after the record of this cursor.
    After(&'a str),
}

/// Begins to read records of the container `id`.
pub fn read(id: &str, part: Part<'_>) -> Result<Reading> {
    let mut call = Command::new("journalctl");
    call.args(["--output=json", "--all", "--quiet", "--no-pager"]);
    let lines = |n: Option<u64>| n.map_or_else(|| "all".to_owned(), |n| n.to_string());
    match part {
        Part::Last(n) => call.arg(format!("--lines={}", lines(n))),
        Part::Follow(n) => call.arg(format!("--lines={}", lines(n))).arg("--follow"),
        Part::After(cursor) => call.arg(format!("--after-cursor={cursor}")),
    };
    call.arg(format!("CONTAINER_ID_FULL={id}"));
    call.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = call.spawn().map_err(|e| {
        let lacks = e.kind() == ErrorKind::NotFound;
        let why = if lacks { "this machine has no journalctl".into() } else { e.to_string() };
        Error::engine(format!("the log is in systemd's journal, which journalctl reads: {why}"))
    })?;
    let stdout = child.stdout.take().ok_or_else(|| Error::engine("journalctl: no output"))?;
    Ok(Reading { child, lines: BufReader::new(stdout), cursor: None })
}

/// Waits until journald has put away what it was sent. One too old for that has done so by itself.
pub fn sync() {
    let mut call = Command::new("journalctl");
    call.arg("--sync").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _ = call.status();
}

impl Reading {
    /// The process that reads; ending it ends the reading.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// journald's name for the last record that was shown.
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// Shows what there is; while it follows, each record as it comes.
    pub fn print(&mut self, printer: &mut Printer<'_>) -> std::io::Result<Reached> {
        let mut line = Vec::new();
        while self.lines.read_until(b'\n', &mut line)? > 0 {
            let record = record(&line);
            line.clear();
            if let Some((entry, cursor)) = record {
                if printer.entry(&entry)? == Reached::Until {
                    return Ok(Reached::Until);
                }
                self.cursor = cursor.or(self.cursor.take());
            }
            if self.lines.buffer().is_empty() {
                printer.flush()?;
            }
        }
        Ok(Reached::More)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One record of `journalctl --output=json`, and its cursor.
fn record(line: &[u8]) -> Option<(Entry<'static>, Option<String>)> {
    let Value::Object(fields) = serde_json::from_slice(line).ok()? else { return None };
    let text = |key: &str| fields.get(key).and_then(Value::as_str);
    let mut message = match fields.get("MESSAGE")? {
        Value::String(text) => text.clone().into_bytes(),
        // What is not UTF-8 comes as numbers.
        Value::Array(bytes) => {
            bytes.iter().filter_map(|b| u8::try_from(b.as_u64()?).ok()).collect()
        }
        _ => return None,
    };
    if text("CONTAINER_PARTIAL_MESSAGE") != Some("true") {
        message.push(b'\n');
    }
    let stamp = text("SYSLOG_TIMESTAMP").and_then(|text| text.parse().ok());
    let micros = || Timestamp::from_microsecond(text("__REALTIME_TIMESTAMP")?.parse().ok()?).ok();
    let others = fields.iter().filter(|(key, _)| {
        !key.starts_with('_')
            && !OURS.contains(&key.as_str())
            && !key.starts_with("CONTAINER_PARTIAL_")
            && !key.starts_with("CONTAINER_LOG_")
    });
    let pair = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    let attributes: BTreeMap<String, String> = others.filter_map(pair).collect();
    let cursor = text("__CURSOR").map(str::to_owned);
    let stderr = text("PRIORITY") == Some("3");
    let time = stamp.or_else(micros)?;
    Some((Entry { time, stderr, text: message.into(), attributes }, cursor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_journalctl_are_read() {
        let line = br#"{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"1767323045500000","PRIORITY":"3","MESSAGE":"oops","CONTAINER_NAME":"web","COM_X":"1","_PID":"7"}"#;
        let (got, cursor) = record(line).unwrap();
        assert_eq!(cursor.as_deref(), Some("s=1"));
        assert_eq!((&*got.text, got.stderr), (&b"oops\n"[..], true));
        assert_eq!(got.time.to_string(), "2026-01-02T03:04:05.5Z");
        assert_eq!(got.attributes, [("COM_X".to_owned(), "1".to_owned())].into());
        let part = br#"{"SYSLOG_TIMESTAMP":"2026-01-02T03:04:05.5Z","PRIORITY":"6","MESSAGE":[104,255],"CONTAINER_PARTIAL_MESSAGE":"true"}"#;
        assert_eq!(&*record(part).unwrap().0.text, b"h\xff");
        assert!(record(b"{}").is_none() && record(b"x").is_none());
    }
}
