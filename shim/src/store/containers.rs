//! Container records: ROOT/containers/ID, found by name in ROOT/names/NAME.

use std::fs::File;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::error::{Error, Result};
use crate::events;
use crate::model::{Record, State};

use super::file::{Lock, Sync, make_dir, write_atomic};

/// A container as it lies in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// What it was made to be.
    pub record: Record,
    /// What became of it, as last written; `monitor::state` checks it against the living.
    pub state: State,
}

/// Names in ROOT/tmp of what is half made and half removed.
const BIRTH: &str = "container-";
const GRAVE: &str = "removed-";
/// Of what killed processes left so many go with each new container: each takes a descriptor meanwhile.
const MOST_SWEPT: usize = 16;

/// The containers of a world.
pub struct Containers {
    root: PathBuf,
}

impl Containers {
    /// The containers under `root`; nothing is made yet.
    pub fn open(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// ROOT/containers/ID
    pub fn dir(&self, id: &str) -> PathBuf {
        self.root.join("containers").join(id)
    }

    fn name_link(&self, name: &str) -> PathBuf {
        self.root.join("names").join(name)
    }

    fn lock(&self) -> Result<Lock> {
        Lock::exclusive(&self.root.join("containers.lock"))
    }

    /// Keeps `record` under its name; a taken name is a conflict. Nothing is visible before all is there.
    pub fn create(&self, record: &Record) -> Result<()> {
        check_name(&record.name)?;
        for part in ["containers", "names", "tmp"] {
            make_dir(&self.root.join(part))?;
        }
        let sync = sync_of(record);
        let birth = self.root.join("tmp").join(format!("{BIRTH}{}", record.id));
        let (dead, _alive) = {
            let _lock = self.lock()?;
            let dead = self.dead();
            make_dir(&birth)?;
            // Held until it is born or gone: a sweep by another process leaves it alone.
            (dead, lock_dir(&birth))
        };
        sweep(dead);
        let made = fill(&birth, record, sync).and_then(|()| {
            let _lock = self.lock()?;
            self.take_name(&record.name, &record.id)?;
            let dir = self.dir(&record.id);
            std::fs::rename(&birth, &dir).map_err(|e| {
                let _ = std::fs::remove_file(self.name_link(&record.name));
                Error::io("create container", &dir, e)
            })
        });
        match &made {
            Ok(()) => events::of_container_in(&self.root, record, "create", &[]),
            Err(_) => drop(std::fs::remove_dir_all(&birth)),
        }
        made
    }

    /// What killed processes left half made or half removed, each with its lock. Call with
    /// the lock held: who makes such a directory locks it before the lock is let go.
    fn dead(&self) -> Vec<(PathBuf, Flock<File>)> {
        let entries = std::fs::read_dir(self.root.join("tmp")).into_iter().flatten().flatten();
        let ours = entries.filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with(BIRTH) || name.starts_with(GRAVE)
        });
        let dead = ours.filter_map(|entry| Some((entry.path(), lock_dir(&entry.path())?)));
        dead.take(MOST_SWEPT).collect()
    }

    /// A conflict when a container has this name; asked early, before an image is pulled.
    pub fn free_name(&self, name: &str) -> Result<()> {
        match self.id_of_name(name) {
            Some(id) if self.dir(&id).join("container.json").is_file() => Err(taken(name, &id)),
            _ => Ok(()),
        }
    }

    /// Under the lock: NAME → ID, replacing a name whose container is gone.
    fn take_name(&self, name: &str, id: &str) -> Result<()> {
        let link = self.name_link(name);
        match std::os::unix::fs::symlink(id, &link) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                let holder = self.id_of_name(name).unwrap_or_default();
                if self.dir(&holder).join("container.json").is_file() && !holder.is_empty() {
                    return Err(taken(name, &holder));
                }
                std::fs::remove_file(&link)
                    .and_then(|()| std::os::unix::fs::symlink(id, &link))
                    .map_err(|e| Error::io("name container", &link, e))
            }
            Err(e) => Err(Error::io("name container", &link, e)),
        }
    }

    fn id_of_name(&self, name: &str) -> Option<String> {
        if check_name(name).is_err() {
            return None;
        }
        std::fs::read_link(self.name_link(name)).ok()?.into_os_string().into_string().ok()
    }

    /// The container that `needle` names: full id, name, or a prefix of one id only.
    pub fn find(&self, needle: &str) -> Result<Container> {
        self.seek(needle)?.ok_or_else(|| self.unknown(bare_name(needle)))
    }

    /// `done`, with the container that `needle` named: one that was removed meanwhile fails in many
    /// ways, and is told of as one that isn't there.
    pub fn unless_gone<T>(&self, needle: &str, done: Result<T>) -> Result<T> {
        done.or_else(|error| self.find(needle).and(Err(error)))
    }

    /// [`Containers::find`], for who looks elsewhere when there is none.
    pub fn seek(&self, needle: &str) -> Result<Option<Container>> {
        if needle.is_empty() {
            return Err(Error::usage("invalid container name or ID: value is empty"));
        }
        let needle = bare_name(needle);
        if is_id(needle)
            && let Some(found) = self.load(needle)?
        {
            return Ok(Some(found));
        }
        if let Some(id) = self.id_of_name(needle)
            && let Some(found) = self.load(&id)?
        {
            return Ok(Some(found));
        }
        self.seek_prefix(needle)
    }

    fn seek_prefix(&self, needle: &str) -> Result<Option<Container>> {
        let hex =
            !needle.is_empty() && needle.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let mut matches = Vec::new();
        if hex {
            matches.extend(self.ids()?.into_iter().filter(|id| id.starts_with(needle)));
        }
        match matches.as_slice() {
            [id] => self.load(id),
            [] => Ok(None),
            many => Err(Error::conflict(format!(
                "\"{needle}\" names {} containers; give more digits of the id",
                many.len()
            ))),
        }
    }

    fn unknown(&self, needle: &str) -> Error {
        let near = crate::output::nearest(needle, self.names());
        let hint = near.map_or_else(
            || "; `dhow ps -a` lists them".to_owned(),
            |name| format!("; did you mean \"{name}\"?"),
        );
        Error::not_found(format!("No such container: {needle}{hint}"))
    }

    /// All names in use.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.root.join("names")).into_iter().flatten().flatten();
        entries.filter_map(|e| e.file_name().into_string().ok()).collect()
    }

    /// Ids of all containers, in no order.
    pub fn ids(&self) -> Result<Vec<String>> {
        let dir = self.root.join("containers");
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::io("read", &dir, e)),
        };
        let names = entries.flatten().filter_map(|e| e.file_name().into_string().ok());
        Ok(names.filter(|name| is_id(name)).collect())
    }

    /// All containers, newest first.
    pub fn list(&self) -> Result<Vec<Container>> {
        let mut all = Vec::new();
        for id in self.ids()? {
            all.extend(self.load(&id)?); // gone between the two: fine
        }
        all.sort_by_key(|c: &Container| std::cmp::Reverse(c.record.created));
        Ok(all)
    }

    /// The container with this full id.
    pub fn load(&self, id: &str) -> Result<Option<Container>> {
        let Some(record) = self.record(id)? else { return Ok(None) };
        let state = self.state(id)?;
        Ok(Some(Container { record, state }))
    }

    /// container.json of this full id.
    pub fn record(&self, id: &str) -> Result<Option<Record>> {
        let path = self.dir(id).join("container.json");
        let Some(record) = decode::<Record>(&path)? else { return Ok(None) };
        if record.version > Record::VERSION {
            return Err(Error::io("read", &path, "written by a newer dhow; upgrade this one"));
        }
        Ok(Some(record))
    }

    /// state.json of this full id; absent means created.
    pub fn state(&self, id: &str) -> Result<State> {
        let path = self.dir(id).join("state.json");
        Ok(decode::<State>(&path)?.unwrap_or_default())
    }

    /// Replaces state.json; the monitor's right alone while it lives.
    pub fn write_state(&self, record: &Record, state: &State) -> Result<()> {
        // A life that a power cut ends is over on disk as well: only ends are worth a sync.
        let sync = if state.status.is_alive() { Sync::No } else { sync_of(record) };
        write_atomic(&self.dir(&record.id).join("state.json"), &encode(state)?, sync)
    }

    /// Gives the container another name.
    pub fn rename(&self, record: &Record, name: &str) -> Result<()> {
        let name = bare_name(name);
        if name.is_empty() {
            return Err(Error::usage("Neither old nor new names may be empty"));
        }
        let why =
            |e: Error| Error::new(e.kind, format!("Error when allocating new name: {}", e.message));
        check_name(name).map_err(why)?;
        let _lock = self.lock()?;
        let current = self.record(&record.id)?;
        let record = current.as_ref().ok_or_else(|| self.unknown(&record.name))?;
        if record.name == name {
            return Err(Error::usage(
                "Renaming a container with the same name as its current name",
            ));
        }
        self.take_name(name, &record.id).map_err(why)?;
        let renamed = Record { name: name.to_owned(), ..record.clone() };
        let path = self.dir(&record.id).join("container.json");
        if let Err(e) = write_atomic(&path, &encode(&renamed)?, Sync::Yes) {
            let _ = std::fs::remove_file(self.name_link(name));
            return Err(e);
        }
        let _ = std::fs::remove_file(self.name_link(&record.name));
        let old = format!("/{}", record.name);
        events::of_container_in(&self.root, &renamed, "rename", &[("oldName", &old)]);
        Ok(())
    }

    /// Changes a record, unless `change` refuses: what it does happens under the lock, with the newest.
    pub fn change(
        &self,
        id: &str,
        change: impl FnOnce(&mut Record) -> Result<()>,
    ) -> Result<Record> {
        let _lock = self.lock()?;
        let gone = || Error::not_found(format!("No such container: {id}"));
        let mut record = self.record(id)?.ok_or_else(gone)?;
        change(&mut record)?;
        write_atomic(&self.dir(id).join("container.json"), &encode(&record)?, Sync::Yes)?;
        Ok(record)
    }

    /// Frees names that killed processes left, when there are more than `containers`: who is
    /// there has a name all its life.
    pub fn forget_names(&self, containers: usize) {
        let names = self.names();
        if names.len() <= containers {
            return;
        }
        // Looked at with the lock: a container takes its name just before it is there.
        let Ok(_lock) = self.lock() else { return };
        for name in names {
            let id = self.id_of_name(&name);
            if id.is_some_and(|id| !self.dir(&id).join("container.json").is_file()) {
                let _ = std::fs::remove_file(self.name_link(&name));
            }
        }
    }

    /// Removes the container's directory and frees its name; it must not be alive.
    pub fn remove(&self, record: &Record) -> Result<()> {
        let dir = self.dir(&record.id);
        let grave = self.root.join("tmp").join(format!("{GRAVE}{}", record.id));
        let _dying = {
            let _lock = self.lock()?;
            let dying = lock_dir(&dir);
            crate::mounted::clear(&dir)?;
            match std::fs::rename(&dir, &grave) {
                Ok(()) => events::of_container_in(&self.root, record, "destroy", &[]),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(Error::io("remove container", &dir, e)),
            }
            if self.id_of_name(&record.name).as_deref() == Some(&record.id) {
                let _ = std::fs::remove_file(self.name_link(&record.name));
            }
            dying
        };
        match std::fs::remove_dir_all(&grave) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("remove container", &grave, e))
            }
            _ => Ok(()),
        }
    }
}

fn fill(birth: &Path, record: &Record, sync: Sync) -> Result<()> {
    for part in ["bundle", "work", "rootfs"] {
        make_dir(&birth.join(part))?;
    }
    // The upper directory is the container's `/`: it carries the image's mode, not ours.
    let upper = birth.join("upper");
    std::fs::create_dir(&upper).map_err(|e| Error::io("create directory", &upper, e))?;
    write_atomic(&birth.join("container.json"), &encode(record)?, sync)
}

/// A directory's own lock, unless somebody holds it.
fn lock_dir(path: &Path) -> Option<Flock<File>> {
    Flock::lock(File::open(path).ok()?, FlockArg::LockExclusiveNonblock).ok()
}

fn sweep(dead: Vec<(PathBuf, Flock<File>)>) {
    for (path, _lock) in dead {
        // What can't be removed now is tried again by the next.
        if crate::mounted::clear(&path).is_ok() {
            let _ = std::fs::remove_dir_all(path);
        }
    }
}

fn sync_of(record: &Record) -> Sync {
    if record.host_config.auto_remove { Sync::No } else { Sync::Yes }
}

fn taken(name: &str, holder: &str) -> Error {
    Error::conflict(format!(
        "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\"; \
         remove or rename that container to reuse the name"
    ))
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn encode(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::engine(format!("encode record: {e}")))
}

fn decode<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match std::fs::read(path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map(Some).map_err(|e| Error::io("read", path, e))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("read", path, e)),
    }
}

/// A name without the slash that docker's `inspect` shows before it, and takes back anywhere.
pub fn bare_name(name: &str) -> &str {
    name.strip_prefix('/').unwrap_or(name)
}

/// Refuses what may not name a container.
pub fn check_name(name: &str) -> Result<()> {
    if super::is_name(name) {
        return Ok(());
    }
    Err(Error::conflict(format!(
        "Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Config, HostConfig, ImageRef};

    fn record(id: char, name: &str) -> Record {
        Record {
            version: 1,
            id: id.to_string().repeat(64),
            name: name.into(),
            created: jiff::Timestamp::now(),
            image: ImageRef { reference: "x".into(), id: "sha256:1".into(), manifest: "y".into() },
            layers: vec![],
            path: "true".into(),
            args: vec![],
            config: Config::default(),
            host_config: HostConfig { auto_remove: true, ..HostConfig::default() },
            mounts: vec![],
            cdi_dirs: vec![],
            runtime_args: Vec::new(),
            detach_keys: None,
            networks: Vec::new(),
            publish_ip: None,
            ..Record::default()
        }
    }

    #[test]
    fn a_name_is_held_by_one_container_and_freed_with_it() {
        let root = tempfile::tempdir().unwrap();
        let store = Containers::open(root.path());
        let (a, b) = (record('a', "web"), record('b', "web"));
        store.create(&a).unwrap();
        assert_eq!(store.create(&b).unwrap_err().kind, crate::Kind::Conflict);
        assert_eq!(store.find("web").unwrap().record, a);
        assert_eq!(store.find("/web").unwrap().record, a);
        assert_eq!(store.find("aaa").unwrap().record, a);
        store.remove(&a).unwrap();
        store.create(&b).unwrap();
        assert_eq!(store.find("web").unwrap().record.id, b.id);
        assert_eq!(store.ids().unwrap().len(), 1);
    }

    #[test]
    fn a_name_left_by_a_killed_create_is_taken_over() {
        let root = tempfile::tempdir().unwrap();
        let store = Containers::open(root.path());
        store.create(&record('a', "old")).unwrap();
        std::os::unix::fs::symlink("c".repeat(64), root.path().join("names/web")).unwrap();
        store.create(&record('b', "web")).unwrap();
        assert_eq!(store.find("web").unwrap().record.id, "b".repeat(64));
    }

    #[test]
    fn what_killed_processes_left_is_swept_and_what_lives_is_not() {
        let root = tempfile::tempdir().unwrap();
        let store = Containers::open(root.path());
        let tmp = root.path().join("tmp");
        for name in ["container-dead/upper", "removed-dead", "container-alive", "other"] {
            std::fs::create_dir_all(tmp.join(name)).unwrap();
        }
        let alive = lock_dir(&tmp.join("container-alive")).unwrap();
        store.create(&record('a', "one")).unwrap();
        let mut left: Vec<_> =
            std::fs::read_dir(&tmp).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["container-alive", "other"]);
        drop(alive);
        for n in 0..MOST_SWEPT + 3 {
            std::fs::create_dir(tmp.join(format!("container-{n}"))).unwrap();
        }
        store.create(&record('b', "two")).unwrap();
        assert_eq!(std::fs::read_dir(&tmp).unwrap().count(), 2 + 3, "a few at a time");
    }

    #[test]
    fn names_of_no_container_are_freed_and_others_are_not() {
        let root = tempfile::tempdir().unwrap();
        let store = Containers::open(root.path());
        store.create(&record('a', "held")).unwrap();
        std::os::unix::fs::symlink("c".repeat(64), root.path().join("names/left")).unwrap();
        store.forget_names(2);
        assert_eq!(store.names().len(), 2);
        store.forget_names(1);
        assert_eq!(store.names(), ["held"]);
    }

    #[test]
    fn rename_moves_the_name() {
        let root = tempfile::tempdir().unwrap();
        let store = Containers::open(root.path());
        let a = record('a', "one");
        store.create(&a).unwrap();
        store.rename(&a, "two").unwrap();
        assert_eq!(store.find("two").unwrap().record.name, "two");
        assert!(store.find("one").is_err());
    }

    #[test]
    fn what_failed_on_a_container_that_was_removed_is_that_there_is_none() {
        let root = tempfile::tempdir().unwrap();
        let store = Containers::open(root.path());
        let a = record('a', "one");
        store.create(&a).unwrap();
        let failed = || Err::<(), _>(Error::engine("open rootfs: No such file or directory"));
        assert_eq!(store.unless_gone("one", failed()), failed());
        assert_eq!(store.unless_gone("one", Ok(5)), Ok(5));
        store.remove(&a).unwrap();
        let said = store.unless_gone("one", failed()).unwrap_err();
        assert_eq!(said.kind, crate::Kind::NotFound);
        assert!(said.message.starts_with("No such container: one"), "{}", said.message);
    }

    #[test]
    fn names_that_are_paths_are_refused() {
        for bad in ["", "a", "../x", "a/b", ".hidden", "-x", "a b"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert!(check_name("a.b-c_1").is_ok());
    }
}
