//! Taking a layer's tar apart: what its files' contents are lies unpacked, and only the rest is
//! written down.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::recipe::{self, Writer};
use crate::digest::{Digest, Hashing};
use crate::error::{Error, Result};
use crate::layer::compress::inflate;
use crate::layer::entry::Kind;
use crate::layer::{Entries, Limits, RootDir};

const BUFFER: usize = 256 << 10;
/// Naming a file costs about as much.
const SMALL: u64 = 64;

/// Writes the recipe's body of the blob at `path`, whose layer lies unpacked in `files`.
pub(super) fn split(path: &Path, diff_id: &Digest, files: &Path, body: &File) -> Result<()> {
    let packed = File::open(path).map_err(Error::at("open", path))?;
    let (_, plain) = inflate(packed)?;
    let hashing = Hashing::new(plain, diff_id.algorithm());
    let failed = |e| Error::from_io("read", path, e);
    let root = RootDir::open(files)?;
    let taken =
        RefCell::new(Taken { writer: Writer::new(body).map_err(failed)?, known: 0, fault: None });
    let from = BufReader::with_capacity(BUFFER, hashing);
    let mut entries = Entries::new(Recorder { from, taken: &taken }, Limits::default());
    while let Some(entry) = entries.advance()? {
        let Kind::File(shape) = &entry.kind else { continue };
        let name = entry.name.as_bytes();
        let mut file = (shape.size >= SMALL).then(|| recipe::open(&root, name).ok()).flatten();
        let mut have = vec![0; if file.is_some() { BUFFER } else { 0 }];
        entries.body(shape, |offset, bytes| {
            let Some(open) = &file else { return Ok(()) };
            let same = common(open, offset, bytes, &mut have);
            if same > 0 {
                let mut taken = taken.borrow_mut();
                taken.writer.part(name, offset, same as u64).map_err(failed)?;
                taken.known = same;
            }
            // A later entry of the archive has other bytes for this name.
            if same < bytes.len() {
                file = None;
            }
            Ok(())
        })?;
    }
    let mut recorder = entries.into_inner();
    loop {
        let n = recorder.fill_buf().map_err(failed)?.len();
        if n == 0 {
            break;
        }
        recorder.consume(n);
    }
    recorder.fill_buf().map_err(failed)?;
    let (_, got, _) = recorder.from.into_inner().finish();
    taken.into_inner().writer.finish().map_err(failed)?;
    if got != *diff_id {
        return Err(Error::Digest { what: "layer".into(), want: diff_id.clone(), got });
    }
    Ok(())
}

/// How many bytes the file has in common, from `offset` on.
fn common(file: &File, offset: u64, bytes: &[u8], have: &mut [u8]) -> usize {
    let mut same = 0;
    while same < bytes.len() {
        let max = (bytes.len() - same).min(have.len());
        let n = match file.read_at(&mut have[..max], offset + same as u64) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let equal = have[..n].iter().zip(&bytes[same..]).take_while(|(a, b)| a == b).count();
        same += equal;
        if equal < n {
            break;
        }
    }
    same
}

struct Taken<'a> {
    writer: Writer<'a>,
    /// So many of the next bytes are a file's, and noted already.
    known: usize,
    /// What went wrong where nobody could be told.
    fault: Option<io::Error>,
}

/// Notes what is read of the tar.
struct Recorder<'a, 'b, R> {
    from: BufReader<R>,
    taken: &'a RefCell<Taken<'b>>,
}

impl<R: Read> BufRead for Recorder<'_, '_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self.taken.borrow_mut().fault.take() {
            Some(fault) => Err(fault),
            None => self.from.fill_buf(),
        }
    }

    fn consume(&mut self, n: usize) {
        let mut taken = self.taken.borrow_mut();
        let known = taken.known.min(n);
        taken.known -= known;
        let noted = taken.writer.bytes(&self.from.buffer()[known..n]);
        taken.fault = noted.err().or(taken.fault.take());
        self.from.consume(n);
    }
}

impl<R: Read> Read for Recorder<'_, '_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let piece = self.fill_buf()?;
        let n = piece.len().min(buf.len());
        buf[..n].copy_from_slice(&piece[..n]);
        self.consume(n);
        Ok(n)
    }
}
