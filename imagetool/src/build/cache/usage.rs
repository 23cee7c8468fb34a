//! What the cache holds.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::record::Cache;
use crate::build::mounts::{Cache as CacheMount, caches};
use crate::digest::{ChainId, Digest};
use crate::error::Result;
use crate::store::Store;

/// What something in the cache is, in BuildKit's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A step's result.
    Regular,
    /// A directory of `RUN --mount=type=cache`.
    CacheMount,
    /// What is remembered of the contexts' files.
    Local,
}

impl Kind {
    /// BuildKit's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Regular => "regular",
            Self::CacheMount => "exec.cachemount",
            Self::Local => "source.local",
        }
    }
}

/// One thing in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name: 25 letters, as BuildKit's.
    pub id: String,
    /// What it is.
    pub kind: Kind,
    /// The instruction, or what a cache is called.
    pub text: String,
    /// Bytes.
    pub size: u64,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// When it was used last.
    pub last_used: Option<Timestamp>,
    /// An image stands on it.
    pub shared: bool,
    /// A build is at it.
    pub in_use: bool,
    /// The entries that it stands on.
    pub parents: Vec<String>,
    /// The whole key, or the path.
    pub(super) place: Place,
}

impl Entry {
    /// Whether it may still change: BuildKit's star.
    pub fn is_mutable(&self) -> bool {
        self.kind != Kind::Regular
    }
}

/// Where an entry lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Step(Digest),
    Path(PathBuf),
    Mount(CacheMount),
}

/// Everything in the cache, used last first.
pub fn usage(store: &Store) -> Result<Vec<Entry>> {
    let cache = Cache::of(store);
    let mut all = steps(store, &cache)?;
    all.extend(mounts(store)?);
    all.extend(files(&cache.dir().join("files")));
    all.sort_by(|a, b| (b.last_used, &a.id).cmp(&(a.last_used, &b.id)));
    Ok(all)
}

fn steps(store: &Store, cache: &Cache) -> Result<Vec<Entry>> {
    let shared: HashSet<ChainId> =
        store.images()?.iter().flat_map(|image| Digest::chain(&image.diff_ids)).collect();
    let records = cache.all();
    let mut of: HashMap<&ChainId, Vec<String>> = HashMap::new();
    for (key, record) in records.iter().filter(|(_, r)| r.layer.is_some()) {
        if let Some(chain) = &record.chain {
            of.entry(chain).or_default().push(id(key));
        }
    }
    let entry = |(key, record): &(Digest, super::Record)| Entry {
        id: id(key),
        kind: Kind::Regular,
        text: record.text.clone(),
        size: record.layer.as_ref().map_or(0, |layer| layer.size),
        created: Some(record.created),
        last_used: cache.last_used(key),
        shared: record.layer.is_some()
            && record.chain.as_ref().is_some_and(|chain| shared.contains(chain)),
        in_use: fs::File::open(cache.lock_path(key)).is_ok_and(|f| f.try_lock().is_err()),
        parents: record.parent.as_ref().and_then(|p| of.get(p)).cloned().unwrap_or_default(),
        place: Place::Step(key.clone()),
    };
    Ok(records.iter().map(entry).collect())
}

/// The directories of cache mounts.
fn mounts(store: &Store) -> Result<Vec<Entry>> {
    let entry = |cache: CacheMount| {
        let name = cache.dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Entry {
            id: name.chars().take(25).collect(),
            kind: Kind::CacheMount,
            text: format!("cached mount {}", cache.id),
            size: cache.size,
            created: None,
            last_used: Timestamp::try_from(cache.used).ok(),
            shared: false,
            in_use: cache.in_use,
            parents: Vec::new(),
            place: Place::Mount(cache),
        }
    };
    Ok(caches(store.root())?.into_iter().map(entry).collect())
}

/// What is remembered of contexts.
fn files(dir: &Path) -> Vec<Entry> {
    let entry = |path: PathBuf| {
        let name = path.file_name()?.to_str()?.to_owned();
        let meta = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file)?;
        let time = meta.modified().ok().and_then(|t| Timestamp::try_from(t).ok());
        Some(Entry {
            id: name.chars().take(25).collect(),
            kind: Kind::Local,
            text: "digests of a context's files".into(),
            size: meta.blocks() * 512,
            created: time,
            last_used: time,
            shared: false,
            in_use: false,
            parents: Vec::new(),
            place: Place::Path(path),
        })
    };
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|e| entry(e.path())).collect()
}

fn id(key: &Digest) -> String {
    key.hex().chars().take(25).collect()
}
