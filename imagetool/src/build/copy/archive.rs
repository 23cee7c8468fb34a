//! ADD of an archive: told by its content, never its name, and laid out as a layer's files.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::layout::{About, Body, Layout, Node, What};
use crate::error::{Error, Result};
use crate::layer::compress::inflate;
use crate::layer::entry::{Body as Shape, Entries, Entry, Kind, Limits, is_header};
use crate::layer::foreign::peel;
use crate::layer::name::join;

const BUFFER: usize = 256 << 10;

/// An archive's entries, its compression gone.
pub(super) type Stream = Entries<BufReader<Box<dyn Read>>>;

/// Whether a file is a tar, compressed or not: its first block is a tar's.
pub(super) fn is_archive(file: &File) -> io::Result<bool> {
    let file = file.try_clone()?;
    let mut block = [0; 512];
    let Ok((_, mut plain)) = peel(file).and_then(inflate) else { return Ok(false) };
    // What is cut short or damaged is a file like others.
    Ok(plain.read_exact(&mut block).is_ok() && is_header(&block))
}

/// Opens an archive. Names that mean whiteouts in layers mean themselves.
pub(super) fn open(file: OwnedFd) -> Result<Stream> {
    let (_, plain) = peel(File::from(file)).and_then(inflate)?;
    let plain: Box<dyn Read> = Box::new(plain);
    Ok(Entries::new(BufReader::with_capacity(BUFFER, plain), Limits::default()).literal())
}

/// An archive's files, side by side in a file that nobody else sees: a layer has them in another
/// order.
pub(super) struct Spool {
    file: File,
    /// Where the so-manieth entry's bytes begin, and how many they are.
    places: HashMap<u64, (u64, u64)>,
    end: u64,
}

impl Spool {
    /// An empty one, in a directory.
    pub fn new(dir: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(dir).map_err(Error::at("create a file in", dir))?;
        Ok(Self { file, places: HashMap::new(), end: 0 })
    }

    fn keep(&mut self, number: u64, body: &Shape, archive: &mut Stream) -> Result<()> {
        let fail = |e| Error::io("write", "an archive's files", e);
        let (file, begin) = (&self.file, self.end);
        archive.body(body, |at, piece| file.write_all_at(piece, begin + at).map_err(fail))?;
        self.places.insert(number, (begin, body.size));
        self.end += body.size;
        // Holes stay holes.
        file.set_len(self.end).map_err(fail)
    }

    /// An entry's bytes, from its place to its end.
    pub fn read(&self, number: u64) -> Option<(&File, u64, u64)> {
        self.places.get(&number).map(|(begin, size)| (&self.file, *begin, *size))
    }
}

/// Puts an archive's entries below `dest`, a resolved directory. Links that the archive or the
/// base has are followed inside the image, but for an entry's last part, which is replaced.
pub(super) fn lay_out(
    layout: &mut Layout<'_>,
    source: usize,
    archive: &mut Stream,
    spool: &mut Spool,
    dest: &[u8],
    owner: Option<(u32, u32)>,
) -> Result<()> {
    let mut number = 0;
    while let Some(Entry { name, meta, kind }) = archive.advance()? {
        let path = place(layout, dest, name.as_bytes())?;
        let (uid, gid) = owner.unwrap_or((meta.uid, meta.gid));
        let about = About { mode: meta.mode, uid, gid, mtime: meta.mtime, xattrs: meta.xattrs };
        let what = match kind {
            Kind::Dir if name.is_root() => {
                number += 1;
                continue; // docker leaves the directory that it unpacks into as it is
            }
            Kind::Dir => What::Dir,
            Kind::File(body) => {
                spool.keep(number, &body, archive)?;
                What::File(Body::Packed { source, entry: number })
            }
            Kind::Symlink(text) => What::Link(text),
            Kind::Hardlink(target) => {
                let target = place(layout, dest, target.as_bytes())?;
                layout.link(path, &target)?;
                number += 1;
                continue;
            }
            Kind::Char(device) => What::Node(b'3', device.major.into(), device.minor.into()),
            Kind::Block(device) => What::Node(b'4', device.major.into(), device.minor.into()),
            Kind::Fifo => What::Node(b'6', 0, 0),
            Kind::Whiteout | Kind::Opaque => {
                return Err(Error::invalid("archive", "an entry is of no kind that files have"));
            }
        };
        number += 1;
        layout.put_over(path, Node { about, what })?;
    }
    Ok(())
}

/// Where an entry goes, with its directory made.
fn place(layout: &mut Layout<'_>, dest: &[u8], name: &[u8]) -> Result<Vec<u8>> {
    if name.is_empty() {
        return Ok(dest.to_vec());
    }
    let whole = if dest.is_empty() { name.to_vec() } else { join(dest, name) };
    let path = layout.resolve(&whole, false)?;
    layout.make_dirs(crate::layer::name::split(&path).0)?;
    Ok(path)
}
