//! tar-split: a layer's tar without its files' contents. Put together with the files, it is the
//! tar bit for bit. One JSON object a line: type 2 are bytes as they were (headers, padding),
//! type 1 is a file's content, found by its name.

use std::io::{self, BufRead, Read};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::error::{Error, Result};

/// No line is longer: what stands between two files is a few headers, or the padding at the end.
const MAX_LINE: u64 = 32 << 20;

/// One line.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: u8,
    #[serde(default)]
    name: Option<String>,
    #[serde(default, borrow)]
    name_raw: Option<std::borrow::Cow<'a, str>>,
    #[serde(default)]
    size: u64,
    #[serde(default, borrow)]
    payload: Option<std::borrow::Cow<'a, str>>,
}

const FILE: u8 = 1;
const BYTES: u8 = 2;

/// What opens a file of the layer by its name in the tar.
pub(super) type Open<'a> = dyn Fn(&[u8], u64) -> Result<Box<dyn Read + Send>> + Send + 'a;

/// The tar, put together while it is read.
pub(super) struct Assembled<'a, R> {
    lines: R,
    open: Box<Open<'a>>,
    title: String,
    line: Vec<u8>,
    piece: Piece,
}

enum Piece {
    Bytes(io::Cursor<Vec<u8>>),
    File { from: io::Take<Box<dyn Read + Send>>, name: Vec<u8> },
}

impl<'a, R: BufRead> Assembled<'a, R> {
    /// `lines` is the plain tar-split; `title` names the layer in errors.
    pub(super) fn new(lines: R, open: Box<Open<'a>>, title: String) -> Self {
        let piece = Piece::Bytes(io::Cursor::default());
        Self { lines, open, title, line: Vec::new(), piece }
    }

    /// Turns to the next line; `false` at the end.
    fn next(&mut self) -> Result<bool> {
        let bad = |why: &dyn std::fmt::Display| Error::invalid(&self.title, why);
        self.line.clear();
        let mut limited = self.lines.by_ref().take(MAX_LINE);
        let n = limited
            .read_until(b'\n', &mut self.line)
            .map_err(|e| bad(&format!("its tar-split can't be read: {e}")))?;
        if n == 0 {
            return Ok(false);
        }
        if n as u64 == MAX_LINE {
            return Err(bad(&format!("a line of its tar-split is over {MAX_LINE} bytes")));
        }
        let text = self.line.trim_ascii();
        if text.is_empty() {
            return Ok(true);
        }
        let line: Line<'_> = serde_json::from_slice(text)
            .map_err(|e| bad(&format!("its tar-split is no such thing: {e}")))?;
        let decode = |text: Option<&str>| {
            let text = text.unwrap_or_default();
            STANDARD.decode(text).map_err(|e| bad(&format!("its tar-split has bad base64: {e}")))
        };
        self.piece = match line.kind {
            BYTES => Piece::Bytes(io::Cursor::new(decode(line.payload.as_deref())?)),
            FILE if line.size > 0 => {
                let name = match &line.name_raw {
                    Some(raw) if !raw.is_empty() => decode(Some(raw))?,
                    _ => line.name.unwrap_or_default().into_bytes(),
                };
                Piece::File { from: (self.open)(&name, line.size)?.take(line.size), name }
            }
            FILE => Piece::Bytes(io::Cursor::default()),
            other => return Err(bad(&format!("its tar-split has a line of type {other}"))),
        };
        Ok(true)
    }
}

impl<R: BufRead> Read for Assembled<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            let n = match &mut self.piece {
                Piece::Bytes(bytes) => bytes.read(buf)?,
                Piece::File { from, name } => match from.read(buf)? {
                    0 if from.limit() > 0 => {
                        let name = crate::layer::name::show(name);
                        let why = format!("{name} is shorter than it was: somebody changed it");
                        return Err(Error::invalid(&self.title, why).into_io());
                    }
                    n => n,
                },
            };
            if n > 0 {
                return Ok(n);
            }
            if !self.next().map_err(Error::into_io)? {
                return Ok(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn assembled(lines: &[u8]) -> io::Result<Vec<u8>> {
        let open = |name: &[u8], _| -> Result<Box<dyn Read + Send>> {
            match name {
                b"a" => Ok(Box::new(&b"content"[..])),
                [0xff] => Ok(Box::new(&b"raw"[..])),
                _ => Err(Error::invalid("x", "no such file")),
            }
        };
        let mut out = Vec::new();
        Assembled::new(lines, Box::new(open), "layer l".into()).read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn bytes_and_files_in_their_order() {
        let lines = concat!(
            r#"{"type":2,"payload":"aGVhZA==","position":0}"#,
            "\n",
            r#"{"type":1,"name":"a","size":7,"payload":"AAAA","position":1}"#,
            "\n",
            r#"{"type":1,"name":"empty","payload":null,"position":2}"#,
            "\n",
            r#"{"type":2,"payload":"fA==","position":3}"#,
            "\n",
            r#"{"type":1,"name_raw":"/w==","size":3,"payload":"","position":4}"#,
        );
        assert_eq!(assembled(lines.as_bytes()).unwrap(), b"headcontent|raw");
    }

    #[test]
    fn what_lies_is_refused() {
        for (line, part) in [
            (r#"{"type":1,"name":"a","size":8,"payload":""}"#, "shorter"),
            (r#"{"type":1,"name":"b","size":8,"payload":""}"#, "no such file"),
            (r#"{"type":3,"payload":""}"#, "type 3"),
            (r#"{"type":2,"payload":"*"}"#, "base64"),
            (r#"{"type":1,"name":"a","size":-1}"#, "no such thing"),
            ("garbage", "no such thing"),
        ] {
            let why = assembled(line.as_bytes()).unwrap_err().to_string();
            assert!(why.contains(part), "{why}");
        }
        let long = vec![b'x'; MAX_LINE as usize + 5];
        assert!(assembled(&long).unwrap_err().to_string().contains("over"), "a line without end");
    }

    proptest! {
        #[test]
        fn reading_never_panics(s in "(\\{|\\}|\"type\":|1|2|,|\"payload\":|\"name\":|\"size\":|\"a\"|\"aGk=\"|null|\\n){0,30}") {
            let _ = assembled(s.as_bytes());
        }

        #[test]
        fn any_bytes_come_back_as_they_were(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..20)) {
            let line = |p: &Vec<u8>| format!("{{\"type\":2,\"payload\":\"{}\"}}\n", STANDARD.encode(p));
            let lines: String = parts.iter().map(line).collect();
            prop_assert_eq!(assembled(lines.as_bytes()).unwrap(), parts.concat());
        }
    }
}
