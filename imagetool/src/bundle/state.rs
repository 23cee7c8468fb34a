//! `sha256_….state` in a bundle: what its root was like when it was made, so that `repack` finds
//! what has changed since without a checksum of every file. Git's index is the model.
//!
//! `dhow-bundle-1`, the manifest's digest, the checksums' seed; a record of the root; then a
//! block a directory, parents before children: how many records, and the records by name. A
//! checksum of all ends it. Written and read in one pass, a directory in memory at a time.

use std::fs::File;
use std::hash::Hasher as _;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::readlinkat;
use nix::sys::stat::{FileStat, SFlag};
use twox_hash::XxHash3_64;

use super::walk::{Walk, attributes, open_file};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::layer::at::{is_dir, kind};
use crate::layer::name::join;
use crate::layer::{Closed, RootDir, Sums, sums};

/// Where a bundle of an image has it.
pub(super) fn path_in(bundle: &Path, image: &Digest) -> PathBuf {
    bundle.join(format!("{}_{}.state", image.algorithm().name(), image.hex()))
}

/// No clock that files are stamped by ticks slower, in nanoseconds.
const TICK: i128 = 20_000_000;
const MAGIC: &[u8] = b"dhow-bundle-1\n";
/// No file of ours is read that says a directory has more.
const MAX_NAMES: u64 = 1 << 27;

/// What was there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub name: Vec<u8>,
    /// With the type.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub links: u64,
    /// A device's number, else the length.
    pub size: u64,
    pub mtime: (i64, u32),
    pub ctime: (i64, u32),
    pub inode: u64,
    /// A checksum of the attributes; 0 without any.
    pub xattrs: u64,
    /// A checksum of the content or the link's text; 0 if unknown.
    pub content: u64,
}

impl Record {
    fn of(name: &[u8], stat: &FileStat) -> Self {
        let device = matches!(kind(stat), SFlag::S_IFCHR | SFlag::S_IFBLK);
        #[allow(clippy::useless_conversion)] // arm64 counts names in 32 bits
        let names = u64::from(stat.st_nlink);
        Self {
            name: name.to_vec(),
            mode: stat.st_mode,
            uid: stat.st_uid,
            gid: stat.st_gid,
            links: if is_dir(stat) { 0 } else { names },
            size: match (device, is_dir(stat)) {
                (true, _) => stat.st_rdev,
                (_, true) => 0,
                _ => stat.st_size.cast_unsigned(),
            },
            mtime: (stat.st_mtime, stat.st_mtime_nsec as u32),
            ctime: (stat.st_ctime, stat.st_ctime_nsec as u32),
            inode: stat.st_ino,
            xattrs: 0,
            content: 0,
        }
    }

    pub fn is_dir(&self) -> bool {
        self.mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits()
    }

    /// Whether the same thing is still there, as far as stat(2) can tell: surely, perhaps, no.
    pub fn still(&self, stat: &FileStat) -> Still {
        let now = Self::of(&[], stat);
        let told = |r: &Self| (r.mode, r.uid, r.gid, r.links, r.size, r.mtime);
        if told(self) != told(&now) {
            Still::No
        } else if (self.inode, self.ctime) == (now.inode, now.ctime) {
            Still::Surely
        } else {
            Still::Perhaps
        }
    }
}

/// What stat(2) says of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Still {
    Surely,
    Perhaps,
    No,
}

/// A checksum of attributes.
pub(super) fn xattrs_sum(seed: u64, all: &[(Vec<u8>, Vec<u8>)]) -> u64 {
    if all.is_empty() {
        return 0;
    }
    let mut sum = XxHash3_64::with_seed(seed);
    for part in all.iter().flat_map(|(key, value)| [key, value]) {
        sum.write(&(part.len() as u64).to_le_bytes());
        sum.write(part);
    }
    sums::number(&sum)
}

/// A checksum of what a file holds now, or of a link's text; 0 for anything else.
pub(super) fn content_sum(
    seed: u64,
    dir: &OwnedFd,
    base: &[u8],
    stat: &FileStat,
) -> nix::Result<u64> {
    let mut sum = XxHash3_64::with_seed(seed);
    match kind(stat) {
        SFlag::S_IFLNK => sum.write(readlinkat(dir, base)?.as_encoded_bytes()),
        SFlag::S_IFREG => {
            let mut file = File::from(open_file(dir, base)?);
            let mut buffer = vec![0; 256 << 10];
            loop {
                match file.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(n) => sum.write(&buffer[..n]),
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(crate::layer::settle::errno(&e)),
                }
            }
        }
        _ => return Ok(0),
    }
    Ok(sums::number(&sum))
}

/// What is known of the files' contents before they are looked at.
pub(super) enum Known {
    /// Checksums from when they were made.
    Sums(Sums),
    /// Nothing: they are read. With the seed for it.
    Nothing(u64),
}

impl Known {
    fn seed(&self) -> u64 {
        match self {
            Self::Sums(sums) => sums.seed(),
            Self::Nothing(seed) => *seed,
        }
    }
}

/// Writes down what a root is like; the modes that it will have once `closed` is closed.
pub(super) fn write(
    root: &RootDir,
    to: &Path,
    manifest: &Digest,
    sums: &mut Known,
    closed: &Closed,
) -> Result<()> {
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(to);
    let file = file.map_err(Error::at("create", to))?;
    let out = BufWriter::with_capacity(256 << 10, file);
    let mut writing = Writing {
        out: Summed { inner: out, sum: XxHash3_64::with_seed(0) },
        to,
        walk: Walk::new(root, closed.clone())?,
        sums,
        line: Vec::new(),
    };
    writing.all(manifest)?;
    // What is closed is closed by whoever has opened it.
    std::mem::take(&mut writing.walk.closed);
    Ok(())
}

struct Writing<'a> {
    out: Summed<BufWriter<File>>,
    to: &'a Path,
    walk: Walk<'a>,
    sums: &'a mut Known,
    line: Vec<u8>,
}

impl Writing<'_> {
    fn all(&mut self, manifest: &Digest) -> Result<()> {
        let head = [MAGIC, manifest.to_string().as_bytes(), b"\n"].concat();
        self.put(&head)?;
        self.put(&self.sums.seed().to_le_bytes())?;
        let top = self.walk.top()?;
        let root = self.walk.root;
        let fail = |e| root.error("read", b"", e);
        let xattrs = attributes(root, b"").map_err(fail)?;
        let xattrs = xattrs_sum(self.sums.seed(), &xattrs);
        self.record(&Record { xattrs, ..Record::of(b"", &top) })?;
        self.directory(b"")?;
        let sum = self.out.sum.finish().to_le_bytes();
        self.put(&sum)?;
        self.out.inner.flush().map_err(Error::at("write", self.to))
    }

    fn directory(&mut self, path: &[u8]) -> Result<()> {
        let (dir, names) = self.walk.list(path)?;
        self.line.clear();
        number(&mut self.line, names.iter().count() as u64);
        let count = std::mem::take(&mut self.line);
        self.put(&count)?;
        self.line = count;
        let mut below = Vec::new();
        for base in names.iter() {
            let whole = join(path, base);
            let stat = self.walk.stat(&dir, base, &whole)?;
            let fail = |e| self.walk.root.error("read", &whole, e);
            let seed = self.sums.seed();
            let bare = matches!(&*self.sums, Known::Sums(s) if s.is_bare(stat.st_ino));
            let xattrs = if bare && !is_dir(&stat) {
                Vec::new()
            } else {
                attributes(&dir, base).map_err(fail)?
            };
            let content = match kind(&stat) {
                SFlag::S_IFREG => match &mut *self.sums {
                    Known::Sums(sums) => sums.of(stat.st_ino),
                    Known::Nothing(_) => content_sum(seed, &dir, base, &stat).map_err(fail)?,
                },
                SFlag::S_IFLNK => content_sum(seed, &dir, base, &stat).map_err(fail)?,
                _ => 0,
            };
            let xattrs = xattrs_sum(seed, &xattrs);
            self.record(&Record { xattrs, content, ..Record::of(base, &stat) })?;
            if is_dir(&stat) {
                below.push((whole, self.walk.is_mount(&stat)));
            }
        }
        drop((dir, names));
        for (path, mounted) in below {
            // What is mounted on it is no part of the root.
            if mounted { self.put(&[0])? } else { self.directory(&path)? }
        }
        Ok(())
    }

    fn record(&mut self, record: &Record) -> Result<()> {
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        encode(record, &mut line);
        let done = self.put(&line);
        self.line = line;
        done
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.sum.write(bytes);
        self.out.inner.write_all(bytes).map_err(Error::at("write", self.to))
    }
}

/// Something beside the checksum of what passed through it.
struct Summed<T> {
    inner: T,
    sum: XxHash3_64,
}

/// A state being read, block by block in the order of the walk.
pub(super) struct State {
    from: Summed<BufReader<File>>,
    what: String,
    /// When it was finished.
    written: (i64, i64),
    /// Of which image the root was made.
    pub manifest: Digest,
    /// What the checksums were taken with.
    pub seed: u64,
    /// The root.
    pub top: Record,
}

impl State {
    /// Opens a bundle's state; `None` if it has none.
    pub fn open(path: &Path) -> Result<Option<Self>> {
        let file = match File::open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(Error::at("open", path))?,
        };
        let meta = file.metadata().map_err(Error::at("read", path))?;
        let from = BufReader::with_capacity(256 << 10, file);
        let mut this = Self {
            written: (meta.mtime(), meta.mtime_nsec()),
            from: Summed { inner: from, sum: XxHash3_64::with_seed(0) },
            what: path.display().to_string(),
            manifest: Digest::of(b""),
            seed: 0,
            top: Record::default(),
        };
        let mut magic = [0; MAGIC.len()];
        this.exact(&mut magic)?;
        if magic != MAGIC {
            return Err(this.bad("another version wrote it; unpack the bundle again"));
        }
        let mut digest = Vec::new();
        while digest.last() != Some(&b'\n') && digest.len() < 200 {
            digest.push(this.byte()?);
        }
        let text = String::from_utf8_lossy(&digest);
        this.manifest = text.trim_end().parse()?;
        let mut seed = [0; 8];
        this.exact(&mut seed)?;
        this.seed = u64::from_le_bytes(seed);
        this.top = this.record()?;
        Ok(Some(this))
    }

    /// How many records the next directory has.
    pub fn count(&mut self) -> Result<u64> {
        let count = self.number()?;
        if count > MAX_NAMES { Err(self.bad("it is damaged")) } else { Ok(count) }
    }

    /// Whether a change after this could have left a file's change time as it was: the clock of
    /// many a kernel ticks every few milliseconds only.
    pub fn is_recent(&self, record: &Record) -> bool {
        let nanos =
            |(secs, nanos): (i64, i64)| i128::from(secs) * 1_000_000_000 + i128::from(nanos);
        let (secs, nsec) = record.ctime;
        nanos((secs, i64::from(nsec))) + TICK >= nanos(self.written)
    }

    /// Checks the end.
    pub fn end(mut self) -> Result<()> {
        let want = self.from.sum.finish();
        let mut sum = [0; 8];
        self.exact(&mut sum)?;
        if u64::from_le_bytes(sum) == want { Ok(()) } else { Err(self.bad("it is damaged")) }
    }

    /// The next record.
    pub fn record(&mut self) -> Result<Record> {
        let len = self.number()?;
        if len > 255 {
            return Err(self.bad("it is damaged"));
        }
        let mut name = vec![0; len as usize];
        self.exact(&mut name)?;
        let mut numbers = [0; 10];
        for number in &mut numbers {
            *number = self.number()?;
        }
        let [mode, uid, gid, links, size, mtime, mnano, ctime, cnano, inode] = numbers;
        let (mut xattrs, mut content) = ([0; 8], [0; 8]);
        self.exact(&mut xattrs)?;
        self.exact(&mut content)?;
        Ok(Record {
            name,
            mode: mode as u32,
            uid: uid as u32,
            gid: gid as u32,
            links,
            size,
            mtime: (mtime.cast_signed(), mnano as u32),
            ctime: (ctime.cast_signed(), cnano as u32),
            inode,
            xattrs: u64::from_le_bytes(xattrs),
            content: u64::from_le_bytes(content),
        })
    }

    fn number(&mut self) -> Result<u64> {
        let mut number = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.bad("it is damaged"))
    }

    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.exact(&mut byte)?;
        Ok(byte[0])
    }

    fn exact(&mut self, bytes: &mut [u8]) -> Result<()> {
        match self.from.inner.read_exact(bytes) {
            Ok(()) => {
                self.from.sum.write(bytes);
                Ok(())
            }
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(self.bad("it is cut short")),
            Err(e) => Err(Error::io("read", &self.what, e)),
        }
    }

    fn bad(&self, why: &str) -> Error {
        Error::invalid(self.what.clone(), why)
    }
}

fn encode(record: &Record, out: &mut Vec<u8>) {
    number(out, record.name.len() as u64);
    out.extend_from_slice(&record.name);
    let (mtime, ctime) = (record.mtime, record.ctime);
    for n in [
        u64::from(record.mode),
        u64::from(record.uid),
        u64::from(record.gid),
        record.links,
        record.size,
        mtime.0.cast_unsigned(),
        u64::from(mtime.1),
        ctime.0.cast_unsigned(),
        u64::from(ctime.1),
        record.inode,
    ] {
        number(out, n);
    }
    out.extend_from_slice(&record.xattrs.to_le_bytes());
    out.extend_from_slice(&record.content.to_le_bytes());
}

/// Seven bits a byte, the lowest first.
fn number(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn written() -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("rootfs");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/b/f"), "x").unwrap();
        fs::write(root.join("a-c"), "y").unwrap();
        symlink("to", root.join("l")).unwrap();
        let digest = Digest::of(b"m");
        let open = RootDir::open(&root).unwrap();
        let to = dir.path().join("state");
        write(&open, &to, &digest, &mut Known::Nothing(5), &Closed::default()).unwrap();
        (dir, root)
    }

    fn block(state: &mut State) -> Result<Vec<Record>> {
        (0..state.count()?).map(|_| state.record()).collect()
    }

    #[test]
    fn blocks_come_back_in_the_order_of_the_walk() {
        let (dir, root) = written();
        let mut state = State::open(&dir.path().join("state")).unwrap().unwrap();
        assert_eq!((state.seed, &state.manifest), (5, &Digest::of(b"m")));
        let names = |block: &[Record]| -> Vec<String> {
            block.iter().map(|r| String::from_utf8(r.name.clone()).unwrap()).collect()
        };
        let top = block(&mut state).unwrap();
        assert_eq!(names(&top), ["a", "a-c", "l"]);
        assert_ne!(top[2].content, 0);
        assert_eq!(names(&block(&mut state).unwrap()), ["b"]);
        let last = block(&mut state).unwrap();
        assert_eq!(names(&last), ["f"]);
        let open = RootDir::open(&root).unwrap();
        let dir = open.open_plain(b"a/b", nix::fcntl::OFlag::O_RDONLY).unwrap();
        let stat = crate::layer::at::stat_at(&dir, b"f").unwrap();
        assert_eq!(last[0].still(&stat), Still::Surely);
        state.end().unwrap();
    }

    proptest! {
        #[test]
        fn damage_is_told_and_never_panics(at in 0usize..400, bit in 0u8..8, cut in 0usize..400) {
            let (dir, _) = written();
            let path = dir.path().join("state");
            let mut bytes = fs::read(&path).unwrap();
            let len = bytes.len();
            bytes[at % len] ^= 1 << bit;
            bytes.truncate(len - cut % len % 3);
            fs::write(&path, bytes).unwrap();
            let read = || -> Result<()> {
                let Some(mut state) = State::open(&path)? else { return Ok(()) };
                for _ in 0..3 {
                    block(&mut state)?;
                }
                state.end()
            };
            prop_assert!(read().is_err());
        }
    }
}
