//! The shapes that cgroup files have.

use nix::errno::Errno;

use super::{Block, Psi, Stall};
use crate::cgroup::files;
use crate::error::{Error, Result};

/// A file's text; None where the kernel has no such file (or the controller is off).
pub(super) fn text(dir: &str, file: &str) -> Result<Option<String>> {
    match files::read(dir, file) {
        Ok(text) => Ok(Some(text)),
        // KERNEL: kernel/sched/psi.c: EOPNOTSUPP where psi is built in but off.
        Err(Errno::ENOENT | Errno::EOPNOTSUPP) => Ok(None),
        Err(errno) => Err(Error::system("read", format!("{dir}/{file}"), errno)),
    }
}

fn broken(dir: &str, file: &str, line: &str) -> Error {
    Error::rule(format!("unable to parse {dir}/{file}: malformed line: {line}"))
}

/// A number that may be `max`. As runc, what is negative is 0: some counters of memory are, for
/// a moment.
fn parse(text: &str) -> Option<u64> {
    match text {
        "max" => Some(u64::MAX),
        negative if negative.starts_with('-') => Some(0),
        number => number.parse().ok(),
    }
}

/// A file with one number, where there is such a file.
pub(super) fn number(dir: &str, file: &str) -> Result<Option<u64>> {
    let Some(text) = text(dir, file)? else { return Ok(None) };
    parse(&text).map(Some).ok_or_else(|| broken(dir, file, &text))
}

/// A file of `KEY NUMBER` lines, in its order; none where there is no such file.
pub(super) fn table(dir: &str, file: &str) -> Result<Vec<(String, u64)>> {
    let text = text(dir, file)?.unwrap_or_default();
    let pair = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), parse(value)?))
    };
    text.lines().map(|line| pair(line).ok_or_else(|| broken(dir, file, line))).collect()
}

/// One number of a [`table`], 0 where it isn't listed.
pub(super) fn value(table: &[(String, u64)], key: &str) -> u64 {
    table.iter().find(|(k, _)| k == key).map_or(0, |(_, value)| *value)
}

/// Numbers with white space between.
pub(super) fn numbers(dir: &str, file: &str) -> Result<Vec<u64>> {
    let text = text(dir, file)?.unwrap_or_default();
    let one = |word: &str| word.parse().map_err(|_| broken(dir, file, &text));
    text.split_whitespace().map(one).collect()
}

/// A list such as `0-3,7`.
pub(super) fn list(dir: &str, file: &str) -> Result<Vec<u16>> {
    let text = text(dir, file)?.unwrap_or_default();
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to): (u16, u16) = (from.parse().ok()?, to.parse().ok()?);
        (from <= to).then_some(from..=to)
    };
    let mut out = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        out.extend(range(part).ok_or_else(|| broken(dir, file, &text))?);
    }
    Ok(out)
}

/// cgroup v1: lines `8:0 Read 5` or `8:0 5`, and a `Total 5` that counts for nothing.
pub(super) fn blocks(dir: &str, file: &str) -> Result<Vec<Block>> {
    let text = text(dir, file)?.unwrap_or_default();
    let one = |line: &str| {
        let fields: Vec<&str> = line.split([' ', ':']).filter(|part| !part.is_empty()).collect();
        let number = |at: usize| fields[at].parse::<u64>().ok();
        let (op, value) = match fields.len() {
            3 => (String::new(), number(2)?),
            4 => (fields[2].to_owned(), number(3)?),
            _ => return None,
        };
        Some(Block { major: number(0)?, minor: number(1)?, op, value })
    };
    let lines = text.lines().filter(|line| !line.starts_with("Total "));
    lines.map(|line| one(line).ok_or_else(|| broken(dir, file, line))).collect()
}

/// cgroup v2: `8:0 rbytes=5 wbytes=7 …` as device and pairs.
pub(super) type Device = ((u64, u64), Vec<(String, u64)>);

/// A file of [`Device`]s.
pub(super) fn devices(dir: &str, file: &str) -> Result<Vec<Device>> {
    let text = text(dir, file)?.unwrap_or_default();
    let device = |line: &str| {
        let mut words = line.split_whitespace();
        let (major, minor) = words.next()?.split_once(':')?;
        let pairs = words.filter_map(|word| {
            let (key, value) = word.split_once('=')?;
            Some((key.to_owned(), value.parse().ok()?))
        });
        Some(((major.parse().ok()?, minor.parse().ok()?), pairs.collect()))
    };
    // A device that is on its way out has a line of its number alone.
    Ok(text.lines().filter_map(device).collect())
}

/// Pressure, where the kernel measures it.
pub(super) fn pressure(dir: &str, file: &str) -> Result<Option<Psi>> {
    let Some(text) = text(dir, file)? else { return Ok(None) };
    let mut psi = Psi::default();
    for line in text.lines() {
        let mut words = line.split(' ');
        let into = match words.next() {
            Some("some") => &mut psi.some,
            Some("full") => &mut psi.full,
            _ => continue,
        };
        *into = stall(words).ok_or_else(|| broken(dir, file, line))?;
    }
    Ok(Some(psi))
}

fn stall<'a>(words: impl Iterator<Item = &'a str>) -> Option<Stall> {
    let mut stall = Stall::default();
    for word in words {
        let (key, value) = word.split_once('=')?;
        match key {
            "avg10" => stall.avg10 = value.parse().ok()?,
            "avg60" => stall.avg60 = value.parse().ok()?,
            "avg300" => stall.avg300 = value.parse().ok()?,
            "total" => stall.total = value.parse().ok()?,
            _ => {}
        }
    }
    Some(stall)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(file: &str, text: &str) -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(file), text).unwrap();
        let path = dir.path().to_str().unwrap().to_owned();
        (dir, path)
    }

    #[test]
    fn numbers_may_be_max_negative_or_absent() {
        for (text, expected) in [("max\n", u64::MAX), ("-3\n", 0), ("17\n", 17)] {
            let (_held, dir) = dir("n", text);
            assert_eq!(number(&dir, "n").unwrap(), Some(expected), "{text}");
            assert_eq!(number(&dir, "absent").unwrap(), None);
        }
        let (_held, dir) = dir("n", "x\n");
        let line = number(&dir, "n").unwrap_err().to_string();
        assert!(line.ends_with("/n: malformed line: x"), "{line}");
    }

    #[test]
    fn lists_are_spread_out() {
        let (_held, path) = dir("l", "0-2,7\n");
        assert_eq!(list(&path, "l").unwrap(), [0, 1, 2, 7]);
        let (_held, path) = dir("l", "\n");
        assert_eq!(list(&path, "l").unwrap(), Vec::<u16>::new());
        let (_held, path) = dir("l", "3-1\n");
        assert!(list(&path, "l").is_err());
    }

    #[test]
    fn block_counts_have_an_operation_or_none() {
        let (_held, path) = dir("b", "8:0 Read 5\n8:16 9\nTotal 14\n");
        let block = |minor, op: &str, value| Block { major: 8, minor, op: op.to_owned(), value };
        assert_eq!(blocks(&path, "b").unwrap(), [block(0, "Read", 5), block(16, "", 9)]);
    }

    #[test]
    fn devices_have_pairs() {
        let (_held, path) = dir("io.stat", "8:0 rbytes=5 wbytes=7\n7:1\n");
        let pairs = vec![("rbytes".to_owned(), 5), ("wbytes".to_owned(), 7)];
        assert_eq!(devices(&path, "io.stat").unwrap(), [((8, 0), pairs), ((7, 1), vec![])]);
    }

    #[test]
    fn pressure_is_some_and_full() {
        let text = "some avg10=1.50 avg60=0.00 avg300=0.25 total=12\nfull avg10=0.00 total=3\n";
        let (_held, path) = dir("cpu.pressure", text);
        let psi = pressure(&path, "cpu.pressure").unwrap().unwrap();
        assert_eq!(psi.some, Stall { avg10: 1.5, avg60: 0.0, avg300: 0.25, total: 12 });
        assert_eq!(psi.full.total, 3);
    }
}
