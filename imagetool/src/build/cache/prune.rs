//! Pruning: what isn't needed any more is forgotten, and what only it led to collected.

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use jiff::Timestamp;

use super::record::Cache;
use super::usage::{Entry, Kind, Place, usage};
use crate::build::mounts::remove_cache;
use crate::digest::{ChainId, DiffId};
use crate::error::{Error, Result};
use crate::snapshot::Layers;
use crate::store::Store;

/// Which entries go.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Those that images stand on, too, and those of the contexts' files.
    pub all: bool,
    /// Only those not used for so long.
    pub unused_for: Option<Duration>,
    /// The ones used last stay, as many as fit into so many bytes.
    pub keep: u64,
    /// `--filter`: [`Filter::KEYS`], with a value or without; all must fit.
    pub fits: Vec<(String, String)>,
}

/// What went.
#[derive(Clone, Debug, Default)]
pub struct Pruned {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Bytes given back.
    pub freed: u64,
}

impl Filter {
    /// Keys that `fits` knows.
    pub const KEYS: [&str; 9] = [
        "id",
        "type",
        "parent",
        "description",
        "inuse",
        "shared",
        "private",
        "mutable",
        "immutable",
    ];

    /// Whether it is one that is known; before anything is removed.
    pub fn check(&self) -> Result<()> {
        let unknown = self.fits.iter().find(|(name, _)| !Self::KEYS.contains(&name.as_str()));
        match unknown {
            Some((name, _)) => {
                let why = format!("known are until, unused-for, {}", Self::KEYS.join(", "));
                Err(Error::usage("filter", name, why))
            }
            None => Ok(()),
        }
    }

    /// Whether a list of all there is shows it.
    pub fn shows(&self, entry: &Entry, now: Timestamp) -> bool {
        let old = self.unused_for.is_none_or(|age| {
            let since = entry.last_used.map(|used| now.duration_since(used));
            since.is_none_or(|since| since.unsigned_abs() >= age && since.is_positive())
        });
        old && self.fits.iter().all(|(name, want)| fits(entry, name, want))
    }

    fn matches(&self, entry: &Entry, now: Timestamp) -> bool {
        let wanted = self.all || !entry.shared && entry.kind != Kind::Local;
        !entry.in_use && wanted && self.shows(entry, now)
    }
}

fn fits(entry: &Entry, name: &str, want: &str) -> bool {
    let is = |flag: bool| match want {
        "" | "1" | "true" => flag,
        _ => !flag,
    };
    match name {
        "id" => entry.id.starts_with(want),
        "type" => entry.kind.word() == want,
        "parent" => entry.parents.iter().any(|parent| parent.starts_with(want)),
        "description" => entry.text.contains(want),
        "inuse" => is(entry.in_use),
        "shared" => is(entry.shared),
        "private" => is(!entry.shared),
        "mutable" => is(entry.kind != Kind::Regular),
        "immutable" => is(entry.kind == Kind::Regular),
        _ => false,
    }
}

/// Removes what fits, then collects. `in_use` are layers that others stand on.
#[allow(clippy::implicit_hasher)] // the store's own
pub fn prune(store: &Store, filter: &Filter, in_use: &HashSet<ChainId>) -> Result<Pruned> {
    filter.check()?;
    let cache = Cache::of(store);
    let now = Timestamp::now();
    let all = usage(store)?;
    let mut room = filter.keep;
    let mut done = Pruned::default();
    for entry in all {
        if !filter.matches(&entry, now) {
            continue;
        }
        // The ones used last come first.
        if let Some(left) = room.checked_sub(entry.size).filter(|_| filter.keep > 0) {
            room = left;
            continue;
        }
        room = 0;
        match &entry.place {
            Place::Step(key) => cache.forget(key)?,
            Place::Path(path) => forget(store, path)?,
            Place::Mount(mount) => {
                // Someone may have taken it meanwhile.
                if !remove_cache(store.root(), mount)? {
                    continue;
                }
            }
        }
        if !entry.shared {
            done.freed += entry.size;
        }
        done.entries.push(entry);
    }
    forget_idle(store, &cache)?;
    store.collect(in_use)?;
    Ok(done)
}

/// Renamed first: half of it is never found.
fn forget(store: &Store, path: &std::path::Path) -> Result<()> {
    let lease = store.lease()?;
    let name = path.file_name().unwrap_or_default();
    let aside = lease.dir().join("gone").with_file_name(name);
    match fs::rename(path, &aside) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done.map_err(Error::at("remove", path)),
    }
}

/// Records of layers that are gone, and blobs of layers without a record.
fn forget_idle(store: &Store, cache: &Cache) -> Result<()> {
    let layers = Layers::open(store.root());
    let mut needed: HashSet<DiffId> = HashSet::new();
    for (key, record) in cache.all() {
        if record.chain.as_ref().is_some_and(|chain| !layers.has(chain)) {
            cache.forget(&key)?;
        } else {
            needed.extend(record.layer.map(|layer| layer.diff_id));
        }
    }
    cache.forget_blobs(|diff_id| needed.contains(diff_id));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::cache::{Layer, Record};
    use crate::digest::Digest;

    fn made(store: &Store, name: &str, size: u64) -> Digest {
        let cache = Cache::open(store).unwrap();
        let (key, diff_id) = (Digest::of(name.as_bytes()), Digest::of(b"d"));
        let layer = Layer { diff_id, size };
        let record = Record::new(None, None, Some(layer), Timestamp::now(), name);
        cache.keep(&key, &record).unwrap();
        key
    }

    #[test]
    fn what_fits_goes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (a, b) = (made(&store, "RUN a", 10), made(&store, "RUN b", 20));
        let told = |filter: &Filter| {
            let mut gone: Vec<String> = prune(&store, filter, &HashSet::new())
                .unwrap()
                .entries
                .into_iter()
                .map(|e| e.text)
                .collect();
            gone.sort();
            gone
        };
        let hour = Some(Duration::from_hours(1));
        assert!(told(&Filter { unused_for: hour, ..Filter::default() }).is_empty());
        assert!(told(&Filter { keep: 30, ..Filter::default() }).is_empty());
        let id = vec![("id".to_owned(), b.hex()[..12].to_owned())];
        assert_eq!(told(&Filter { fits: id, ..Filter::default() }), ["RUN b"]);
        let unknown = vec![("x".to_owned(), String::new())];
        let filter = Filter { fits: unknown, ..Filter::default() };
        assert!(prune(&store, &filter, &HashSet::new()).is_err());
        assert_eq!(told(&Filter { all: true, ..Filter::default() }), ["RUN a"]);
        assert!(Cache::of(&store).find(&a).is_none());
    }
}
