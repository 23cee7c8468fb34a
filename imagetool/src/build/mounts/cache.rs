//! `type=cache`: directories that outlive builds, ROOT/build/caches/HASH/N.
//!
//! The hash is of the cache's id and of what it begins with, so that no id is a path. Of one cache
//! there are several slots where `sharing=private` needs them. A slot's `lock` says who has it:
//!
//! ```text
//! shared    slot 0, with others who share
//! locked    slot 0, alone: others wait
//! private   the first slot that nobody has
//! ```
//!
//! Mounts of one cache in one RUN share one slot; if their sharing differs, it is locked.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};

use super::{Attached, Find, Mounter, bind, overlay};
use crate::build::copy::digest_below;
use crate::build::dockerfile::{MountKind, RunMount, Sharing};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Error, Result};
use crate::layer::RootDir;
use crate::store::make_dir;

/// A cache is asked for again after so many milliseconds, or at once when the build is ended.
const AGAIN: u8 = 20;
const SLOTS: usize = 1000;

/// What a cache is, in its `about.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct About {
    id: String,
}

/// A cache as `du` tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Its id, as the Dockerfile has it or its target.
    pub id: String,
    /// Where it is.
    pub dir: PathBuf,
    /// Bytes on disk.
    pub size: u64,
    /// When it was last taken.
    pub used: SystemTime,
    /// Somebody has it just now.
    pub in_use: bool,
}

/// A cache that a RUN has, by all mounts of it: with the root of its files.
#[derive(Debug)]
pub(super) struct Taken {
    root: RootDir,
    _attached: Option<Attached>,
    _lock: Locked,
}

/// A lock that ends with this, though a program that is just being started has a copy of the file.
#[derive(Debug)]
struct Locked(File);

impl Drop for Locked {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// What the cache of a mount is.
struct Wanted<'a> {
    at: usize,
    mount: &'a RunMount,
    id: String,
    /// What it begins with.
    first: Option<OwnedFd>,
    sharing: Sharing,
}

/// The caches of one RUN.
#[derive(Debug, Default)]
pub(super) struct Caches {
    taken: BTreeMap<String, Taken>,
    /// By the mounts' numbers.
    names: BTreeMap<usize, String>,
}

impl Caches {
    /// What a mount of one shows.
    pub fn show(&self, at: usize, mount: &RunMount) -> Result<Arc<OwnedFd>> {
        let taken = self.names.get(&at).and_then(|name| self.taken.get(name));
        let root = &taken.ok_or_else(|| Error::invalid("cache", "it was not taken"))?.root;
        // What is asked for of a cache that begins empty is made in it; a link leads no further.
        let below = mount.source.as_deref().filter(|_| mount.from.is_none()).unwrap_or_default();
        root.make_dirs(below.as_bytes()).map_err(|e| root.error("create", below.as_bytes(), e))?;
        let what = root.open_inside(below.as_bytes(), OFlag::O_PATH | OFlag::O_DIRECTORY);
        let what = what.map_err(|e| root.error("open", below.as_bytes(), e))?;
        Ok(Arc::new(what))
    }
}

impl Mounter<'_> {
    /// Takes all caches of a RUN: each once, however often it is mounted, as a second lock would wait
    /// for the first; and in the order of their names, so that RUNs side by side don't wait for each other.
    pub(super) fn caches(&self, mounts: &[RunMount], find: Find<'_>) -> Result<Caches> {
        let mut wanted: BTreeMap<String, Wanted<'_>> = BTreeMap::new();
        let mut all = Caches::default();
        for (at, mount) in mounts.iter().enumerate().filter(|(_, m)| m.kind == MountKind::Cache) {
            let (name, one) = identify(at, mount, find)?;
            all.names.insert(at, name.clone());
            match wanted.entry(name) {
                Entry::Vacant(free) => drop(free.insert(one)),
                Entry::Occupied(mut known) => {
                    let known = known.get_mut();
                    if known.sharing != one.sharing {
                        known.sharing = Sharing::Locked;
                    }
                }
            }
        }
        for (name, one) in wanted {
            let taken = self.take(&name, one)?;
            all.taken.insert(name, taken);
        }
        Ok(all)
    }

    fn take(&self, name: &str, wanted: Wanted<'_>) -> Result<Taken> {
        let Wanted { at, mount, id, first, sharing } = wanted;
        let dir = home(self.root).join(name);
        make_dir(&dir)?;
        let about = dir.join("about.json");
        if !about.exists() {
            let json = serde_json::to_vec(&About { id }).map_err(|e| Error::invalid("cache", e))?;
            fs::write(&about, json).map_err(Error::at("write", &about))?;
        }
        let (slot, lock) = self.slot(&dir, sharing)?;
        let data = slot.join("data");
        if !data.exists() {
            make(&slot, &data, mount)?;
        }
        let (attached, root) = match first {
            None => (None, RootDir::open(&data)?),
            Some(below) => {
                overlay::forgive(&data);
                let place = self.scratch.join(at.to_string());
                let (held, root) = overlay::mount_at(&place, &[below.as_fd()], Some(&data))?;
                (Some(held), root)
            }
        };
        Ok(Taken { root, _attached: attached, _lock: lock })
    }

    /// A slot of a cache, and its lock.
    fn slot(&self, dir: &Path, sharing: Sharing) -> Result<(PathBuf, Locked)> {
        let slots = if sharing == Sharing::Private { SLOTS } else { 1 };
        loop {
            for number in 0..slots {
                let slot = dir.join(number.to_string());
                make_dir(&slot)?;
                let path = slot.join("lock");
                let lock = File::options().append(true).create(true).open(&path);
                let lock = match lock {
                    // Pruned between the two.
                    Err(e) if e.kind() == ErrorKind::NotFound => continue,
                    lock => lock.map_err(Error::at("open", &path))?,
                };
                let taken = match sharing {
                    Sharing::Shared => lock.try_lock_shared(),
                    Sharing::Private | Sharing::Locked => lock.try_lock(),
                };
                let here = path.metadata().ok().zip(lock.metadata().ok());
                if taken.is_ok() && here.is_some_and(|(a, b)| a.ino() == b.ino()) {
                    let _ = lock.set_modified(SystemTime::now());
                    return Ok((slot, Locked(lock)));
                }
            }
            // Whoever has it may have it for long: a wait for its end would not hear of ours.
            let mut fds = [PollFd::new(self.cancel.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut fds, PollTimeout::from(AGAIN));
            if self.cancel.is_stopped() {
                return Err(Error::Conflict("canceled while another build has the cache".into()));
            }
        }
    }
}

/// The name of a mount's cache, and what it is.
fn identify<'a>(at: usize, mount: &'a RunMount, find: Find<'_>) -> Result<(String, Wanted<'a>)> {
    let target = mount.target.as_deref().unwrap_or_default();
    let id = match mount.id.as_deref().filter(|id| !id.is_empty()) {
        Some(id) => id.to_owned(),
        None => String::from_utf8_lossy(&crate::build::glob::clean(target.as_bytes())).into(),
    };
    let mut first = None;
    if let Some(from) = mount.from.as_deref() {
        let source = mount.source.as_deref().unwrap_or("/");
        find(Some(from), &mut |files| {
            first = Some((digest_below(files, source)?, bind::open(mount, files)?.1));
            Ok(())
        })?;
    }
    let name = name(&id, mount, first.as_ref().map(|(sum, _)| sum));
    // One upper directory can't be in two overlays.
    let alone = first.is_some() && mount.sharing == Sharing::Shared;
    let sharing = if alone { Sharing::Locked } else { mount.sharing };
    Ok((name, Wanted { at, mount, id, first: first.map(|(_, below)| below), sharing }))
}

fn home(root: &Path) -> PathBuf {
    root.join("build/caches")
}

/// The directory's name: ids are anybody's text.
fn name(id: &str, mount: &RunMount, first: Option<&Digest>) -> String {
    let mut sum = Hasher::new(Algorithm::Sha256);
    let owner = format!("{:?} {:?} {:?}", mount.uid, mount.gid, mount.mode);
    let first = first.map(ToString::to_string).unwrap_or_default();
    for part in [id, &owner, &first] {
        sum.update(&(part.len() as u64).to_le_bytes());
        sum.update(part.as_bytes());
    }
    sum.finish().hex().to_owned()
}

/// Its first state is there whole or not at all.
fn make(slot: &Path, data: &Path, mount: &RunMount) -> Result<()> {
    let born = tempfile::Builder::new().prefix(".new-").tempdir_in(slot);
    let born = born.map_err(Error::at("create a directory in", slot))?.keep();
    let mode = mount.mode.unwrap_or(0o755) & 0o7777;
    let made = std::os::unix::fs::chown(&born, mount.uid.or(Some(0)), mount.gid.or(Some(0)))
        .and_then(|()| fs::set_permissions(&born, fs::Permissions::from_mode(mode)))
        .and_then(|()| fs::rename(&born, data));
    match made {
        // Another one who shares it was faster.
        Err(_) if data.exists() => fs::remove_dir_all(&born).map_err(Error::at("remove", &born)),
        made => made.map_err(Error::at("create", data)),
    }
}

/// All caches of a store.
///
/// # Errors
///
/// When a directory can't be read.
pub fn caches(root: &Path) -> Result<Vec<Cache>> {
    let mut all = Vec::new();
    let entries = match fs::read_dir(home(root)) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(all),
        entries => entries.map_err(Error::at("read", home(root)))?,
    };
    for entry in entries.flatten() {
        let dir = entry.path();
        let about = fs::read(dir.join("about.json")).unwrap_or_default();
        let about: About = serde_json::from_slice(&about).unwrap_or_default();
        let locks: Vec<PathBuf> = locks(&dir);
        let used = locks.iter().filter_map(|lock| lock.metadata().ok()?.modified().ok()).max();
        let has = |lock: &PathBuf| {
            let lock = File::open(lock).map(Locked);
            lock.is_ok_and(|lock| lock.0.try_lock().is_err())
        };
        let in_use = locks.iter().any(has);
        let (size, used) = (size(&dir), used.unwrap_or(SystemTime::UNIX_EPOCH));
        all.push(Cache { id: about.id, dir, size, used, in_use });
    }
    all.sort_by(|a, b| a.id.cmp(&b.id).then_with(|| a.dir.cmp(&b.dir)));
    Ok(all)
}

/// Removes a cache; false if somebody has it.
///
/// # Errors
///
/// When what is in it can't be removed.
pub fn remove_cache(root: &Path, cache: &Cache) -> Result<bool> {
    let mut held = Vec::new();
    for lock in locks(&cache.dir) {
        let Ok(file) = File::open(&lock) else { continue };
        if file.try_lock().is_err() {
            return Ok(false);
        }
        held.push(Locked(file));
    }
    let tomb = tempfile::Builder::new().prefix("gone-").tempdir_in(root.join("tmp"));
    let tomb = tomb.map_err(Error::at("create a directory in", root.join("tmp")))?;
    let to = tomb.path().join("cache");
    fs::rename(&cache.dir, &to).map_err(Error::at("remove", &cache.dir))?;
    tomb.close().map_err(Error::at("remove", &cache.dir))?;
    Ok(true)
}

fn locks(dir: &Path) -> Vec<PathBuf> {
    let slots = fs::read_dir(dir).into_iter().flatten().flatten();
    slots.map(|slot| slot.path().join("lock")).filter(|lock| lock.exists()).collect()
}

/// What it takes on disk, links not followed.
fn size(dir: &Path) -> u64 {
    let mut sum = 0;
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            sum += meta.blocks() * 512;
            if meta.is_dir() {
                todo.push(entry.path());
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::cancel::Cancel;
    use crate::build::mounts::Settled;

    #[test]
    fn ids_are_no_paths() {
        let mount = RunMount::default();
        for id in ["../../etc", "/", "", "a/b", "a\0b"] {
            let name = name(id, &mount, None);
            assert!(name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit()), "{name}");
        }
        assert_ne!(name("a", &mount, None), name("b", &mount, None));
        let owned = RunMount { uid: Some(1), ..RunMount::default() };
        assert_ne!(name("a", &mount, None), name("a", &owned, None));
    }

    fn of(id: &str, sharing: Sharing) -> RunMount {
        RunMount {
            kind: MountKind::Cache,
            target: Some("/cache".into()),
            id: Some(id.into()),
            writable: true,
            sharing,
            ..RunMount::default()
        }
    }

    fn settle(root: &Path, cancel: &Cancel, mounts: &[RunMount]) -> Result<Settled> {
        let mounter = Mounter {
            root,
            secrets: &[],
            agents: &[],
            scratch: &root.join("scratch"),
            cwd: "/",
            env: &[],
            cancel,
        };
        mounter.settle(mounts, &|_, _| unreachable!("the context"))
    }

    /// Does it in time, or panics.
    fn in_time(act: impl FnOnce() + Send + 'static) {
        let (done, end) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            act();
            let _ = done.send(());
        });
        end.recv_timeout(std::time::Duration::from_mins(1)).expect("it waits for itself");
    }

    #[test]
    fn a_cache_is_taken_once_by_one_run() {
        in_time(|| {
            let root = tempfile::tempdir().unwrap();
            let cancel = Cancel::new().unwrap();
            let all = [Sharing::Shared, Sharing::Private, Sharing::Locked];
            for (one, other) in all.iter().flat_map(|one| all.iter().map(move |other| (one, other)))
            {
                let below = RunMount { source: Some("git".into()), ..of("cargo", *other) };
                let mounts = [of("cargo", *one), below];
                let settled = settle(root.path(), &cancel, &mounts).unwrap();
                assert_eq!(settled.mounts.len(), 2);
                let known = caches(root.path()).unwrap();
                assert!(known.len() == 1 && known[0].in_use);
                drop(settled);
                let known = caches(root.path()).unwrap();
                assert!(!known[0].in_use);
                assert!(known[0].dir.join("0/data/git").is_dir());
                assert!(!known[0].dir.join("1").exists(), "one slot is enough");
            }
        });
    }

    #[test]
    fn runs_that_take_caches_in_other_orders_do_not_wait_for_each_other() {
        in_time(|| {
            let root = tempfile::tempdir().unwrap();
            let cancel = Cancel::new().unwrap();
            std::thread::scope(|scope| {
                for ids in [["a", "b"], ["b", "a"]] {
                    let mounts = ids.map(|id| of(id, Sharing::Locked));
                    let (root, cancel) = (root.path(), &cancel);
                    scope.spawn(move || {
                        for _ in 0..50 {
                            drop(settle(root, cancel, &mounts).unwrap());
                        }
                    });
                }
            });
        });
    }

    #[test]
    fn a_cache_may_be_for_reading_only() {
        let root = tempfile::tempdir().unwrap();
        let cancel = Cancel::new().unwrap();
        for writable in [true, false] {
            let mount = RunMount { writable, ..of("x", Sharing::Shared) };
            let settled = settle(root.path(), &cancel, &[mount]).unwrap();
            assert_eq!(settled.mounts[0].readonly, !writable);
        }
    }

    #[test]
    fn caches_are_told_and_removed_unless_somebody_has_them() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("tmp")).unwrap();
        let cancel = Cancel::new().unwrap();
        let take = |id: &str, sharing| settle(root.path(), &cancel, &[of(id, sharing)]);
        let one = take("../x", Sharing::Private).unwrap();
        let other = take("../x", Sharing::Private).unwrap();
        let all = caches(root.path()).unwrap();
        assert!(all.len() == 1 && all[0].id == "../x" && all[0].in_use, "{all:?}");
        assert!(!remove_cache(root.path(), &all[0]).unwrap());
        drop((one, other));
        let all = caches(root.path()).unwrap();
        assert!(fs::read_dir(&all[0].dir).unwrap().count() == 3 && !all[0].in_use);
        assert!(remove_cache(root.path(), &all[0]).unwrap());
        assert_eq!(caches(root.path()).unwrap(), []);
        let _shared = take("s", Sharing::Shared).unwrap();
        let _again = take("s", Sharing::Shared).unwrap();
        cancel.stop();
        let why = take("s", Sharing::Locked).unwrap_err().to_string();
        assert!(why.contains("canceled"), "{why}");
    }
}
