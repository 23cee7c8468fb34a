//! `events`: what a container uses and that it ran out of memory, a line of JSON each.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;

use super::World;
use crate::cgroup::Stats;
use crate::error::{Error, Result};
use crate::log::Level;
use crate::state::{Record, Status};

/// One line, key for key as runc.
#[derive(Debug, Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Stats>,
}

/// Where lines go.
pub type Sink<'a> = &'a mut dyn FnMut(&str) -> io::Result<()>;

/// Tells them every `interval` until the container stops; once, and at once, with `once`.
pub fn events(id: &str, interval: &str, once: bool, world: &World, sink: Sink<'_>) -> Result<()> {
    let (dir, record) = world.store.find(id)?;
    let wrong = || Error::rule(format!("invalid duration {interval:?}: as 5s, 100ms or 1m30s"));
    let interval = duration(interval).ok_or_else(wrong)?;
    if interval <= 0 {
        return Err(Error::rule("duration interval must be greater than 0"));
    }
    if matches!(dir.status(&record)?, Status::Stopped | Status::Creating) {
        return Err(Error::rule(format!("container with id {id} is not running")));
    }
    if once {
        return tell(&record, "stats", Some(&stats(&record)?), sink);
    }
    follow(&record, Duration::from_nanos(interval as u64), world, sink)
}

fn stats(record: &Record) -> Result<Stats> {
    let why = |e| Error::rule(format!("unable to get container cgroup stats: {e}"));
    let mut stats = record.cgroup.stats().map_err(why)?;
    stats.intel_rdt = record.rdt.stats();
    Ok(stats)
}

fn tell(record: &Record, kind: &'static str, data: Option<&Stats>, sink: Sink<'_>) -> Result<()> {
    let event = Event { kind, id: &record.id, data };
    let line = serde_json::to_string(&event).map_err(|e| Error::rule(e.to_string()))?;
    sink(&(line + "\n")).map_err(|e| Error::io("write", "standard output", &e))
}

/// DIFFERS: runc on cgroup v1 goes on about a container that has stopped until it is deleted.
fn follow(record: &Record, interval: Duration, world: &World, sink: Sink<'_>) -> Result<()> {
    let mut oom = record.cgroup.watch_oom()?;
    let Some(process) = record.process.open()? else { return Ok(()) };
    let mut next = Instant::now() + interval;
    loop {
        let left = next.saturating_duration_since(Instant::now());
        // In whole milliseconds, rounded up, lest we wake before the time.
        let left = left.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128) as i32;
        let (watch, flags) = oom.poll();
        let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN), PollFd::new(watch, flags)];
        match poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(Error::system("poll", &record.id, e)),
        }
        let ended = fds[0].any().unwrap_or(false);
        // Looked at in the last round, too: it may be what ended the container.
        if oom.struck() {
            tell(record, "oom", None, sink)?;
        }
        if ended {
            return Ok(());
        }
        if Instant::now() >= next {
            next = (next + interval).max(Instant::now());
            match stats(record) {
                Ok(stats) => tell(record, "stats", Some(&stats), sink)?,
                Err(e) => world.log.line(Level::Error, &e.to_string()),
            }
        }
    }
}

/// A duration as Go writes it (`1h2m3.5s`, `100ms`, `0`), in nanoseconds.
fn duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 6e10,
            "h" => 3.6e12,
            _ => return None,
        };
        total += number * unit;
        rest = &rest[letters..];
    }
    // Far above what one waits for, and below where i64 ends.
    (total < 9.2e18).then_some(if negative { -total as i64 } else { total as i64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, nanoseconds) in [
            ("5s", 5_000_000_000),
            ("100ms", 100_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5s", 1_500_000_000),
            ("0", 0),
            ("-1s", -1_000_000_000),
            ("1h", 3_600_000_000_000),
        ] {
            assert_eq!(duration(text), Some(nanoseconds), "{text}");
        }
        for text in ["", "5", "s", "5x", "5s3", "-", "1.2.3s", "9999999h"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn an_event_without_data_has_no_such_key() {
        let event = Event { kind: "oom", id: "x", data: None };
        assert_eq!(serde_json::to_string(&event).unwrap(), r#"{"type":"oom","id":"x"}"#);
    }
}
