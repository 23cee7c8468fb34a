//! pax extended headers and the numeric fields of a tar header.
//!
//! SPEC: POSIX pax, "pax Extended Header"; what Go's archive/tar reads.
//! The `tar` crate's own parsers don't do: its pax iterator splits at newlines, which
//! the values of extended attributes may contain, it reads a header of any size into
//! memory, and its numbers can't be negative (times before 1970).

use crate::error::{Error, Result};

/// The largest pax header, long name or sparse map that is read into memory (as Go).
pub(crate) const MAX_SPECIAL: u64 = 1 << 20;

/// What the extended headers before an entry say. `None`: the header's own field counts.
#[derive(Debug, Default)]
pub(crate) struct Pax {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u64>,
    pub gid: Option<u64>,
    pub mtime: Option<Time>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub sparse: SparseKeys,
}

/// The GNU.sparse.* records.
#[derive(Debug, Default)]
pub(crate) struct SparseKeys {
    pub major: Option<Vec<u8>>,
    pub minor: Option<Vec<u8>>,
    pub name: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub map: Option<Vec<u8>>,
    /// Formats 0.0: offset, length, offset, length…
    pub pairs: Vec<u64>,
}

/// Seconds and nanoseconds since 1970; `nanos` is always positive, as in timespec(3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time {
    /// Seconds.
    pub secs: i64,
    /// Nanoseconds, 0 to 999,999,999.
    pub nanos: u32,
}

impl Pax {
    /// Adds the records of one extended header.
    pub fn parse(&mut self, mut data: &[u8]) -> Result<()> {
        // Some writers pad with zeros behind the last record.
        while !data.is_empty() && data[0] != 0 {
            let (key, value, rest) = record(data).ok_or_else(|| bad("a record is malformed"))?;
            self.take(key, value)?;
            data = rest;
        }
        Ok(())
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            if name.is_empty() || name.contains(&0) {
                return Err(bad("an attribute has no proper name"));
            }
            self.xattrs.push((name.to_vec(), value.to_vec()));
            return Ok(());
        }
        // SPEC: pax: an empty value means that the record is taken back.
        let text = (!value.is_empty()).then(|| value.to_vec());
        match key {
            b"path" => self.path = text,
            b"linkpath" => self.link = text,
            b"size" => self.size = number(value)?,
            b"uid" => self.uid = number(value)?,
            b"gid" => self.gid = number(value)?,
            b"mtime" => self.mtime = if value.is_empty() { None } else { Some(time(value)?) },
            b"GNU.sparse.major" => self.sparse.major = text,
            b"GNU.sparse.minor" => self.sparse.minor = text,
            b"GNU.sparse.name" => self.sparse.name = text,
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse.size = number(value)?,
            b"GNU.sparse.map" => self.sparse.map = text,
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                let length_next = self.sparse.pairs.len() % 2 == 1;
                if length_next != (key == b"GNU.sparse.numbytes") {
                    return Err(bad("its sparse map is out of order"));
                }
                self.sparse.pairs.extend(number(value)?);
            }
            _ => {}
        }
        Ok(())
    }
}

/// `LENGTH KEY=VALUE\n`, LENGTH counting all of it: key, value, what follows.
fn record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = data.iter().take(20).position(|&b| b == b' ')?;
    let length = usize::try_from(decimal(&data[..space])?).ok()?;
    if length > data.len() || length < space + 3 {
        return None;
    }
    let (this, rest) = data.split_at(length);
    let body = this[space + 1..].strip_suffix(b"\n")?;
    let equals = body.iter().position(|&b| b == b'=')?;
    let (key, value) = (&body[..equals], &body[equals + 1..]);
    (!key.is_empty()).then_some((key, value, rest))
}

fn number(value: &[u8]) -> Result<Option<u64>> {
    if value.is_empty() {
        return Ok(None);
    }
    decimal(value).map(Some).ok_or_else(|| bad("a number is malformed"))
}

/// An unsigned decimal number, digits only.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// `[-]SECONDS[.FRACTION]`, cut to nanoseconds.
fn time(value: &[u8]) -> Result<Time> {
    let parse = || {
        let (negative, digits) = match value.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, value),
        };
        let mut halves = digits.splitn(2, |&b| b == b'.');
        let whole = i64::try_from(decimal(halves.next()?)?).ok()?;
        let mut nanos = 0;
        if let Some(fraction) = halves.next().filter(|f| !f.is_empty()) {
            decimal(&fraction[..fraction.len().min(9)])?;
            for i in 0..9 {
                nanos = nanos * 10 + fraction.get(i).map_or(0, |d| u32::from(d - b'0'));
            }
        }
        Some(match (negative, nanos) {
            (false, nanos) => Time { secs: whole, nanos },
            (true, 0) => Time { secs: -whole, nanos: 0 },
            (true, nanos) => Time { secs: -whole - 1, nanos: 1_000_000_000 - nanos },
        })
    };
    parse().ok_or_else(|| bad("a time is malformed"))
}

/// A numeric header field: octal text, or base-256 if the first bit is set.
/// SPEC: Go's archive/tar parseNumeric; an empty field is 0.
pub(crate) fn field(bytes: &[u8]) -> Option<i64> {
    if bytes[0] & 0x80 != 0 {
        let negative = bytes[0] & 0x40 != 0;
        let mut value: i64 = if negative { -1 } else { 0 };
        for (i, &byte) in bytes.iter().enumerate() {
            let byte = match (i, negative) {
                (0, false) => byte & 0x7f,
                _ => byte,
            };
            value = value.checked_mul(256)?.checked_add(i64::from(byte))?;
        }
        return Some(value);
    }
    let text = bytes.split(|&b| b == 0).next().unwrap_or_default().trim_ascii();
    text.iter().try_fold(0i64, |sum, &digit| match digit {
        b'0'..=b'7' => sum.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

fn bad(why: &str) -> Error {
    Error::invalid("pax header", why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_may_hold_newlines_and_raw_bytes() {
        let mut pax = Pax::default();
        pax.parse(b"26 SCHILY.xattr.user.a=\n\xff\n13 path=a\xe9bc\n10 size=7\n\0\0").unwrap();
        assert_eq!(pax.xattrs, [(b"user.a".to_vec(), b"\n\xff".to_vec())]);
        assert_eq!(pax.path.as_deref(), Some(b"a\xe9bc".as_slice()));
        assert_eq!(pax.size, Some(7));
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [&b"5 a=\n"[..], b"x a=b\n", b"99 a=b\n", b"6 a=b ", b"7 ab=c\n9"] {
            let result = Pax::default().parse(bad);
            assert!(result.is_err() || bad == b"5 a=\n", "{}", bad.escape_ascii());
        }
        assert!(Pax::default().parse(b"11 size=-1\n").is_err());
    }

    #[test]
    fn times() {
        assert_eq!(time(b"1.5").unwrap(), Time { secs: 1, nanos: 500_000_000 });
        assert_eq!(time(b"-1.5").unwrap(), Time { secs: -2, nanos: 500_000_000 });
        assert_eq!(time(b"12.0123456789").unwrap(), Time { secs: 12, nanos: 12_345_678 });
        assert!(time(b"1.x").is_err() && time(b"").is_err() && time(b"--1").is_err());
    }

    #[test]
    fn fields() {
        assert_eq!(field(b"0000644\0"), Some(0o644));
        assert_eq!(field(b"   644 \0"), Some(0o644));
        assert_eq!(field(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(field(b"\x80\0\0\0\0\0\x01\0"), Some(256));
        assert_eq!(field(b"\xff\xff\xff\xff\xff\xff\xff\xff"), Some(-1));
        assert_eq!(field(b"0000849\0"), None);
        assert_eq!(field(b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), None);
    }

    proptest! {
        #[test]
        fn never_panics(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Pax::default().parse(&data);
            let _ = time(&data);
            if data.len() >= 12 { let _ = field(&data[..12]); }
        }
    }
}
