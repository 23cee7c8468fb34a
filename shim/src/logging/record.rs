//! One message as it lies in a file.
//!
//! `json-file` has docker's lines, `{"log":"text\\n","stream":"stdout","time":"2026-01-02T03:04:05.6789Z"}`;
//! `local` has ours, the time in nanoseconds, `o` or `e` for the stream (in capitals when the text
//! has no newline) and the text as it is: `1767323045678900000 o text`. Both have a line a record.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use super::Stream;
use super::lines::Message;

/// How records are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// docker's JSON, with the attributes of every record as JSON, or nothing.
    Json(String),
    /// Ours.
    Local,
}

/// One record read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// When.
    pub time: Timestamp,
    /// Where.
    pub stderr: bool,
    /// With its newline, if it has one.
    pub text: Cow<'a, [u8]>,
    /// What `--details` shows.
    pub attributes: BTreeMap<String, String>,
}

/// One line of docker's JSON.
#[derive(Deserialize)]
struct Json<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    stream: Cow<'a, str>,
    #[serde(default)]
    attrs: BTreeMap<String, String>,
    time: Timestamp,
}

/// Appends a record of `message`.
pub fn encode(out: &mut Vec<u8>, form: &Form, message: &Message<'_>, clock: &mut Clock) {
    match form {
        Form::Json(attributes) => {
            out.extend(b"{\"log\":\"");
            escape(out, message.text);
            out.extend(b"\",\"stream\":\"");
            out.extend(message.stream.as_str().as_bytes());
            if attributes.is_empty() {
                out.extend(b"\",\"time\":\"");
            } else {
                out.extend(b"\",\"attrs\":");
                out.extend(attributes.as_bytes());
                out.extend(b",\"time\":\"");
            }
            out.extend(clock.text().as_bytes());
            out.extend(b"\"}\n");
        }
        Form::Local => {
            let letter = match (message.stream, message.ends()) {
                (Stream::Stdout, true) => 'o',
                (Stream::Stderr, true) => 'e',
                (Stream::Stdout, false) => 'O',
                (Stream::Stderr, false) => 'E',
            };
            out.extend(format!("{} {letter} ", clock.now.as_nanosecond()).as_bytes());
            out.extend(message.text);
            if !message.ends() {
                out.push(b'\n');
            }
        }
    }
}

/// Reads a line of either form; nothing of what is neither.
pub fn decode(line: &[u8]) -> Option<Entry<'_>> {
    if line.first() == Some(&b'{') {
        let json: Json<'_> = serde_json::from_slice(line).ok()?;
        let text = match json.log {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        let (time, attributes) = (json.time, json.attrs);
        return Some(Entry { time, stderr: json.stream == "stderr", text, attributes });
    }
    let mut parts = line.splitn(3, |&b| b == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    let time = Timestamp::from_nanosecond(time).ok()?;
    let (stderr, whole) = match parts.next()? {
        b"o" => (false, true),
        b"e" => (true, true),
        b"O" => (false, false),
        b"E" => (true, false),
        _ => return None,
    };
    let text = parts.next()?;
    let text = if whole { text } else { text.strip_suffix(b"\n")? };
    Some(Entry { time, stderr, text: Cow::Borrowed(text), attributes: BTreeMap::new() })
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

/// The time of a record, RFC3339Nano as Go prints it; the part up to the second is kept between calls.
#[derive(Default)]
pub struct Clock {
    now: Timestamp,
    second: i64,
    text: String,
}

impl Clock {
    /// It is `now`.
    pub fn set(&mut self, now: Timestamp) {
        self.now = now;
    }

    fn text(&mut self) -> String {
        let now = self.now;
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

    fn written(form: &Form, stream: Stream, text: &[u8]) -> Vec<u8> {
        let mut clock = Clock::default();
        clock.set("2026-01-02T03:04:05.5Z".parse().unwrap());
        let mut out = Vec::new();
        encode(&mut out, form, &Message { stream, text, piece: None }, &mut clock);
        out
    }

    #[test]
    fn json_lines_are_dockers() {
        let plain = written(&Form::Json(String::new()), Stream::Stdout, b"hi\n");
        let want =
            "{\"log\":\"hi\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-02T03:04:05.5Z\"}\n";
        assert_eq!(String::from_utf8(plain).unwrap(), want);
        let more = written(&Form::Json("{\"a\":\"1\"}".into()), Stream::Stderr, b"no end");
        let want = "{\"log\":\"no end\",\"stream\":\"stderr\",\"attrs\":{\"a\":\"1\"},\"time\":\"2026-01-02T03:04:05.5Z\"}\n";
        assert_eq!(String::from_utf8(more.clone()).unwrap(), want);
        let entry = decode(&more).unwrap();
        assert_eq!(
            (entry.stderr, &*entry.text, &entry.attributes["a"] as &str),
            (true, &b"no end"[..], "1")
        );
    }

    #[test]
    fn local_lines_keep_every_byte() {
        for text in [&b"hi\n"[..], b"no end", b"\xff\0 o x\n", b"\n"] {
            let line = written(&Form::Local, Stream::Stderr, text);
            let entry = decode(&line).unwrap();
            assert_eq!((&*entry.text, entry.stderr), (text, true));
            assert_eq!(entry.time.to_string(), "2026-01-02T03:04:05.5Z");
        }
        assert_eq!(decode(b"12 x y\n"), None);
        assert_eq!(decode(b"\0\0\n"), None);
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
        let mut text = |second, nanos| {
            clock.set(Timestamp::new(second, nanos).unwrap());
            clock.text()
        };
        assert_eq!(text(0, 0), "1970-01-01T00:00:00Z");
        assert_eq!(text(0, 120_000_000), "1970-01-01T00:00:00.12Z");
        assert_eq!(text(61, 7), "1970-01-01T00:01:01.000000007Z");
    }

    proptest::proptest! {
        #[test]
        fn foreign_bytes_never_stop_the_reader(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
