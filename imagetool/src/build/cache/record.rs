//! The records, as they lie in ROOT/build.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::{ChainId, DiffId, Digest};
use crate::error::{Error, Result};
use crate::manifest::Descriptor;
use crate::store::{Store, make_dir};

const VERSION: u32 = 1;
/// Characters of the instruction.
const MAX_TEXT: usize = 400;
/// Keys of one record: a copy out of a stage has two.
const MAX_KEYS: usize = 2;

/// The result of one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    version: u32,
    /// What it stood on; `None` is nothing.
    pub parent: Option<ChainId>,
    /// What came of it.
    pub chain: Option<ChainId>,
    /// The layer it made; `None` if it changed nothing.
    pub layer: Option<Layer>,
    /// When.
    #[serde(with = "as_text")]
    pub created: Timestamp,
    /// The instruction, for people.
    pub text: String,
    /// All keys it was made under, if there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<Digest>,
}

/// The layer that a step made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layer {
    /// Its plain tar.
    pub diff_id: DiffId,
    /// The lengths of its files together.
    pub size: u64,
}

impl Record {
    /// A step's result, of now.
    pub fn new(
        parent: Option<ChainId>,
        chain: Option<ChainId>,
        layer: Option<Layer>,
        created: Timestamp,
        text: &str,
    ) -> Self {
        // Enough to know it again.
        let text = text.chars().take(MAX_TEXT).collect();
        Self { version: VERSION, parent, chain, layer, created, text, keys: Vec::new() }
    }

    /// The same, made under these keys.
    pub fn under(mut self, keys: &[&Digest]) -> Self {
        self.keys.clear();
        if keys.len() > 1 {
            self.keys.extend(keys.iter().map(|key| (*key).clone()));
        }
        self
    }

    /// Whether a record from elsewhere is one that is written here.
    pub fn is_ours(&self) -> bool {
        self.version == VERSION
            && self.keys.len() <= MAX_KEYS
            && self.text.chars().nth(MAX_TEXT).is_none()
    }
}

/// A store's records.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    store: Store,
    dir: PathBuf,
}

impl Cache {
    /// The records of a store, which may have none yet.
    pub fn of(store: &Store) -> Self {
        Self { store: store.clone(), dir: store.root().join("build") }
    }

    /// The same, with its directories made.
    pub fn open(store: &Store) -> Result<Self> {
        let cache = Self::of(store);
        for dir in ["steps", "blobs", "locks"] {
            let dir = cache.dir.join(dir);
            if !dir.is_dir() {
                make_dir(&dir)?;
            }
        }
        Ok(cache)
    }

    /// ROOT/build.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The record of a key, noted as used; whether its layer is there is not looked at.
    pub fn find(&self, key: &Digest) -> Option<Record> {
        let path = self.step(key);
        let record = read(&path)?;
        // When it was used last is told by its time. What can't be noted is no harm.
        if let Ok(file) = fs::File::open(&path) {
            let _ = file.set_modified(std::time::SystemTime::now());
        }
        Some(record)
    }

    /// Keeps a record. A power cut may take it: then it is a miss.
    pub fn keep(&self, key: &Digest, record: &Record) -> Result<()> {
        let bytes = serde_json::to_vec(record).map_err(|e| Error::invalid("step record", e))?;
        self.store.replace_unsynced(&self.step(key), &bytes)
    }

    /// Forgets a record.
    pub fn forget(&self, key: &Digest) -> Result<()> {
        let path = self.step(key);
        match fs::remove_file(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            done => done.map_err(Error::at("remove", &path)),
        }
    }

    /// As which blob a layer was packed. Whether it is there is not looked at.
    pub fn blob(&self, diff_id: &DiffId) -> Option<Descriptor> {
        let bytes = fs::read(self.dir.join("blobs").join(diff_id.hex())).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Keeps as which blob a layer was packed.
    pub fn keep_blob(&self, diff_id: &DiffId, blob: &Descriptor) -> Result<()> {
        let bytes = serde_json::to_vec(blob).map_err(|e| Error::invalid("blob record", e))?;
        self.store.replace_unsynced(&self.dir.join("blobs").join(diff_id.hex()), &bytes)
    }

    /// Forgets the blobs of layers that no record has.
    pub fn forget_blobs(&self, needed: impl Fn(&DiffId) -> bool) {
        let dir = self.dir.join("blobs");
        for name in names(&dir) {
            if Digest::from_hex(&name).is_ok_and(|diff_id| !needed(&diff_id)) {
                // What stays now goes another time.
                let _ = fs::remove_file(dir.join(name));
            }
        }
    }

    /// Every record that can be read, by its key.
    pub fn all(&self) -> Vec<(Digest, Record)> {
        let dir = self.dir.join("steps");
        let keys = names(&dir).into_iter().filter_map(|name| Digest::from_hex(&name).ok());
        keys.filter_map(|key| Some((key.clone(), read(&self.step(&key))?))).collect()
    }

    /// When a record was used last.
    pub fn last_used(&self, key: &Digest) -> Option<Timestamp> {
        let modified = fs::metadata(self.step(key)).and_then(|m| m.modified()).ok()?;
        Timestamp::try_from(modified).ok()
    }

    fn step(&self, key: &Digest) -> PathBuf {
        self.dir.join("steps").join(key.hex())
    }

    /// The file that is locked by whoever makes a step.
    pub fn lock_path(&self, key: &Digest) -> PathBuf {
        self.dir.join("locks").join(key.hex())
    }
}

fn read(path: &Path) -> Option<Record> {
    let record: Record = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (record.version == VERSION).then_some(record)
}

/// The names in a directory; none if it isn't there.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().into_string().ok()).collect()
}

/// A time as RFC 3339 has it.
mod as_text {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(time)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Timestamp, D::Error> {
        String::deserialize(d)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_record_is_a_miss() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let cache = Cache::open(&store).unwrap();
        let (key, chain) = (Digest::of(b"k"), Digest::of(b"c"));
        let layer = Layer { diff_id: chain.clone(), size: 3 };
        let now = Timestamp::now();
        let record = Record::new(None, Some(chain.clone()), Some(layer), now, "RUN x");
        assert!(cache.find(&key).is_none());
        cache.keep(&key, &record).unwrap();
        assert_eq!(cache.find(&key), Some(record.clone()));
        assert_eq!(cache.all(), [(key.clone(), record)]);
        assert!(super::super::roots(&store).contains(&chain));
        for bad in ["", "{", "{}", r#"{"version":2}"#] {
            fs::write(cache.step(&key), bad).unwrap();
            assert!(cache.find(&key).is_none(), "{bad}");
        }
        cache.forget(&key).unwrap();
        cache.forget(&key).unwrap();
    }
}
