//! container.log: docker's json-file lines, written by the monitor.
//!
//! `{"log":"text\n","stream":"stdout","time":"2026-01-02T03:04:05.6789Z"}`; a line longer than
//! 16 KiB is cut into entries of which only the last ends in `\n`, as docker does.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::error::{Error, Result};

/// Bytes of text in one entry at most.
const LONGEST: usize = 16 * 1024;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one file.
    pub size: u64,
    /// Files: the one written to and older ones, `container.log.1` the youngest.
    pub files: u32,
}

impl Default for Limits {
    /// DIFFERS: docker keeps everything until the disk is full; 5 × 16 MiB are kept here.
    fn default() -> Self {
        Self { size: 16 << 20, files: 5 }
    }
}

impl Limits {
    /// What `--log-opt max-size=…`, `max-file=…` say.
    pub fn of(options: &BTreeMap<String, String>) -> Result<Self> {
        let mut limits = Self::default();
        for (key, value) in options {
            let bad = || Error::usage(format!("--log-opt {key}={value}: not a size or count"));
            match key.as_str() {
                "max-size" => limits.size = size(value).ok_or_else(bad)?,
                "max-file" => {
                    limits.files = value.parse().ok().filter(|&n| n > 0).ok_or_else(bad)?;
                }
                _ => {
                    let hint = "json-file knows max-size and max-file";
                    return Err(Error::usage(format!("--log-opt {key}: unknown; {hint}")));
                }
            }
        }
        Ok(limits)
    }
}

/// `10m`, `1g`, `4096`; -1 means without end.
fn size(text: &str) -> Option<u64> {
    if text == "-1" {
        return Some(u64::MAX);
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" => 10,
        "m" | "mb" => 20,
        "g" | "gb" => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift).filter(|&n| n > 0)
}

/// Which stream a text came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// stdout, and a terminal's output.
    Stdout,
    /// stderr.
    Stderr,
}

impl Stream {
    /// docker's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Writes a container's log.
pub struct Writer {
    path: PathBuf,
    file: File,
    size: u64,
    limits: Limits,
    partial: [Vec<u8>; 2],
    out: Vec<u8>,
    clock: Clock,
}

impl Writer {
    /// Goes on with the log at `path`.
    pub fn open(path: &Path, limits: Limits) -> std::io::Result<Self> {
        let file = append_to(path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            size,
            limits,
            partial: [Vec::new(), Vec::new()],
            out: Vec::new(),
            clock: Clock::default(),
        })
    }

    /// Logs the whole lines of `bytes`, keeping an unfinished last one for later.
    pub fn write(&mut self, stream: Stream, bytes: &[u8]) -> std::io::Result<()> {
        let time = self.clock.text(Timestamp::now());
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|&b| b == b'\n') {
            let (line, after) = rest.split_at(end + 1);
            self.take(stream, line, &time);
            rest = after;
        }
        self.take(stream, rest, &time);
        self.flush()
    }

    /// Logs what has no newline yet.
    pub fn finish(&mut self) -> std::io::Result<()> {
        let time = self.clock.text(Timestamp::now());
        for stream in [Stream::Stdout, Stream::Stderr] {
            let held = std::mem::take(&mut self.partial[stream as usize]);
            if !held.is_empty() {
                entry(&mut self.out, &held, stream, &time);
            }
        }
        self.flush()
    }

    /// `part` ends in a newline or is the unfinished end.
    fn take(&mut self, stream: Stream, mut part: &[u8], time: &str) {
        let held = &mut self.partial[stream as usize];
        loop {
            let room = LONGEST - held.len();
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            if text.len() <= room && text.len() < part.len() {
                if held.is_empty() {
                    entry(&mut self.out, part, stream, time);
                } else {
                    held.extend(part);
                    entry(&mut self.out, held, stream, time);
                    held.clear();
                }
                return;
            }
            if text.len() < room {
                held.extend(part);
                return;
            }
            held.extend(&part[..room]);
            entry(&mut self.out, held, stream, time);
            held.clear();
            part = &part[room..];
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        if self.size > 0 && self.size + self.out.len() as u64 > self.limits.size {
            self.rotate()?;
        }
        let done = self.file.write_all(&self.out);
        self.size += self.out.len() as u64;
        self.out.clear();
        if self.out.capacity() > 4 * LONGEST {
            self.out.shrink_to(4 * LONGEST); // a burst is no reason to stay large
        }
        done
    }

    fn rotate(&mut self) -> std::io::Result<()> {
        if self.limits.files <= 1 {
            self.file.set_len(0)?;
        } else {
            for n in (1..self.limits.files - 1).rev() {
                let _ = std::fs::rename(rotated(&self.path, n), rotated(&self.path, n + 1));
            }
            std::fs::rename(&self.path, rotated(&self.path, 1))?;
            self.file = append_to(&self.path)?;
        }
        self.size = 0;
        Ok(())
    }
}

/// The path of the `n`th older file; 0 is the one written to.
pub fn rotated(path: &Path, n: u32) -> PathBuf {
    if n == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    name.into()
}

fn append_to(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// Appends one entry.
fn entry(out: &mut Vec<u8>, text: &[u8], stream: Stream, time: &str) {
    out.extend(b"{\"log\":\"");
    escape(out, text);
    out.extend(b"\",\"stream\":\"");
    out.extend(stream.as_str().as_bytes());
    out.extend(b"\",\"time\":\"");
    out.extend(time.as_bytes());
    out.extend(b"\"}\n");
}

/// Go's JSON string: `<`, `>`, `&` escaped, what is not UTF-8 replaced.
fn escape(out: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        let valid = chunk.valid().as_bytes();
        let mut plain = 0;
        for (at, &byte) in valid.iter().enumerate() {
            let short: &[u8] = match byte {
                b'"' => b"\\\"",
                b'\\' => b"\\\\",
                b'\n' => b"\\n",
                b'\r' => b"\\r",
                b'\t' => b"\\t",
                0..0x20 | b'<' | b'>' | b'&' => b"",
                _ => continue,
            };
            out.extend(&valid[plain..at]);
            plain = at + 1;
            if short.is_empty() {
                let hex = b"0123456789abcdef";
                out.extend(b"\\u00");
                out.extend([hex[usize::from(byte >> 4)], hex[usize::from(byte & 15)]]);
            } else {
                out.extend(short);
            }
        }
        out.extend(&valid[plain..]);
        for _ in chunk.invalid() {
            out.extend("\u{fffd}".as_bytes());
        }
    }
}

/// RFC3339Nano as Go prints it; the part up to the second is kept between calls.
#[derive(Default)]
struct Clock {
    second: i64,
    text: String,
}

impl Clock {
    fn text(&mut self, now: Timestamp) -> String {
        if self.second != now.as_second() || self.text.is_empty() {
            self.second = now.as_second();
            self.text = now.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        }
        match now.subsec_nanosecond() {
            0 => format!("{}Z", self.text),
            nanos => {
                let nanos = format!("{nanos:09}");
                format!("{}.{}Z", self.text, nanos.trim_end_matches('0'))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(parts: &[(Stream, &[u8])]) -> Vec<(String, String)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("container.log");
        let mut log = Writer::open(&path, Limits::default()).unwrap();
        for (stream, bytes) in parts {
            log.write(*stream, bytes).unwrap();
        }
        log.finish().unwrap();
        entries(&path)
    }

    fn entries(path: &Path) -> Vec<(String, String)> {
        let text = std::fs::read_to_string(path).unwrap();
        let parse = |line: &str| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            let _: Timestamp = value["time"].as_str().unwrap().parse().unwrap();
            (value["stream"].as_str().unwrap().into(), value["log"].as_str().unwrap().into())
        };
        text.lines().map(parse).collect()
    }

    fn entry_of(stream: &str, text: &str) -> (String, String) {
        (stream.into(), text.into())
    }

    #[test]
    fn a_line_in_pieces_is_one_entry_and_streams_do_not_mix() {
        let got = written(&[
            (Stream::Stdout, b"he"),
            (Stream::Stderr, b"oops\n"),
            (Stream::Stdout, b"llo\nrest"),
        ]);
        assert_eq!(
            got,
            [
                entry_of("stderr", "oops\n"),
                entry_of("stdout", "hello\n"),
                entry_of("stdout", "rest")
            ]
        );
    }

    #[test]
    fn long_lines_are_cut_at_16_kib_and_only_the_last_part_has_a_newline() {
        let mut line = vec![b'x'; LONGEST * 2 + 5];
        line.push(b'\n');
        let got = written(&[(Stream::Stdout, &line)]);
        let lengths: Vec<_> = got.iter().map(|(_, text)| text.len()).collect();
        assert_eq!(lengths, [LONGEST, LONGEST, 6]);
        assert!(got[2].1.ends_with('\n'));
    }

    #[test]
    fn bytes_are_escaped_as_go_does() {
        let mut out = Vec::new();
        escape(&mut out, b"<a&\x01\"\\\xff\n\t\xc3\xa9>");
        let expected = "\\u003ca\\u0026\\u0001\\\"\\\\\u{fffd}\\n\\t\u{e9}\\u003e";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn times_drop_trailing_zeros() {
        let mut clock = Clock::default();
        assert_eq!(clock.text(Timestamp::new(0, 0).unwrap()), "1970-01-01T00:00:00Z");
        assert_eq!(clock.text(Timestamp::new(0, 120_000_000).unwrap()), "1970-01-01T00:00:00.12Z");
        assert_eq!(clock.text(Timestamp::new(61, 7).unwrap()), "1970-01-01T00:01:01.000000007Z");
    }

    #[test]
    fn limits_are_docker_s_words() {
        let of = |key: &str, value: &str| Limits::of(&[(key.into(), value.into())].into());
        assert_eq!(of("max-size", "10m").unwrap().size, 10 << 20);
        assert_eq!(of("max-file", "3").unwrap().files, 3);
        for (key, value) in [("max-size", "x"), ("max-size", "0"), ("max-file", "0"), ("mode", "x")]
        {
            assert!(of(key, value).is_err(), "{key}={value}");
        }
    }

    #[test]
    fn a_full_file_is_rotated_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("container.log");
        let mut log = Writer::open(&path, Limits { size: 300, files: 3 }).unwrap();
        for n in 0..40 {
            log.write(Stream::Stdout, format!("line {n}\n").as_bytes()).unwrap();
        }
        let kept: Vec<_> =
            [2, 1, 0].into_iter().flat_map(|n| entries(&rotated(&path, n))).map(|e| e.1).collect();
        assert_eq!(kept.last().unwrap(), "line 39\n");
        assert!(kept.len() < 15 && !rotated(&path, 3).exists());
        let first: u32 = kept[0].trim_start_matches("line ").trim_end().parse().unwrap();
        assert_eq!(first as usize, 40 - kept.len());
    }

    proptest! {
        #[test]
        fn text_comes_back_whatever_the_pieces(
            pieces in proptest::collection::vec("[a-z\n\u{e9}\"<]{0,40}", 0..20)
        ) {
            let parts: Vec<_> = pieces.iter().map(|p| (Stream::Stdout, p.as_bytes())).collect();
            let got: String = written(&parts).into_iter().map(|(_, text)| text).collect();
            prop_assert_eq!(got, pieces.concat());
        }
    }
}
