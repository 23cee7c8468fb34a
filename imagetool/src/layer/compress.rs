//! Compression, told by its first bytes and never by a media type: gzip (also in several
//! members, as pigz and stargz write it), zstd, and none.

use std::io::{self, BufReader, Cursor, Read};

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

/// The plain bytes of `reader`, however they are compressed.
pub fn inflate<'a>(mut reader: impl Read + 'a) -> Result<(Compression, Box<dyn Read + 'a>)> {
    let mut head = [0; 6];
    let mut n = 0;
    while n < head.len() {
        match reader.read(&mut head[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::from_io("read", "layer", e)),
        }
    }
    let kind = detect(&head[..n])?;
    let whole = Cursor::new(head).take(n as u64).chain(reader);
    let plain: Box<dyn Read + 'a> = match kind {
        Compression::None => Box::new(whole),
        Compression::Gzip => {
            let buffered = BufReader::with_capacity(BUFFER, whole);
            Box::new(flate2::bufread::MultiGzDecoder::new(buffered))
        }
        Compression::Zstd => {
            let failed = |e| Error::io("set up zstd for", "layer", e);
            let buffered = BufReader::with_capacity(BUFFER, whole);
            let mut decoder = zstd::stream::read::Decoder::with_buffer(buffered).map_err(failed)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(failed)?;
            Box::new(decoder)
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
