//! Compression, told by its first bytes and never by a media type: gzip (also in several
//! members, as pigz and stargz write it), zstd, and none.

use std::io::{self, BufReader, Cursor, Read};

use super::gunzip::Gunzip;
pub(super) use super::gunzip::WINDOW;
use crate::error::{Error, Result};
pub use crate::manifest::Compression;

/// zstd's window, and so its memory, is bounded at 128 MiB, its own default.
const ZSTD_WINDOW_LOG: u32 = 27;
const BUFFER: usize = 128 << 10;

/// Tells the compression from a stream's first bytes (six are enough).
pub fn detect(head: &[u8]) -> Result<Compression> {
    let other = if head.starts_with(&[0x1f, 0x8b]) {
        return Ok(Compression::Gzip);
    } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || skippable(head) {
        return Ok(Compression::Zstd);
    } else if head.starts_with(b"BZh") {
        "bzip2"
    } else if head.starts_with(b"\xfd7zXZ\0") {
        "xz"
    } else {
        return Ok(Compression::None);
    };
    Err(Error::unsupported(format!("a layer compressed by {other}"), "use gzip or zstd"))
}

/// SPEC: RFC 8878 §3.1.2: a skippable frame may come before zstd's own.
fn skippable(head: &[u8]) -> bool {
    head.len() >= 4 && head[0] & 0xf0 == 0x50 && head[1..4] == [0x2a, 0x4d, 0x18]
}

/// The plain bytes of a stream: read, or filled into a buffer, which saves a copy.
pub enum Plain<'a> {
    /// gzip's.
    Gzip(Box<Gunzip<Whole<'a>>>),
    /// Any other's.
    Other(Box<dyn Read + 'a>),
}

/// A stream whose first bytes have been looked at.
type Whole<'a> = io::Chain<io::Take<Cursor<[u8; 6]>>, Box<dyn Read + 'a>>;

impl Plain<'_> {
    /// Fills `buf` from [`WINDOW`] on; what lies before is for this to work with. Gives the
    /// number of bytes, less than there is room for only at the end.
    pub fn fill(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(gunzip) => gunzip.fill(buf),
            Self::Other(other) => fill(other, &mut buf[WINDOW..]),
        }
    }
}

impl Read for Plain<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(gunzip) => gunzip.read(buf),
            Self::Other(other) => other.read(buf),
        }
    }
}

/// Reads until `buf` is full or the stream ends.
pub(super) fn fill(from: &mut (impl Read + ?Sized), buf: &mut [u8]) -> io::Result<usize> {
    let mut n = 0;
    while n < buf.len() {
        match from.read(&mut buf[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(n)
}

/// The plain bytes of `reader`, however they are compressed.
pub fn inflate<'a>(reader: impl Read + 'a) -> Result<(Compression, Plain<'a>)> {
    let mut reader: Box<dyn Read + 'a> = Box::new(reader);
    let mut head = [0; 6];
    let n = fill(&mut reader, &mut head).map_err(|e| Error::from_io("read", "layer", e))?;
    let kind = detect(&head[..n])?;
    let whole: Whole<'a> = Cursor::new(head).take(n as u64).chain(reader);
    let plain = match kind {
        Compression::None => Plain::Other(Box::new(whole)),
        Compression::Gzip => Plain::Gzip(Box::new(Gunzip::new(whole))),
        Compression::Zstd => {
            let failed = |e| Error::io("set up zstd for", "layer", e);
            let buffered = BufReader::with_capacity(BUFFER, whole);
            let mut decoder = zstd::stream::read::Decoder::with_buffer(buffered).map_err(failed)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(failed)?;
            Plain::Other(Box::new(decoder))
        }
    };
    Ok((kind, plain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut w = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        w.write_all(data).unwrap();
        w.finish().unwrap()
    }

    fn plain(data: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        inflate(data).map_err(Error::into_io)?.1.read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn every_kind_is_told_by_its_bytes() {
        let text = b"hello hello hello".repeat(1000);
        assert_eq!(plain(&text).unwrap(), text);
        assert_eq!(plain(&gzip(&text)).unwrap(), text);
        assert_eq!(plain(&zstd::encode_all(&text[..], 1).unwrap()).unwrap(), text);
        assert_eq!(plain(b"").unwrap(), b"");
        let members = [gzip(b"one"), gzip(b""), gzip(b"two")].concat();
        assert_eq!(plain(&members).unwrap(), b"onetwo");
        let frames =
            [zstd::encode_all(&b"one"[..], 1).unwrap(), zstd::encode_all(&b"two"[..], 1).unwrap()];
        assert_eq!(plain(&frames.concat()).unwrap(), b"onetwo");
        let skippable = [&b"\x50\x2a\x4d\x18\x02\0\0\0xx"[..], &frames[0]].concat();
        assert_eq!(plain(&skippable).unwrap(), b"one");
    }

    #[test]
    fn cut_and_broken_streams_fail() {
        let whole = gzip(&b"some text that is long enough".repeat(100));
        assert!(plain(&whole[..whole.len() - 1]).is_err());
        let mut flipped = whole.clone();
        let crc = flipped.len() - 8;
        flipped[crc] ^= 1;
        assert!(plain(&flipped).is_err());
        let z = zstd::encode_all(&b"some text that is long enough".repeat(100)[..], 1).unwrap();
        assert!(plain(&z[..z.len() - 1]).is_err());
        assert!(plain(&[&whole[..], b"garbage"].concat()).is_err());
    }

    #[test]
    fn bzip2_and_xz_are_refused_by_name() {
        assert!(plain(b"BZh91AY").unwrap_err().to_string().contains("bzip2"));
        assert!(plain(b"\xfd7zXZ\0\0").unwrap_err().to_string().contains("xz"));
    }
}
