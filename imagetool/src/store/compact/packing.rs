//! How a blob was compressed: found out by doing it again with each of the compressors we have,
//! and comparing.
//!
//! The names here stand in recipes. A compressor that makes other bytes than it did is another
//! compressor, and gets another name: the test at the end holds each of them to its bytes.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use flate2::Crc;
use flate2::write::DeflateEncoder;
use serde::{Deserialize, Serialize};

use crate::digest::Hashing;
use crate::error::{Error, Result};
use crate::layer::compress::detect;
use crate::layer::squeeze::Squeeze;
use crate::manifest::{Compression, Descriptor};

/// A compressor and what it was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Packing {
    /// Nothing: the blob is the tar.
    Plain,
    /// Our own gzip of many members, at this level.
    Members(i32),
    /// Our own zstd of many frames, at this level.
    Frames(i32),
    /// One member of gzip with this header, at this level.
    Gzip {
        /// From 1 to 9.
        level: u32,
        /// The member's header, in hexadecimal.
        header: String,
    },
    /// One frame of zstd, streamed.
    Zstd {
        /// From 1 to 19.
        level: i32,
        /// Whether a checksum follows.
        checksum: bool,
    },
}

impl Packing {
    /// Compresses what `fill` writes.
    pub fn pack(
        &self,
        fill: impl FnOnce(&mut dyn Write) -> Result<()>,
        mut out: impl Write,
    ) -> Result<()> {
        let failed = |e| Error::from_io("write", "blob", e);
        match self {
            Self::Plain => fill(&mut out),
            Self::Members(level) => squeeze(Squeeze::gzip(out, Some(*level)), fill),
            Self::Frames(level) => squeeze(Squeeze::zstd(out, Some(*level)), fill),
            Self::Gzip { level, header } => {
                let header = unhex(header)
                    .ok_or_else(|| Error::invalid("recipe", "its gzip header is damaged"))?;
                out.write_all(&header).map_err(failed)?;
                let level = flate2::Compression::new((*level).min(9));
                let mut member =
                    Member { deflate: DeflateEncoder::new(out, level), crc: Crc::new() };
                fill(&mut member)?;
                let Member { deflate, crc } = member;
                let mut out = deflate.finish().map_err(failed)?;
                out.write_all(&crc.sum().to_le_bytes()).map_err(failed)?;
                out.write_all(&crc.amount().to_le_bytes()).map_err(failed)
            }
            Self::Zstd { level, checksum } => {
                let mut zstd = zstd::stream::write::Encoder::new(out, *level).map_err(failed)?;
                zstd.include_checksum(*checksum).map_err(failed)?;
                fill(&mut zstd)?;
                zstd.finish().map(drop).map_err(failed)
            }
        }
    }
}

fn squeeze<W: Write>(
    mut out: Squeeze<W>,
    fill: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    fill(&mut out)?;
    out.finish().map(drop).map_err(|e| Error::from_io("write", "blob", e))
}

/// A gzip member's content.
struct Member<W: Write> {
    deflate: DeflateEncoder<W>,
    crc: Crc,
}

impl<W: Write> Write for Member<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.deflate.write(buf)?;
        self.crc.update(&buf[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.deflate.flush()
    }
}

/// The packing that makes exactly this blob of the tar that `fill` writes; `None` if there is
/// none. Most fail within their first bytes.
pub(super) fn find(
    path: &Path,
    blob: &Descriptor,
    fill: impl Fn(&mut dyn Write) -> Result<()>,
) -> Result<Option<Packing>> {
    let mut head = Vec::new();
    let open = || File::open(path).map_err(Error::at("open", path));
    open()?.take(64 << 10).read_to_end(&mut head).map_err(Error::at("read", path))?;
    for packing in candidates(&head)? {
        let from = BufReader::with_capacity(128 << 10, open()?);
        let mut same = Same { from, buf: Vec::new(), differs: false };
        let mut hashing = Hashing::new(&mut same, blob.digest.algorithm());
        let packed = packing.pack(&fill, &mut hashing);
        let (_, digest, count) = hashing.finish();
        match packed {
            Ok(()) if digest == blob.digest && count == blob.size => return Ok(Some(packing)),
            Err(e) if !same.differs => return Err(e),
            _ => {}
        }
    }
    Ok(None)
}

/// What may have made a blob that begins so, the likeliest first.
fn candidates(head: &[u8]) -> Result<Vec<Packing>> {
    Ok(match detect(head)? {
        Compression::None => vec![Packing::Plain],
        Compression::Gzip => {
            let levels = [6, 9, 1, 2, 3, 4, 5, 7, 8];
            let ours = [5, 6, 9, 1, 2, 3, 4, 7, 8, 0, 10, 11, 12];
            let mut all: Vec<Packing> = ours.map(Packing::Members).into();
            if let Some(header) = gzip_header(head) {
                let gzip =
                    |level: i32| Packing::Gzip { level: level.unsigned_abs(), header: hex(header) };
                all.extend(levels.map(gzip));
            }
            all
        }
        Compression::Zstd => {
            // SPEC: RFC 8878 §3.1.1.1: the third bit of the frame's descriptor.
            let checksum = head.get(4).is_some_and(|descriptor| descriptor & 4 != 0);
            let zstd = |level| Packing::Zstd { level, checksum };
            let levels: Vec<i32> = [3, 1, 2].into_iter().chain(4..=19).collect();
            let frames = levels.iter().map(|&level| Packing::Frames(level));
            frames.chain(levels.iter().map(|&level| zstd(level))).collect()
        }
    })
}

/// The header of the first gzip member. SPEC: RFC 1952 §2.3.
fn gzip_header(head: &[u8]) -> Option<&[u8]> {
    let flags = *head.get(3)?;
    let mut at = 10;
    if flags & 4 != 0 {
        at += 2 + usize::from(u16::from_le_bytes([*head.get(at)?, *head.get(at + 1)?]));
    }
    for text in [8, 16] {
        if flags & text != 0 {
            at += head.get(at..)?.iter().position(|&b| b == 0)? + 1;
        }
    }
    if flags & 2 != 0 {
        at += 2;
    }
    head.get(..at)
}

/// Takes what is written only if the file has the same bytes.
struct Same {
    from: BufReader<File>,
    buf: Vec<u8>,
    differs: bool,
}

impl Write for &mut Same {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buf.resize(bytes.len(), 0);
        let read = self.from.read_exact(&mut self.buf);
        match read {
            Ok(()) if self.buf == bytes => Ok(bytes.len()),
            Err(e) if e.kind() != io::ErrorKind::UnexpectedEof => Err(e),
            _ => {
                self.differs = true;
                Err(io::Error::other("it differs"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from_digit(u32::from(n), 16).unwrap_or_default();
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn plain() -> Vec<u8> {
        let words: Vec<String> = (0..60_000_u32).map(|n| (n * n % 7919).to_string()).collect();
        [words.join(" ").into_bytes(), vec![0; 1 << 20], b"end".repeat(40_000)].concat()
    }

    fn packed(packing: &Packing) -> Vec<u8> {
        let mut out = Vec::new();
        let data = plain();
        let fill = |to: &mut dyn Write| -> Result<()> {
            data.chunks(10_000).try_for_each(|part| to.write_all(part).map_err(Error::at("w", "x")))
        };
        packing.pack(fill, &mut out).unwrap();
        out
    }

    #[test]
    fn what_we_pack_is_found_again() {
        let header = "1f8b08080000000000037800".to_owned();
        for packing in [
            Packing::Plain,
            Packing::Members(6),
            Packing::Members(9),
            Packing::Frames(3),
            Packing::Gzip { level: 9, header },
            Packing::Zstd { level: 3, checksum: true },
            Packing::Zstd { level: 1, checksum: false },
        ] {
            let bytes = packed(&packing);
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("blob");
            std::fs::write(&path, &bytes).unwrap();
            let blob = Descriptor::of("", &bytes);
            let fill = |to: &mut dyn Write| to.write_all(&plain()).map_err(Error::at("w", "x"));
            assert_eq!(find(&path, &blob, fill).unwrap(), Some(packing));
            // One bit elsewhere, and it is nobody's.
            let mut other = bytes.clone();
            let at = other.len() - 5;
            other[at] ^= 1;
            std::fs::write(&path, &other).unwrap();
            let found = find(&path, &Descriptor::of("", &other), fill);
            assert!(!matches!(found, Ok(Some(Packing::Members(_) | Packing::Gzip { .. }))));
        }
    }

    /// Recipes name these. When one changes its bytes, keep the old one under its name and add
    /// the new one under another.
    #[test]
    fn each_compressor_makes_the_bytes_it_always_made() {
        let digest = |packing: &Packing| Digest::of(&packed(packing)).short().to_owned();
        let header = "1f8b08000000000000ff".to_owned();
        let all = [
            digest(&Packing::Members(6)),
            digest(&Packing::Members(5)),
            digest(&Packing::Frames(3)),
            digest(&Packing::Gzip { level: 6, header }),
            digest(&Packing::Zstd { level: 3, checksum: true }),
        ];
        assert_eq!(
            all,
            ["9bb112a5e61f", "3f84e38b0105", "c52b0d5ab1b1", "226e200a9574", "34689ec5f66a"]
        );
    }
}
