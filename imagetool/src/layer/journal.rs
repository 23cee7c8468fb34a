//! What a layer has made and still owes, in bounded memory: sets keep hashes and move
//! to disk in sorted runs; records are appended to a spool that does the same.

use std::collections::HashSet;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::entry::Meta;
use super::name::{Name, depth};
use super::pax::Time;
use super::sums::Sums;

/// Bytes or hashes kept in memory before they move to disk.
const SPOOL_MAX: usize = 4 << 20;
const SET_MAX: usize = 512 << 10;

/// What is owed when a layer's entries have all been read.
#[derive(Debug)]
pub struct Journal {
    /// Metadata of directories, which their children's coming would spoil.
    pub(super) dirs: Spool,
    /// Overlay: what can only be settled with the layers below at hand.
    pub(super) deferred: Spool,
    /// Directories whose metadata is owed already.
    pub(super) sealed: PathSet,
    /// Plain: everything this layer has made.
    pub(super) made: PathSet,
    /// The depth of the deepest directory owed.
    pub(super) deepest: usize,
    /// Checksums of the files' contents, if somebody wants them.
    pub(super) sums: Option<Sums>,
}

/// One debt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Debt {
    /// This directory gets this metadata.
    Seal(Name, Meta),
    /// This directory of a layer below keeps its time.
    Restore(Name, Time),
    /// This directory was never mentioned: it takes after the one below.
    Implicit(Name),
    /// A hard link to a file that only a layer below has.
    Link(Name, Name),
    /// A whiteout was made here.
    Whiteout(Name),
}

impl Journal {
    /// An empty journal, which spills into unnamed files in `scratch`.
    pub fn new(scratch: &Path) -> Self {
        Self {
            dirs: Spool::new(scratch),
            deferred: Spool::new(scratch),
            sealed: PathSet::new(scratch),
            made: PathSet::new(scratch),
            deepest: 0,
            sums: None,
        }
    }

    /// Keeps checksums of the files' contents as well, beside those of earlier layers.
    #[must_use]
    pub fn with_sums(mut self, sums: Sums) -> Self {
        self.sums = Some(sums);
        self
    }

    /// The checksums, which outlive the layer.
    pub fn into_sums(self) -> Option<Sums> {
        self.sums
    }

    /// A directory's metadata, to be set when nothing more comes into it.
    pub(super) fn seal(&mut self, name: Name, meta: Meta) -> io::Result<()> {
        self.sealed.insert(name.as_bytes())?;
        self.deepest = self.deepest.max(depth(name.as_bytes()));
        self.dirs.push(&Debt::Seal(name, meta))
    }

    /// A directory's time, unless its metadata is owed already.
    pub(super) fn restore(&mut self, name: Name, time: Time) -> io::Result<()> {
        if self.sealed.contains(name.as_bytes())? {
            return Ok(());
        }
        self.sealed.insert(name.as_bytes())?;
        self.deepest = self.deepest.max(depth(name.as_bytes()));
        self.dirs.push(&Debt::Restore(name, time))
    }
}

/// A list of debts.
#[derive(Debug)]
pub(super) struct Spool {
    scratch: PathBuf,
    tail: Vec<u8>,
    file: Option<File>,
}

impl Spool {
    pub fn new(scratch: &Path) -> Self {
        Self { scratch: scratch.to_owned(), tail: Vec::new(), file: None }
    }

    pub fn push(&mut self, debt: &Debt) -> io::Result<()> {
        encode(debt, &mut self.tail);
        if self.tail.len() >= SPOOL_MAX {
            self.spill()?;
        }
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            self.file = Some(tempfile::tempfile_in(&self.scratch)?);
        }
        if let Some(file) = &mut self.file {
            file.write_all(&self.tail)?;
            self.tail.clear();
        }
        Ok(())
    }

    /// Hands on all debts, in the order they came.
    pub fn each<E: From<io::Error>>(
        &self,
        mut take: impl FnMut(Debt) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Some(file) = &self.file {
            let mut file = file.try_clone()?;
            file.seek(SeekFrom::Start(0))?;
            let mut reader = BufReader::with_capacity(256 << 10, file);
            while let Some(debt) = decode(&mut reader)? {
                take(debt)?;
            }
        }
        let mut rest = self.tail.as_slice();
        while let Some(debt) = decode(&mut rest)? {
            take(debt)?;
        }
        Ok(())
    }
}

/// A set of paths, by hashes that a hostile archive can't foresee.
#[derive(Debug)]
pub(super) struct PathSet {
    scratch: PathBuf,
    state: RandomState,
    recent: HashSet<u64, Plain>,
    runs: Vec<(u64, u64)>,
    file: Option<File>,
}

impl PathSet {
    fn new(scratch: &Path) -> Self {
        Self {
            scratch: scratch.to_owned(),
            state: RandomState::new(),
            recent: HashSet::default(),
            runs: Vec::new(),
            file: None,
        }
    }

    pub fn insert(&mut self, path: &[u8]) -> io::Result<()> {
        let hash = self.state.hash_one(path);
        if self.recent.insert(hash) && self.recent.len() >= SET_MAX {
            self.spill()?;
        }
        Ok(())
    }

    pub fn contains(&self, path: &[u8]) -> io::Result<bool> {
        let hash = self.state.hash_one(path);
        if self.recent.contains(&hash) {
            return Ok(true);
        }
        let Some(file) = &self.file else { return Ok(false) };
        for &(start, len) in &self.runs {
            if in_run(file, start, len, hash)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn spill(&mut self) -> io::Result<()> {
        let mut run: Vec<u64> = self.recent.drain().collect();
        run.sort_unstable();
        let bytes: Vec<u8> = run.iter().flat_map(|h| h.to_le_bytes()).collect();
        let start = self.runs.iter().map(|&(_, len)| len).sum::<u64>();
        if self.file.is_none() {
            self.file = Some(tempfile::tempfile_in(&self.scratch)?);
        }
        if let Some(file) = &self.file {
            file.write_all_at(&bytes, start * 8)?;
        }
        self.runs.push((start, run.len() as u64));
        Ok(())
    }
}

fn in_run(file: &File, start: u64, len: u64, want: u64) -> io::Result<bool> {
    let (mut low, mut high) = (start, start + len);
    while low < high {
        let middle = low.midpoint(high);
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, middle * 8)?;
        match u64::from_le_bytes(bytes).cmp(&want) {
            std::cmp::Ordering::Equal => return Ok(true),
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    Ok(false)
}

/// The keys are hashes already.
#[derive(Clone, Copy, Debug, Default)]
struct Plain;

impl BuildHasher for Plain {
    type Hasher = PlainHasher;
    fn build_hasher(&self) -> PlainHasher {
        PlainHasher(0)
    }
}

struct PlainHasher(u64);

impl std::hash::Hasher for PlainHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &b in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(b);
        }
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
}

fn encode(debt: &Debt, out: &mut Vec<u8>) {
    match debt {
        Debt::Seal(name, meta) => {
            out.push(0);
            put(out, name.as_bytes());
            for n in [meta.mode, meta.uid, meta.gid, meta.xattrs.len() as u32] {
                out.extend_from_slice(&n.to_le_bytes());
            }
            put_time(out, meta.mtime);
            for (key, value) in &meta.xattrs {
                put(out, key);
                put(out, value);
            }
        }
        Debt::Restore(name, time) => {
            out.push(1);
            put(out, name.as_bytes());
            put_time(out, *time);
        }
        Debt::Implicit(name) => {
            out.push(2);
            put(out, name.as_bytes());
        }
        Debt::Link(name, target) => {
            out.push(3);
            put(out, name.as_bytes());
            put(out, target.as_bytes());
        }
        Debt::Whiteout(name) => {
            out.push(4);
            put(out, name.as_bytes());
        }
    }
}

fn decode(from: &mut impl Read) -> io::Result<Option<Debt>> {
    let mut tag = [0];
    if from.read(&mut tag)? == 0 {
        return Ok(None);
    }
    let name = Name::trusted(get(from)?);
    Ok(Some(match tag[0] {
        0 => {
            let (mode, uid, gid) = (get_u32(from)?, get_u32(from)?, get_u32(from)?);
            let count = get_u32(from)?;
            let mtime = get_time(from)?;
            let mut xattrs = Vec::new();
            for _ in 0..count {
                xattrs.push((get(from)?, get(from)?));
            }
            Debt::Seal(name, Meta { mode, uid, gid, mtime, xattrs })
        }
        1 => Debt::Restore(name, get_time(from)?),
        2 => Debt::Implicit(name),
        3 => Debt::Link(name, Name::trusted(get(from)?)),
        _ => Debt::Whiteout(name),
    }))
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn put_time(out: &mut Vec<u8>, time: Time) {
    out.extend_from_slice(&time.secs.to_le_bytes());
    out.extend_from_slice(&time.nanos.to_le_bytes());
}

fn get(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; get_u32(from)? as usize];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn get_u32(from: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

fn get_time(from: &mut impl Read) -> io::Result<Time> {
    let mut secs = [0; 8];
    from.read_exact(&mut secs)?;
    Ok(Time { secs: i64::from_le_bytes(secs), nanos: get_u32(from)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_gives_back_what_it_took_also_from_disk() {
        let mut spool = Spool::new(&std::env::temp_dir());
        let meta = Meta {
            mode: 0o755,
            uid: 1,
            gid: 2,
            mtime: Time { secs: -3, nanos: 4 },
            xattrs: vec![(b"user.a".to_vec(), vec![7; 1000])],
        };
        let debts: Vec<Debt> = (0..9000)
            .map(|i| match i % 4 {
                0 => Debt::Seal(Name::trusted(format!("d{i}")), meta.clone()),
                1 => Debt::Restore(Name::trusted("r"), meta.mtime),
                2 => Debt::Link(Name::trusted("a"), Name::trusted("b")),
                _ => Debt::Whiteout(Name::trusted("w")),
            })
            .collect();
        for debt in &debts {
            spool.push(debt).unwrap();
        }
        spool.spill().unwrap();
        spool.push(&Debt::Implicit(Name::trusted("i"))).unwrap();
        for _ in 0..2 {
            let mut back = Vec::new();
            spool
                .each(|debt| {
                    back.push(debt);
                    Ok::<_, io::Error>(())
                })
                .unwrap();
            assert_eq!(back.pop(), Some(Debt::Implicit(Name::trusted("i"))));
            assert!(back == debts);
        }
    }

    #[test]
    fn a_set_remembers_what_went_to_disk() {
        let mut set = PathSet::new(&std::env::temp_dir());
        for i in 0..3000u32 {
            set.insert(&i.to_le_bytes()).unwrap();
            if i % 1000 == 999 {
                set.spill().unwrap();
            }
        }
        set.insert(b"recent").unwrap();
        assert!((0..3000u32).all(|i| set.contains(&i.to_le_bytes()).unwrap()));
        assert!(set.contains(b"recent").unwrap());
        assert!(!set.contains(b"never").unwrap());
    }
}
