//! A tar stream as typed entries: names cleaned, numbers checked, everything that is
//! kept in memory bounded.
//!
//! Header blocks are read with the `tar` crate's types. The walk from entry to entry is
//! our own: `tar::Archive` reads long names and pax headers of any size into memory and
//! knows only the oldest sparse format, and its `Entry::unpack_in` resolves every parent
//! by path (16 readlinks an entry, 1.8 times the CPU when measured).

use std::io::{self, BufRead};

use tar::{EntryType, Header};

use super::name::{Name, show};
use super::pax::{MAX_SPECIAL, Pax, Time, field};
use super::sparse::{self, Segment};
use super::whiteout::{self, Mark};
use crate::error::{Error, Result};

const BLOCK: usize = 512;

/// How much a layer may ask for before it is refused.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes after decompression.
    pub bytes: u64,
    /// Entries of the archive.
    pub entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 1 << 40, entries: 1 << 24 }
    }
}

/// One thing the layer says.
#[derive(Debug)]
pub struct Entry {
    /// Where; for whiteouts, what they remove.
    pub name: Name,
    /// Owner, mode, time, attributes.
    pub meta: Meta,
    /// What.
    pub kind: Kind,
}

/// What an entry is.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Dir,
    /// A regular file; its bytes are read by [`Entries::body`].
    File(Body),
    /// A symbolic link with this text.
    Symlink(Vec<u8>),
    /// Another name of the file at this path.
    Hardlink(Name),
    /// A character device.
    Char(Device),
    /// A block device.
    Block(Device),
    /// A named pipe.
    Fifo,
    /// Removes `name` of the layers below.
    Whiteout,
    /// Removes what the layers below have in the directory `name`.
    Opaque,
}

/// A device's major and minor number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// The major number.
    pub major: u32,
    /// The minor number.
    pub minor: u32,
}

/// The shape of a file's content.
#[derive(Debug, PartialEq, Eq)]
pub struct Body {
    /// The file's length.
    pub size: u64,
    /// Where its data lies, if it has holes.
    pub segments: Option<Vec<Segment>>,
}

/// Metadata of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits with setuid, setgid and sticky: 0 to 0o7777.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time.
    pub mtime: Time,
    /// Extended attributes to set, already sifted.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The entries of a tar stream.
pub struct Entries<R> {
    inner: R,
    limits: Limits,
    count: u64,
    /// The lengths of the files so far, holes and all.
    total: u64,
    /// Bytes of the current entry's content not read yet, and the padding behind them.
    left: u64,
    pad: u64,
    done: bool,
    /// Names that mean whiteouts in layers are names.
    literal: bool,
    /// Files get their length, and no content.
    hollow: bool,
}

impl<R: BufRead> Entries<R> {
    /// Reads `inner` as a tar archive.
    pub fn new(inner: R, limits: Limits) -> Self {
        Self {
            inner,
            limits,
            count: 0,
            total: 0,
            left: 0,
            pad: 0,
            done: false,
            literal: false,
            hollow: false,
        }
    }

    /// Takes every name for what it says: the archive is no layer.
    #[must_use]
    pub fn literal(mut self) -> Self {
        self.literal = true;
        self
    }

    /// Keeps content back: [`Entries::body`] hands on nothing, and files become holes.
    #[must_use]
    pub fn hollow(mut self, hollow: bool) -> Self {
        self.hollow = hollow;
        self
    }

    /// The next entry, or `None` at the archive's end.
    pub fn advance(&mut self) -> Result<Option<Entry>> {
        loop {
            let Some((header, pax)) = self.next_header()? else { return Ok(None) };
            let raw = pax.sparse.name.clone().or_else(|| pax.path.clone());
            let raw = raw.unwrap_or_else(|| header.path_bytes().into_owned());
            let entry = self.interpret(&raw, &header, pax).map_err(|e| within(&raw, e))?;
            if let Some(entry) = entry {
                return Ok(Some(entry));
            }
        }
    }

    /// The stream, to be drained and checked.
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// Hands the current file's bytes on in pieces, with their place in the file.
    pub fn body(
        &mut self,
        body: &Body,
        mut put: impl FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<()> {
        if self.hollow {
            return Ok(()); // what isn't taken is skipped by the next advance
        }
        let whole = [Segment { offset: 0, length: body.size }];
        for segment in body.segments.as_deref().unwrap_or(&whole) {
            let mut at = segment.offset;
            let end = segment.offset + segment.length;
            while at < end {
                let piece = self.inner.fill_buf().map_err(broken)?;
                if piece.is_empty() {
                    return Err(short());
                }
                let n = (end - at).min(piece.len() as u64) as usize;
                put(at, &piece[..n])?;
                self.inner.consume(n);
                at += n as u64;
                self.left -= n as u64;
            }
        }
        Ok(())
    }

    /// Reads headers up to a real entry's, gathering what extends it.
    fn next_header(&mut self) -> Result<Option<(Header, Pax)>> {
        let mut pax = Pax::default();
        let (mut long_name, mut long_link) = (None, None);
        let mut extra = 0;
        loop {
            let Some(header) = self.header()? else { return Ok(None) };
            // Any number of them may stand before one entry, and what they say is kept.
            if header.entry_type().is_pax_local_extensions()
                || header.entry_type().as_byte() == b'X'
            {
                extra += size_of(&header)?;
                if extra > MAX_SPECIAL {
                    return Err(invalid("an entry's extended headers are larger than 1 MiB"));
                }
            }
            match header.entry_type() {
                // Global records say nothing about files that docker or umoci heed.
                EntryType::XGlobalHeader => self.expect_body(size_of(&header)?)?,
                EntryType::XHeader => pax.parse(&self.special(&header)?)?,
                EntryType::GNULongName => long_name = Some(c_string(self.special(&header)?)),
                EntryType::GNULongLink => long_link = Some(c_string(self.special(&header)?)),
                // Solaris spells pax headers so.
                other if other.as_byte() == b'X' => pax.parse(&self.special(&header)?)?,
                _ => {
                    pax.path = pax.path.or(long_name);
                    pax.link = pax.link.or(long_link);
                    return Ok(Some((header, pax)));
                }
            }
        }
    }

    fn interpret(&mut self, raw: &[u8], header: &Header, mut pax: Pax) -> Result<Option<Entry>> {
        let size = match pax.size {
            Some(size) => size,
            None => size_of(header)?,
        };
        let mut meta = metadata(header, &mut pax)?;
        let mut kind = self.kind(raw, size, header, &mut pax)?;
        let mut name = Name::clean(raw)?;
        let mark = if self.literal { Mark::None } else { whiteout::mark(&name)? };
        match mark {
            Mark::None => {}
            Mark::Skip => return Ok(None),
            Mark::Opaque(dir) => (name, kind) = (dir, Kind::Opaque),
            Mark::Whiteout(gone) => (name, kind) = (gone, Kind::Whiteout),
        }
        meta.xattrs.retain(|(key, _)| wanted(key));
        Ok(Some(Entry { name, meta, kind }))
    }

    fn kind(&mut self, raw: &[u8], size: u64, header: &Header, pax: &mut Pax) -> Result<Kind> {
        let mut link = || pax.link.take().or_else(|| header.link_name_bytes().map(Into::into));
        Ok(match header.entry_type() {
            // A v7 archive marks a directory by a slash at the end of a file's name.
            EntryType::Regular if raw.ends_with(b"/") && pax.sparse.name.is_none() => {
                self.expect_body(size)?;
                Kind::Dir
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                Kind::File(self.file(size, header, pax)?)
            }
            EntryType::Directory => Kind::Dir,
            EntryType::Fifo => Kind::Fifo,
            EntryType::Symlink => Kind::Symlink(symlink_text(link())?),
            EntryType::Link => Kind::Hardlink(hardlink_target(link())?),
            EntryType::Char => Kind::Char(device(header, true)?),
            EntryType::Block => Kind::Block(device(header, false)?),
            other => {
                let flag = other.as_byte().escape_ascii().to_string();
                return Err(invalid(&format!("its type '{flag}' is unknown")));
            }
        })
    }

    /// A file's shape; the stream then stands at its first byte of data.
    fn file(&mut self, size: u64, header: &Header, pax: &mut Pax) -> Result<Body> {
        self.expect_body(size)?;
        let (size, segments) = if header.entry_type() == EntryType::GNUSparse {
            let gnu = header.as_gnu().ok_or_else(|| invalid("its sparse map is missing"))?;
            // The blocks of a longer map stand between the header and the data.
            let (left, pad) = (self.left, self.pad);
            let (real, map) = sparse::old_gnu(gnu, || {
                let mut block = [0; BLOCK];
                self.exact(&mut block)?;
                Ok(block)
            })?;
            (self.left, self.pad) = (left, pad);
            (real, Some(map))
        } else if let Some(format) = sparse::pax_format(&pax.sparse) {
            let real = pax.sparse.size.ok_or_else(|| invalid("its sparse size is missing"))?;
            let map = match format {
                sparse::Format::InHeader => sparse::from_header(&mut pax.sparse)?,
                sparse::Format::InData => sparse::from_data(|| {
                    let mut block = [0; BLOCK];
                    self.left = self.left.checked_sub(BLOCK as u64).ok_or_else(short)?;
                    self.exact(&mut block)?;
                    Ok(block)
                })?,
            };
            (real, Some(map))
        } else {
            (size, None)
        };
        if let Some(map) = &segments {
            sparse::check(map, size, self.left)?;
        }
        // A hole is read by whoever reads the file, though nobody had to send it.
        let most = self.limits.bytes;
        self.total = self.total.saturating_add(size);
        if self.total > most {
            return Err(invalid(&format!("with it, the files are larger than {most} bytes")));
        }
        Ok(Body { size, segments })
    }

    /// The next header block, checked; `None` at the end.
    fn header(&mut self) -> Result<Option<Header>> {
        self.skip_rest()?;
        if self.done {
            return Ok(None);
        }
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        match self.fill(block)? {
            0 => {
                self.done = true;
                return Ok(None);
            }
            BLOCK => {}
            _ => return Err(short()),
        }
        if block.iter().all(|&b| b == 0) {
            // SPEC: two zero blocks end an archive; Go and GNU accept one before the end.
            let mut second = [0; BLOCK];
            let n = self.fill(&mut second)?;
            if n == 0 || second.iter().all(|&b| b == 0) {
                self.done = true;
                return Ok(None);
            }
            return Err(invalid("it goes on after a zero block"));
        }
        if !checksum_fits(block) {
            return Err(invalid("a header's checksum is wrong: this is no tar archive, or broken"));
        }
        self.count += 1;
        if self.count > self.limits.entries {
            return Err(invalid(&format!("it has more than {} entries", self.limits.entries)));
        }
        Ok(Some(header))
    }

    fn expect_body(&mut self, size: u64) -> Result<()> {
        if size > self.limits.bytes {
            return Err(invalid(&format!("its size {size} is beyond the limit")));
        }
        self.left = size;
        self.pad = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    /// The content of a header that extends the next one.
    fn special(&mut self, header: &Header) -> Result<Vec<u8>> {
        let size = size_of(header)?;
        if size > MAX_SPECIAL {
            return Err(invalid("an extended header is larger than 1 MiB"));
        }
        self.expect_body(size)?;
        let mut data = vec![0; size as usize];
        self.exact(&mut data)?;
        self.left = 0;
        Ok(data)
    }

    fn skip_rest(&mut self) -> Result<()> {
        let mut skip = self.left + self.pad;
        (self.left, self.pad) = (0, 0);
        while skip > 0 {
            let have = self.inner.fill_buf().map_err(broken)?.len();
            if have == 0 {
                return Err(short());
            }
            let n = skip.min(have as u64);
            self.inner.consume(n as usize);
            skip -= n;
        }
        Ok(())
    }

    fn exact(&mut self, buf: &mut [u8]) -> Result<()> {
        if self.fill(buf)? == buf.len() { Ok(()) } else { Err(short()) }
    }

    /// Reads until `buf` is full or the stream ends.
    fn fill(&mut self, buf: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            let piece = self.inner.fill_buf().map_err(broken)?;
            if piece.is_empty() {
                break;
            }
            let n = piece.len().min(buf.len() - done);
            buf[done..done + n].copy_from_slice(&piece[..n]);
            self.inner.consume(n);
            done += n;
        }
        Ok(done)
    }
}

fn metadata(header: &Header, pax: &mut Pax) -> Result<Meta> {
    let old = header.as_old();
    let mtime = match pax.mtime {
        Some(time) => time,
        None => Time { secs: number(&old.mtime, "time")?, nanos: 0 },
    };
    Ok(Meta {
        mode: (number(&old.mode, "mode")? & 0o7777) as u32,
        uid: id(pax.uid, &old.uid, "owner")?,
        gid: id(pax.gid, &old.gid, "group")?,
        mtime,
        xattrs: std::mem::take(&mut pax.xattrs),
    })
}

/// A user or group id; 2³²-1 means "leave it" to chown(2) and names nobody.
fn id(pax: Option<u64>, bytes: &[u8], what: &str) -> Result<u32> {
    let value = match pax {
        Some(value) => value,
        None => number(bytes, what)?.cast_unsigned(),
    };
    match u32::try_from(value) {
        Ok(id) if id != u32::MAX => Ok(id),
        _ => Err(invalid(&format!("its {what} {value} is out of range"))),
    }
}

fn number(bytes: &[u8], what: &str) -> Result<i64> {
    field(bytes).ok_or_else(|| invalid(&format!("its {what} is no number")))
}

fn size_of(header: &Header) -> Result<u64> {
    let size = number(&header.as_old().size, "size")?;
    u64::try_from(size).map_err(|_| invalid("its size is negative"))
}

fn device(header: &Header, character: bool) -> Result<Device> {
    let ustar = header.as_bytes();
    let half = |at: usize, what| -> Result<u32> {
        let n = number(&ustar[at..at + 8], what)?;
        u32::try_from(n).map_err(|_| invalid(&format!("its {what} {n} is out of range")))
    };
    // SPEC: ustar: devmajor at 329, devminor at 337, in GNU headers too.
    let device = Device { major: half(329, "major number")?, minor: half(337, "minor number")? };
    if character && device == (Device { major: 0, minor: 0 }) {
        return Err(invalid("a character device 0:0 would be an overlay whiteout"));
    }
    Ok(device)
}

fn symlink_text(text: Option<Vec<u8>>) -> Result<Vec<u8>> {
    match text {
        Some(text) if text.len() > 4095 => Err(invalid("its link is longer than 4095 bytes")),
        Some(text) if text.contains(&0) => Err(invalid("its link contains a NUL")),
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(invalid("its link is empty")),
    }
}

fn hardlink_target(target: Option<Vec<u8>>) -> Result<Name> {
    let name = Name::clean(&target.unwrap_or_default())?;
    if name.is_root() { Err(invalid("it is a hard link to the root")) } else { Ok(name) }
}

/// Which of an archive's attributes are set.
/// Overlay's own would let a layer reach beneath others; labels of security modules
/// are the host's to give, never an image's. DIFFERS: docker sets security.selinux.
pub(crate) fn wanted(key: &[u8]) -> bool {
    const REFUSED: [&[u8]; 8] = [
        b"trusted.overlay.",
        b"user.overlay.",
        b"user.fuseoverlayfs.",
        b"security.selinux",
        b"security.apparmor",
        b"security.SMACK64",
        b"security.ima",
        b"security.evm",
    ];
    key.contains(&b'.') && !REFUSED.iter().any(|prefix| key.starts_with(prefix))
}

/// Whether a block can be the first of an archive.
pub(crate) fn is_header(block: &[u8; BLOCK]) -> bool {
    block.iter().any(|&b| b != 0) && checksum_fits(block)
}

/// SPEC: ustar: the sum of the bytes, those of the sum itself taken as spaces;
/// some old writers added signed bytes.
fn checksum_fits(block: &[u8]) -> bool {
    let Some(want) = field(&block[148..156]) else { return false };
    let (mut unsigned, mut signed) = (0i64, 0i64);
    for (i, &byte) in block.iter().enumerate() {
        let byte = if (148..156).contains(&i) { b' ' } else { byte };
        unsigned += i64::from(byte);
        signed += i64::from(byte.cast_signed());
    }
    want == unsigned || want == signed
}

fn c_string(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|&b| b == 0) {
        bytes.truncate(end);
    }
    bytes
}

fn within(raw: &[u8], error: Error) -> Error {
    match error {
        Error::Invalid { what, why } if what == WHAT => {
            Error::invalid(format!("archive entry {}", show(raw)), why)
        }
        other => other,
    }
}

const WHAT: &str = "archive";

pub(super) fn invalid(why: &str) -> Error {
    Error::invalid(WHAT, why)
}

fn short() -> Error {
    invalid("it ends in the middle")
}

fn broken(error: io::Error) -> Error {
    Error::from_io("read", "layer", error)
}
