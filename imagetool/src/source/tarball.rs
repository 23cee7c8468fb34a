//! A tar as a set of files. A plain tar that can be sought is only indexed; a stream (a
//! pipe, a compressed file) is spooled, each large member into a file of its own that is
//! hashed on the way and can become a blob by a rename.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::files::{Files, missing};
use crate::digest::{Algorithm, Digest, Hashing};
use crate::error::{Error, Result};
use crate::layer::compress::{Compression, inflate};
use crate::layer::foreign;
use crate::pieces::PIECE;

/// Members up to this size are kept in memory, as long as all of them are under `MAX_KEPT`.
const SMALL: u64 = 256 << 10;
const MAX_KEPT: u64 = 64 << 20;
const MAX_MEMBERS: usize = 100_000;
const MAX_LINKS: usize = 8;
/// Long names and pax headers before one member, together: the `tar` crate keeps them in
/// memory whatever their size, and a compressed one may be of any.
const MAX_SPECIAL: u64 = 1 << 20;

/// What a file's kind shows in.
const HEAD: usize = 4;

/// No archive unpacks to more, as no layer does.
const MAX_PLAIN: u64 = 1 << 40;

/// The files of a tar.
pub struct Tarball {
    title: String,
    members: HashMap<String, Member>,
    by_digest: HashMap<Digest, PathBuf>,
    file: Option<File>,
    /// Whether members may be taken away as blobs.
    given: bool,
}

enum Member {
    /// In the tar itself.
    At { offset: u64, size: u64 },
    /// In memory.
    Kept(Vec<u8>),
    /// In a file of its own, which may become a blob elsewhere.
    Spooled { path: PathBuf, size: u64, head: Vec<u8> },
    /// Another name for a member. Old `docker save`s share layers this way.
    Link(String),
}

impl Tarball {
    /// Opens a tar file. One that can't be sought in, or is compressed, goes to `spool`.
    pub fn open(path: &Path, spool: &Path) -> Result<Self> {
        let title = path.display().to_string();
        let mut file = File::open(path).map_err(Error::at("open", path))?;
        let regular = file.metadata().map_err(Error::at("read", path))?.is_file();
        if !regular {
            return Self::read(file, &title, spool);
        }
        let mut head = [0; 6];
        let n = file.read(&mut head).map_err(Error::at("read", path))?;
        file.seek(SeekFrom::Start(0)).map_err(Error::at("read", path))?;
        match Compression::sniff(&head[..n]) {
            Compression::None if !head.starts_with(b"BZh") && !head.starts_with(b"\xfd7zXZ") => {
                Self::index(file, title)
            }
            _ => Self::read(file, &title, spool),
        }
    }

    /// Reads a tar from a stream, compressed or not, to its end.
    pub fn read(stream: impl Read, title: &str, spool: &Path) -> Result<Self> {
        let (_, plain) =
            foreign::peel(stream).and_then(inflate).map_err(|e| Error::invalid(title, e))?;
        let plain = plain.take(MAX_PLAIN);
        let mut new = Self::empty(title.to_owned());
        let mut kept = 0;
        let allowance = Allowance::default();
        let mut archive = tar::Archive::new(Metered { inner: plain, allowance: allowance.clone() });
        let failed = |e| Error::from_io("read", title, e);
        allowance.grant(MAX_SPECIAL);
        for entry in archive.entries().map_err(failed)? {
            let mut entry = entry.map_err(|e| not_a_tar(title, e))?;
            allowance.grant(u64::MAX);
            let Some(name) = new.name(&entry)? else {
                io::copy(&mut entry, &mut io::sink()).map_err(failed)?;
                allowance.grant(MAX_SPECIAL);
                continue;
            };
            let size = entry.size();
            let member = if let Some(to) = link(&name, &entry) {
                if to == name && new.members.contains_key(&name) {
                    allowance.grant(MAX_SPECIAL);
                    continue; // GNU tar's way to say that a file was named twice
                }
                Member::Link(to)
            } else if size <= SMALL && kept + size <= MAX_KEPT {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).map_err(failed)?;
                kept += size;
                Member::Kept(bytes)
            } else {
                let (path, digest, head) = spooled(&mut entry, &name, title, spool)?;
                new.by_digest.insert(digest, path.clone());
                Member::Spooled { path, size, head }
            };
            io::copy(&mut entry, &mut io::sink()).map_err(failed)?;
            allowance.grant(MAX_SPECIAL);
            new.members.insert(name, member);
        }
        allowance.grant(u64::MAX);
        // A compressed stream's own checksum comes after the archive's end.
        let mut rest = archive.into_inner();
        io::copy(&mut rest, &mut io::sink()).map_err(failed)?;
        if rest.inner.limit() == 0 {
            return Err(Error::invalid(title, format!("it is larger than {MAX_PLAIN} bytes")));
        }
        Ok(new)
    }

    fn index(file: File, title: String) -> Result<Self> {
        let mut new = Self::empty(title);
        let title = new.title.clone();
        let reader = file.try_clone().map_err(Error::at("read", &title))?;
        let allowance = Allowance::default();
        let mut archive =
            tar::Archive::new(Metered { inner: reader, allowance: allowance.clone() });
        let failed = |e| Error::from_io("read", &title, e);
        allowance.grant(MAX_SPECIAL);
        for entry in archive.entries_with_seek().map_err(failed)? {
            let entry = entry.map_err(|e| not_a_tar(&title, e))?;
            allowance.grant(MAX_SPECIAL);
            let Some(name) = new.name(&entry)? else { continue };
            if link(&name, &entry).is_some_and(|to| to == name) && new.members.contains_key(&name) {
                continue; // GNU tar's way to say that a file was named twice
            }
            let member = link(&name, &entry).map_or(
                Member::At { offset: entry.raw_file_position(), size: entry.size() },
                Member::Link,
            );
            new.members.insert(name, member);
        }
        new.file = Some(file);
        Ok(new)
    }

    fn empty(title: String) -> Self {
        Self { title, members: HashMap::new(), by_digest: HashMap::new(), file: None, given: true }
    }

    /// A file's or link's clean name; `None` for what is neither.
    fn name<R: Read>(&self, entry: &tar::Entry<'_, R>) -> Result<Option<String>> {
        if self.members.len() >= MAX_MEMBERS {
            let why = format!("it has more than {MAX_MEMBERS} members");
            return Err(Error::invalid(&self.title, why));
        }
        let kind = entry.header().entry_type();
        if !(kind.is_file() || kind.is_contiguous() || kind.is_symlink() || kind.is_hard_link()) {
            return Ok(None);
        }
        Ok(Some(clean(&String::from_utf8_lossy(&entry.path_bytes()))))
    }

    /// The same, whose members nobody may take away: they can't be renamed to where they would go.
    pub(super) fn kept_where_it_is(self) -> Self {
        Self { given: false, ..self }
    }

    /// Whether there is such a file.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// A file's first few bytes, and its size: also of one that was taken away as a blob.
    pub(super) fn begins(&self, name: &str) -> Result<(Vec<u8>, u64)> {
        if let Some(Member::Spooled { size, head, .. }) = self.find(name) {
            return Ok((head.clone(), *size));
        }
        let (reader, size) = self.open(name)?;
        let mut head = Vec::new();
        let failed = |e| Error::from_io("read", format!("{name} in {}", self.title), e);
        reader.take(HEAD as u64).read_to_end(&mut head).map_err(failed)?;
        Ok((head, size))
    }

    /// A file's digest, if it was hashed while it was spooled.
    pub(super) fn digest(&self, name: &str) -> Option<&Digest> {
        let Member::Spooled { path, .. } = self.find(name)? else { return None };
        self.by_digest.iter().find(|(_, p)| *p == path).map(|(d, _)| d)
    }

    fn find(&self, name: &str) -> Option<&Member> {
        let mut name = clean(name);
        for _ in 0..MAX_LINKS {
            match self.members.get(&name)? {
                Member::Link(to) => name.clone_from(to),
                member => return Some(member),
            }
        }
        None
    }
}

impl Files for Tarball {
    fn open<'a>(&'a self, name: &str) -> Result<(Box<dyn Read + Send + 'a>, u64)> {
        match self.find(name) {
            None | Some(Member::Link(_)) => Err(missing(name, &self.title)),
            Some(Member::Kept(bytes)) => Ok((Box::new(Cursor::new(bytes)), bytes.len() as u64)),
            Some(Member::Spooled { path, size, .. }) => {
                let file = File::open(path).map_err(Error::at("open", path))?;
                Ok((Box::new(file), *size))
            }
            Some(Member::At { offset, size }) => {
                let file = self.file.as_ref().ok_or_else(|| missing(name, &self.title))?;
                Ok((Box::new(Slice { file, at: *offset, left: *size }), *size))
            }
        }
    }

    fn spooled(&self, digest: &Digest) -> Option<PathBuf> {
        self.by_digest.get(digest).filter(|p| self.given && p.exists()).cloned()
    }

    fn title(&self) -> String {
        self.title.clone()
    }
}

/// How much may be read until it is granted anew.
#[derive(Clone, Default)]
struct Allowance(Rc<Cell<u64>>);

impl Allowance {
    fn grant(&self, bytes: u64) {
        self.0.set(bytes);
    }
}

/// A reader that gives what is allowed, then an error.
struct Metered<R> {
    inner: R,
    allowance: Allowance,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.allowance.0.get();
        if left == 0 {
            let why = format!("more than {MAX_SPECIAL} bytes of names before one member");
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        let max = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        let n = self.inner.read(&mut buf[..max])?;
        self.allowance.grant(left - n as u64);
        Ok(n)
    }
}

impl<R: Seek> Seek for Metered<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

/// A part of a file, read by position: several can be read at once.
struct Slice<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl Read for Slice<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let max = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        let n = self.file.read_at(&mut buf[..max], self.at)?;
        self.at += n as u64;
        self.left -= n as u64;
        Ok(n)
    }
}

/// `./a//b/../c` → `a/c`. Names are keys here, never paths on this machine.
fn clean(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Where a link leads: a symlink from its own folder, a hard link from the top.
fn link<R: Read>(name: &str, entry: &tar::Entry<'_, R>) -> Option<String> {
    let kind = entry.header().entry_type();
    if !kind.is_symlink() && !kind.is_hard_link() {
        return None;
    }
    let target = entry.link_name_bytes()?;
    let target = String::from_utf8_lossy(&target).into_owned();
    let folder = name.rsplit_once('/').map_or("", |(f, _)| f);
    Some(clean(&if kind.is_symlink() { format!("{folder}/{target}") } else { target }))
}

/// Keeps a member in a file of its own, hashed as its name says: `blobs/sha512/…`.
fn spooled(
    entry: &mut impl Read,
    name: &str,
    title: &str,
    spool: &Path,
) -> Result<(PathBuf, Digest, Vec<u8>)> {
    let said = name.strip_prefix("blobs/").and_then(|rest| rest.split_once('/'));
    let algorithm = Algorithm::ALL.into_iter().find(|a| said.is_some_and(|s| s.0 == a.name()));
    let algorithm = algorithm.unwrap_or(Algorithm::Sha256);
    let (file, path) = tempfile::Builder::new()
        .prefix("member-")
        .tempfile_in(spool)
        .and_then(|t| t.keep().map_err(|e| e.error))
        .map_err(Error::at("create a file in", spool))?;
    let mut out = Hashing::new(file, algorithm);
    let (mut buf, mut head) = (vec![0; PIECE], Vec::new());
    loop {
        let n = match entry.read(&mut buf) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::from_io("read", title, e)),
        };
        head.extend_from_slice(&buf[..n.min(HEAD - head.len())]);
        out.write_all(&buf[..n]).map_err(Error::at("write", &path))?;
    }
    let (_, digest, _) = out.finish();
    Ok((path, digest, head))
}

fn not_a_tar(title: &str, e: io::Error) -> Error {
    match Error::from_io("read", title, e) {
        Error::Io { source, .. } if source.raw_os_error().is_none() => {
            // The tar crate quotes names as they are.
            let clean = |c: char| if c.is_control() { ' ' } else { c };
            let why: String = source.to_string().chars().map(clean).take(120).collect();
            Error::invalid(title, format!("this is no whole tar: {why}"))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tar() -> Vec<u8> {
        let mut b = tar::Builder::new(Vec::new());
        let mut add = |name: &str, data: &[u8]| {
            let mut h = tar::Header::new_gnu();
            h.set_size(data.len() as u64);
            h.set_cksum();
            b.append_data(&mut h, name, data).unwrap();
        };
        add("a/layer.tar", b"hello");
        add("big", &vec![7; 300 << 10]);
        let mut h = tar::Header::new_gnu();
        h.set_entry_type(tar::EntryType::Symlink);
        h.set_size(0);
        b.append_link(&mut h, "b/layer.tar", "../a/layer.tar").unwrap();
        let mut h = tar::Header::new_gnu();
        h.set_entry_type(tar::EntryType::Symlink);
        h.set_size(0);
        b.append_link(&mut h, "loop", "loop").unwrap();
        b.into_inner().unwrap()
    }

    fn check(t: &Tarball) {
        assert_eq!(t.read("a/layer.tar", 9).unwrap(), b"hello");
        assert_eq!(t.read("./b/layer.tar", 9).unwrap(), b"hello");
        assert_eq!(t.read("big", 1 << 20).unwrap().len(), 300 << 10);
        assert!(t.read("big", 9).is_err() && t.read("loop", 9).is_err() && t.read("c", 9).is_err());
    }

    #[test]
    fn files_and_streams_give_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let plain = dir.path().join("x.tar");
        std::fs::write(&plain, tar()).unwrap();
        check(&Tarball::open(&plain, dir.path()).unwrap());
        let packed = zstd::encode_all(&tar()[..], 1).unwrap();
        std::fs::write(&plain, &packed).unwrap();
        check(&Tarball::open(&plain, dir.path()).unwrap());
        let streamed = Tarball::read(&packed[..], "-", dir.path()).unwrap();
        check(&streamed);
        assert_eq!(streamed.digest("big"), Some(&Digest::of(&vec![7; 300 << 10])));
    }

    #[test]
    fn a_cut_stream_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let packed = zstd::encode_all(&tar()[..], 1).unwrap();
        assert!(Tarball::read(&packed[..packed.len() - 4], "-", dir.path()).is_err());
        assert!(Tarball::read(&tar()[..2000], "-", dir.path()).is_err());
    }

    #[test]
    fn a_long_name_of_any_size_is_not_kept_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let mut bomb = tar::Header::new_gnu();
        bomb.set_entry_type(tar::EntryType::GNULongName);
        bomb.set_size(8 << 20);
        bomb.set_cksum();
        let mut bytes = bomb.as_bytes().to_vec();
        bytes.resize(bytes.len() + (8 << 20), b'x');
        bytes.extend(tar());
        let plain = dir.path().join("x.tar");
        std::fs::write(&plain, &bytes).unwrap();
        for refused in
            [Tarball::read(&bytes[..], "-", dir.path()), Tarball::open(&plain, dir.path())]
        {
            let why = refused.err().unwrap().to_string();
            assert!(why.contains("names before one member"), "{why}");
        }
    }

    proptest! {
        #[test]
        fn names_never_climb(s in "\\PC{0,40}") {
            prop_assert!(clean(&s).split('/').all(|p| p != ".."));
        }
    }
}
