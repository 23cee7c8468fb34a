//! Files' digests, remembered between builds, so that what hasn't changed isn't read again.
//!
//! A record stands for a file as long as device, inode, size, modification and change time are
//! the same. What was changed as lately as the build began is not remembered: a later change
//! within the clock's tick would show no difference (git calls such an entry racy). Some file
//! systems keep whole seconds, or every second one: what has such times must be older.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::stat::FileStat;

use crate::digest::Digest;
use crate::error::{Error, Result};

const MAGIC: &[u8; 16] = b"dhow files v1\n\0\0";
/// device, inode, size, modified, changed, digest.
const KEY: usize = 40;
const RECORD: usize = KEY + 32;
/// How far the kernel's file times may lie behind the clock, and more.
const SLACK: Duration = Duration::from_millis(100);
/// The coarsest times of a file system: FAT's.
const COARSE: i64 = 2_000_000_000;
/// A memory that has more than this keeps only what was asked for.
const MANY: usize = 1 << 20;
/// Set in the size: the file has attributes, which must be read.
const ATTRIBUTES: u64 = 1 << 63;

/// What is known of files.
#[derive(Debug, Default)]
pub struct Memory {
    path: Option<PathBuf>,
    /// Sorted records.
    known: Vec<u8>,
    /// New ones.
    fresh: RwLock<HashMap<[u8; KEY], [u8; 32]>>,
    /// Nanoseconds since 1970: what changed later is not remembered.
    before: i64,
    /// Inodes alone tell files apart: they are of one file system, whose number differs.
    one_device: bool,
}

/// What is remembered of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// The sha256 of its content.
    pub content: [u8; 32],
    /// Whether it has extended attributes.
    pub attributes: bool,
}

impl Memory {
    /// The memory for a directory of the host's, kept in a file of `dir`.
    pub fn of_directory(dir: &Path, stat: &FileStat) -> Self {
        Self::open(dir.join(format!("{:x}-{:x}", stat.st_dev, stat.st_ino)), false)
    }

    /// The memory for the files of a chain of layers, mounted wherever.
    pub fn of_chain(dir: &Path, chain: &Digest) -> Self {
        Self::open(dir.join(chain.hex()), true)
    }

    fn open(path: PathBuf, one_device: bool) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let before = now.saturating_sub(SLACK).as_nanos();
        // A damaged memory is none.
        let known = fs::read(&path).ok().and_then(|bytes| whole(&bytes).map(<[u8]>::to_vec));
        Self {
            path: Some(path),
            known: known.unwrap_or_default(),
            fresh: RwLock::default(),
            before: i64::try_from(before).unwrap_or(i64::MAX),
            one_device,
        }
    }

    pub(super) fn get(&self, stat: &FileStat) -> Option<Known> {
        [false, true].into_iter().find_map(|attributes| {
            let key = self.key(stat, attributes);
            let content = self.find(&key)?;
            Some(Known { content, attributes })
        })
    }

    fn find(&self, key: &[u8; KEY]) -> Option<[u8; 32]> {
        let (mut low, mut high) = (0, self.known.len() / RECORD);
        while low < high {
            let mid = low + (high - low) / 2;
            let record = &self.known[mid * RECORD..][..RECORD];
            match record[..KEY].cmp(key) {
                Ordering::Less => low = mid + 1,
                Ordering::Greater => high = mid,
                Ordering::Equal => return record[KEY..].try_into().ok(),
            }
        }
        self.fresh.read().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    pub(super) fn put(&self, stat: &FileStat, known: Known) {
        if self.path.is_none() || newest(stat) >= self.before {
            return;
        }
        let key = self.key(stat, known.attributes);
        self.fresh.write().unwrap_or_else(PoisonError::into_inner).insert(key, known.content);
    }

    fn key(&self, stat: &FileStat, attributes: bool) -> [u8; KEY] {
        let device = if self.one_device { 0 } else { stat.st_dev };
        let size = stat.st_size.cast_unsigned() | if attributes { ATTRIBUTES } else { 0 };
        let mut key = [0; KEY];
        let numbers = [device, stat.st_ino, size];
        let times = [modified(stat), changed(stat)].map(i64::cast_unsigned);
        for (place, number) in key.chunks_exact_mut(8).zip(numbers.into_iter().chain(times)) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        key
    }

    /// Writes what is new, if anything is. Of builds that do so at once the last one's stays.
    pub fn save(&self) -> Result<()> {
        let fresh = self.fresh.read().unwrap_or_else(PoisonError::into_inner);
        let Some(path) = &self.path else { return Ok(()) };
        if fresh.is_empty() {
            return Ok(());
        }
        let new = fresh.iter().map(|(key, content)| [key.as_slice(), content].concat());
        let mut records: Vec<Vec<u8>> = new.collect();
        if records.len() + self.known.len() / RECORD <= MANY {
            records.extend(self.known.chunks_exact(RECORD).map(<[u8]>::to_vec));
        }
        // Stable: of two for one file the new one comes first, and stays.
        records.sort_by(|a, b| a[..KEY].cmp(&b[..KEY]));
        records.dedup_by(|b, a| a[..KEY] == b[..KEY]);
        let body = records.concat();
        let parent = path.parent().unwrap_or(Path::new("/"));
        let fail = |e| Error::io("write", path, e);
        fs::create_dir_all(parent).map_err(Error::at("create", parent))?;
        let mut file = tempfile::NamedTempFile::new_in(parent).map_err(fail)?;
        file.write_all(MAGIC).map_err(fail)?;
        file.write_all(&crc32fast::hash(&body).to_be_bytes()).map_err(fail)?;
        file.write_all(&body).map_err(fail)?;
        file.persist(path).map_err(|e| fail(e.error))?;
        Ok(())
    }
}

/// The records of a file that is whole.
fn whole(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (sum, body) = rest.split_first_chunk::<4>()?;
    let fits = body.len().is_multiple_of(RECORD)
        && crc32fast::hash(body) == u32::from_be_bytes(*sum)
        && body.chunks_exact(RECORD).is_sorted_by(|a, b| a[..KEY] < b[..KEY]);
    fits.then_some(body)
}

fn modified(stat: &FileStat) -> i64 {
    nanos(stat.st_mtime, stat.st_mtime_nsec)
}

fn changed(stat: &FileStat) -> i64 {
    nanos(stat.st_ctime, stat.st_ctime_nsec)
}

/// The last moment at which it may have got its times.
fn newest(stat: &FileStat) -> i64 {
    let newest = modified(stat).max(changed(stat));
    // ext4 with small inodes, ext3, FAT, some of the network: nothing below the second.
    let coarse = stat.st_mtime_nsec == 0 || stat.st_ctime_nsec == 0;
    if coarse { newest.saturating_add(COARSE) } else { newest }
}

fn nanos(secs: i64, nanos: i64) -> i64 {
    secs.saturating_mul(1_000_000_000).saturating_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::stat;

    fn known(n: u8) -> Known {
        Known { content: [n; 32], attributes: n.is_multiple_of(2) }
    }

    #[test]
    fn what_is_old_enough_is_remembered_until_it_changes() {
        let tmp = tempfile::tempdir().unwrap();
        let place = tmp.path().join("kept");
        let mut stats = Vec::new();
        for n in 0..20u8 {
            let file = tmp.path().join(n.to_string());
            fs::write(&file, [n]).unwrap();
            stats.push(stat(&file).unwrap());
        }
        let at = |later: i64| Memory {
            before: Memory::open(place.clone(), false).before + later,
            ..Memory::open(place.clone(), false)
        };
        let young = at(-3_600_000_000_000);
        young.put(&stats[0], known(0));
        young.save().unwrap();
        assert!(!place.exists(), "too young, and nothing to write");
        let memory = at(3_600_000_000_000);
        for (n, stat) in (0..).zip(&stats) {
            memory.put(stat, known(n));
        }
        memory.save().unwrap();
        let again = at(3_600_000_000_000);
        for (n, stat) in (0..).zip(&stats) {
            assert_eq!(again.get(stat), Some(known(n)));
        }
        let mut other = stats[3];
        other.st_ctime_nsec += 1;
        assert_eq!(again.get(&other), None);
        again.put(&stats[3], known(101));
        again.save().unwrap();
        assert_eq!(at(0).get(&stats[3]), Some(known(101)), "the newer one holds");
        assert_eq!(at(0).get(&stats[4]), Some(known(4)), "the others stay");
    }

    #[test]
    fn times_of_whole_seconds_must_be_older() {
        let tmp = tempfile::tempdir().unwrap();
        let place = tmp.path().join("kept");
        let mut file = stat(tmp.path()).unwrap();
        (file.st_mtime, file.st_mtime_nsec) = (10, 0);
        (file.st_ctime, file.st_ctime_nsec) = (10, 0);
        let mut fine = file;
        (fine.st_mtime_nsec, fine.st_ctime_nsec) = (1, 1);
        let at = |before: i64| Memory { before, ..Memory::open(place.clone(), false) };
        let kept = |memory: &Memory, stat: &FileStat| {
            memory.put(stat, known(1));
            memory.get(stat).is_some()
        };
        // Begun at 10.4 s; it may be written again at 10.8 s and have the same times.
        let memory = at(10_300_000_000);
        assert!(!kept(&memory, &file) && kept(&memory, &fine));
        assert!(!kept(&at(12_000_000_000), &file), "FAT's times are even");
        assert!(kept(&at(12_000_000_001), &file));
    }

    #[test]
    fn a_damaged_memory_is_none() {
        let tmp = tempfile::tempdir().unwrap();
        let place = tmp.path().join("kept");
        let file = stat(tmp.path()).unwrap();
        let memory = Memory { before: i64::MAX, ..Memory::open(place.clone(), true) };
        memory.put(&file, known(7));
        memory.save().unwrap();
        let good = fs::read(&place).unwrap();
        assert_eq!(Memory::open(place.clone(), true).get(&file), Some(known(7)));
        for cut in 0..good.len() {
            fs::write(&place, &good[..cut]).unwrap();
            assert_eq!(Memory::open(place.clone(), true).get(&file), None);
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&place, &bad).unwrap();
            assert_eq!(Memory::open(place.clone(), true).get(&file), None, "{at}");
        }
    }
}
