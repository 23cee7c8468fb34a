//! A recipe: a line of JSON, and behind it, packed by zstd, a tar's bytes in order, each run of
//! them as it is or as a part of a file of the unpacked layer.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};

use super::packing::Packing;
use crate::digest::{ChainId, Digest};
use crate::error::{Error, Result};
use crate::layer::RootDir;
use crate::manifest::Descriptor;

const VERSION: u32 = 1;
/// A head is no longer.
const MAX_HEAD: u64 = 256 << 10;
/// Bytes of a run that are kept before they are written.
const RUN: usize = 64 << 10;
/// No path in a tar is longer.
const MAX_PATH: u32 = 1 << 20;
const BYTES: u8 = 0;
const PART: u8 = 1;

/// What is made, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    version: u32,
    pub blob: Digest,
    pub size: u64,
    /// The unpacked layer that has the contents.
    pub chain: ChainId,
    pub packing: Packing,
}

impl Head {
    pub fn new(blob: &Descriptor, chain: &ChainId, packing: Packing) -> Self {
        let (digest, size) = (blob.digest.clone(), blob.size);
        Self { version: VERSION, blob: digest, size, chain: chain.clone(), packing }
    }

    pub fn line(&self) -> Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self).map_err(|e| Error::invalid("recipe", e))?;
        line.push(b'\n');
        Ok(line)
    }

    /// Reads the head; the file then stands behind it.
    pub fn read(file: &mut File) -> Result<Self> {
        let mut start = Vec::new();
        let failed = |e| Error::io("read", "recipe", e);
        io::BufRead::read_until(&mut BufReader::new(&*file).take(MAX_HEAD), b'\n', &mut start)
            .map_err(failed)?;
        file.seek(SeekFrom::Start(start.len() as u64)).map_err(failed)?;
        let head: Self = serde_json::from_slice(&start).map_err(|e| Error::invalid("recipe", e))?;
        if head.version != VERSION {
            return Err(Error::unsupported(
                format!("a recipe of version {}", head.version),
                "it was made by a newer dhow: upgrade this one",
            ));
        }
        Ok(head)
    }
}

/// A part of a file.
struct Part {
    path: Vec<u8>,
    offset: u64,
    length: u64,
}

/// Writes a recipe's body.
pub(super) struct Writer<'a> {
    out: zstd::stream::write::Encoder<'static, BufWriter<&'a File>>,
    run: Vec<u8>,
    part: Option<Part>,
}

impl<'a> Writer<'a> {
    pub fn new(file: &'a File) -> io::Result<Self> {
        let out = zstd::stream::write::Encoder::new(BufWriter::new(file), 3)?;
        Ok(Self { out, run: Vec::new(), part: None })
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.end_part()?;
        self.run.extend_from_slice(bytes);
        if self.run.len() >= RUN { self.end_run() } else { Ok(()) }
    }

    /// Bytes that a file has, too.
    pub fn part(&mut self, path: &[u8], offset: u64, length: u64) -> io::Result<()> {
        self.end_run()?;
        if let Some(part) = &mut self.part
            && part.path == path
            && part.offset + part.length == offset
        {
            part.length += length;
            return Ok(());
        }
        self.end_part()?;
        self.part = Some(Part { path: path.to_vec(), offset, length });
        Ok(())
    }

    pub fn finish(mut self) -> io::Result<()> {
        self.end_part()?;
        self.end_run()?;
        self.out.finish()?.flush()
    }

    fn end_run(&mut self) -> io::Result<()> {
        if self.run.is_empty() {
            return Ok(());
        }
        self.out.write_all(&[BYTES])?;
        self.out.write_all(&(self.run.len() as u64).to_le_bytes())?;
        self.out.write_all(&self.run)?;
        self.run.clear();
        Ok(())
    }

    fn end_part(&mut self) -> io::Result<()> {
        let Some(part) = self.part.take() else { return Ok(()) };
        self.out.write_all(&[PART])?;
        let length = u32::try_from(part.path.len()).map_err(io::Error::other)?;
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(&part.path)?;
        self.out.write_all(&part.offset.to_le_bytes())?;
        self.out.write_all(&part.length.to_le_bytes())
    }
}

/// Writes the tar that a body describes; the file stands at the body's start, or is the body.
pub(super) fn play(body: &File, files: &Path, out: &mut dyn Write) -> Result<()> {
    let mut file = body.try_clone().map_err(Error::at("read", files))?;
    file.seek(SeekFrom::Start(0)).map_err(Error::at("read", files))?;
    play_from(file, files, out)
}

/// The same from where the file stands.
pub(super) fn play_from(body: File, files: &Path, out: &mut dyn Write) -> Result<()> {
    let failed = |e| Error::from_io("read", "recipe", e);
    let root = RootDir::open(files)?;
    let decoder = zstd::stream::read::Decoder::new(body).map_err(failed)?;
    let mut from = BufReader::with_capacity(256 << 10, decoder);
    let mut kind = [0];
    loop {
        match from.read(&mut kind) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(failed(e)),
        }
        match kind[0] {
            BYTES => {
                let length = number(&mut from).map_err(failed)?;
                copy(&mut (&mut from).take(length), length, out)?;
            }
            PART => {
                let mut length = [0; 4];
                from.read_exact(&mut length).map_err(failed)?;
                let length = u32::from_le_bytes(length);
                if length > MAX_PATH {
                    return Err(Error::invalid("recipe", "a path in it is too long"));
                }
                let mut path = vec![0; length as usize];
                from.read_exact(&mut path).map_err(failed)?;
                let offset = number(&mut from).map_err(failed)?;
                let length = number(&mut from).map_err(failed)?;
                let mut file = open(&root, &path).map_err(|e| root.error("open", &path, e))?;
                file.seek(SeekFrom::Start(offset)).map_err(failed)?;
                copy(&mut file.take(length), length, out)?;
            }
            _ => return Err(Error::invalid("recipe", "it is damaged")),
        }
    }
}

/// A regular file of the layer.
pub(super) fn open(root: &RootDir, path: &[u8]) -> nix::Result<File> {
    let file = File::from(root.open_plain(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?);
    match file.metadata() {
        Ok(meta) if meta.is_file() => Ok(file),
        _ => Err(Errno::EINVAL),
    }
}

fn number(from: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn copy(from: &mut dyn Read, length: u64, out: &mut dyn Write) -> Result<()> {
    let mut left = length;
    let mut buf = vec![0; usize::try_from(length).unwrap_or(usize::MAX).clamp(1, 256 << 10)];
    while left > 0 {
        let n = match from.read(&mut buf) {
            Ok(0) => return Err(Error::invalid("recipe", "a file that it names is too short")),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::from_io("read", "recipe", e)),
        };
        out.write_all(&buf[..n]).map_err(|e| Error::from_io("write", "blob", e))?;
        left -= n as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn runs_and_parts_come_out_in_order() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), "0123456789").unwrap();
        let body = tempfile::tempfile().unwrap();
        let mut writer = Writer::new(&body).unwrap();
        writer.bytes(b"head ").unwrap();
        writer.part(b"f", 2, 3).unwrap();
        writer.part(b"f", 5, 1).unwrap();
        writer.part(b"f", 0, 1).unwrap();
        writer.bytes(&vec![b'x'; 3 * RUN]).unwrap();
        writer.finish().unwrap();
        let mut out = Vec::new();
        play(&body, dir.path(), &mut out).unwrap();
        assert!(out.starts_with(b"head 23450xxx") && out.len() == 10 + 3 * RUN);
        std::fs::write(dir.path().join("f"), "0").unwrap();
        let error = play(&body, dir.path(), &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("too short"), "{error}");
    }

    proptest! {
        #[test]
        fn a_damaged_body_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let dir = tempfile::tempdir().unwrap();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&zstd::encode_all(&bytes[..], 1).unwrap()).unwrap();
            let _ = play(&file, dir.path(), &mut io::sink());
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            file.seek(SeekFrom::Start(0)).unwrap();
            let _ = Head::read(&mut file);
        }
    }
}
