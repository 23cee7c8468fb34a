//! `update`: other limits for a container that is.

use std::io::Read;
use std::path::Path;

use super::World;
use crate::cgroup::Resources;
use crate::error::{Error, Result};
use crate::log::Level;
use crate::resctrl::{self, Tree};
use crate::state::{Record, Status};
use crate::validate;

/// Where the new limits come from.
#[derive(Debug)]
pub enum Source<'a> {
    /// `--resources FILE`, `-` for standard input.
    File(&'a Path),
    /// The other flags, as `linux.resources`.
    Flags(&'a Resources<'a>),
}

/// `--l3-cache-schema` and `--mem-bw-schema`; empty ones stay.
#[derive(Debug, Default)]
pub struct Schemas<'a> {
    /// The first.
    pub l3: &'a str,
    /// The second.
    pub bandwidth: &'a str,
}

/// Updates its limits; what isn't asked for stays.
pub fn update(id: &str, source: &Source<'_>, rdt: &Schemas<'_>, world: &World) -> Result<()> {
    let (held, record) = world.store.hold(id)?;
    if matches!(held.dir.status(&record)?, Status::Stopped | Status::Creating) {
        return Err(Error::rule("container not running"));
    }
    let asked = !rdt.l3.is_empty() || !rdt.bandwidth.is_empty();
    // Judged before anything is changed, changed after what can be changed back.
    let lines = || resctrl::lines(Tree::find().ok().as_ref(), rdt.l3, rdt.bandwidth);
    let lines = asked.then(lines).transpose()?;
    match source {
        Source::File(path) => {
            let text = read(path)?;
            set(&record, validate::parse(&text)?, world)?;
        }
        Source::Flags(resources) => set(&record, (*resources).clone(), world)?,
    }
    lines.map_or(Ok(()), |lines| record.rdt.update(&lines))
}

fn set(record: &Record, mut resources: Resources<'_>, world: &World) -> Result<()> {
    resources.pids.settle(&record.oci_version);
    if let Some(warning) = resources.warning() {
        world.log.line(Level::Warning, warning);
    }
    record.cgroup.update(&resources)
}

fn read(path: &Path) -> Result<String> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    read.map_err(|e| Error::io("read", path.to_string_lossy(), &e))
}

/// A number of bytes as docker writes it (`512m`, `1.5GiB`, `-1`), for flags.
pub fn bytes(text: &str) -> std::result::Result<i64, String> {
    if text == "-1" {
        return Ok(-1);
    }
    let wrong = || format!("invalid size: '{text}'");
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let power = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return Err(wrong()),
    };
    if let Ok(whole) = number.parse::<i64>() {
        return whole.checked_mul(1 << (10 * power)).ok_or_else(wrong);
    }
    let part: f64 = number.parse().map_err(|_| wrong())?;
    let value = part * 1024_f64.powi(power);
    // 2^62: far above any memory, and far from where i64 ends.
    if value < 4.6e18 { Ok(value as i64) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_dockers() {
        for (text, value) in
            [("0", 0), ("32", 32), ("32b", 32), ("32k", 32 << 10), ("1.5 GiB", 3 << 29), ("-1", -1)]
        {
            assert_eq!(bytes(text), Ok(value), "{text}");
        }
        for text in ["", "-2", "k", "1x", "1.2.3", "9999999999g"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_size_panics(text in ".{0,24}") {
            let _ = bytes(&text);
        }
    }
}
