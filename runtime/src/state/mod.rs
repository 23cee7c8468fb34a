//! State on disk: ROOT/ID/status, and the process it speaks of.
//!
//! A pid alone is never trusted: start time and boot id go with it, and a
//! signal goes to a pidfd that was compared first.

mod process;
mod status;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use dhow_kernel::fd::Loose;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{major, minor};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::cgroup;
use crate::error::{Error, Result};
use crate::log::{Level, Log};
use crate::whole;
pub use process::Identity;
pub use status::Status;

/// What is remembered of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// `ociVersion` of its config.
    pub oci_version: String,
    /// Its id.
    pub id: String,
    /// Its first process; pid 0 while it is being made.
    #[serde(flatten)]
    pub process: Identity,
    /// The bundle, absolute.
    pub bundle: String,
    /// The root file system, absolute.
    pub rootfs: String,
    /// When it was made, RFC 3339 with nanoseconds.
    pub created: String,
    /// Name of the user who made it.
    pub owner: String,
    /// Whether its processes are in a pid namespace of others: they outlive the first one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared_pids: bool,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Its groups.
    pub cgroup: cgroup::Record,
    /// Its resctrl group.
    #[serde(default, skip_serializing_if = "crate::resctrl::Record::is_empty")]
    pub rdt: crate::resctrl::Record,
    /// Ids of the mounts that were added to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<u64>,
}

/// The directory that `--root` names.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// One container's directory.
#[derive(Debug)]
pub struct Dir {
    path: PathBuf,
}

/// A container's directory, held against others.
#[derive(Debug)]
pub struct Held {
    /// The directory.
    pub dir: Dir,
    lock: File,
    holds: Cell<bool>,
}

impl Held {
    /// The lock's descriptor.
    pub fn descriptor(&self) -> RawFd {
        self.lock.as_raw_fd()
    }

    /// Lets others use the container, while this process stays with it.
    pub fn release(&self) {
        // Init has a copy of the descriptor until it executes: closing ours wouldn't do.
        if self.holds.replace(false) {
            let _ = self.lock.unlock();
        }
    }

    /// Holds it again; false when it was removed meanwhile: then its id may be another's.
    pub fn take_back(&self) -> bool {
        self.holds.set(self.lock.lock().is_ok());
        self.holds.get() && self.is_current()
    }

    /// What the container is doing now: nobody makes it while we hold it.
    pub fn status(&self, record: &Record) -> Result<Status> {
        if record.process.pid == 0 { Ok(Status::Stopped) } else { self.dir.status(record) }
    }

    /// Whether what is held is still there: nobody moves it, and who removes it leaves it no name.
    fn is_current(&self) -> bool {
        self.lock.metadata().is_ok_and(|held| held.nlink() > 0)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}

/// How an unknown id is said; engines look for these words.
pub const MISSING: &str = "container does not exist";

/// How an id is said whose container is still being made.
pub const MAKING: &str = "container is being created";

/// How long a container that is being made is waited for by who only looks.
const MOMENT: Duration = Duration::from_secs(1);

/// Names of the files in a container's directory.
pub mod file {
    /// The [`super::Record`]. In crun's name, keys alike: scripts and its tests look for it.
    pub const STATE: &str = "status";
    /// The config as it was at `create`.
    pub const CONFIG: &str = "config.json";
    /// The directory of the container's NOTIFY_SOCKET.
    pub const NOTIFY: &str = "notify";
    /// There once an `exec` has brought CAP_SYS_PTRACE into a container that hadn't got it.
    pub const WATCHED: &str = "watched";
    /// What `start` writes to; there while the container is only created.
    pub const START: &str = "exec.fifo";
    /// Its name while a created container is paused, so that no `start` writes to it.
    pub const PARKED: &str = "exec.fifo.paused";
}

impl Store {
    /// The store at `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Whether an id can be one.
    pub fn judge(&self, id: &str) -> Result<()> {
        self.dir(id).map(drop)
    }

    /// The directory of an id, which must be one.
    fn dir(&self, id: &str) -> Result<Dir> {
        let sound = |c: &char| c.is_ascii_alphanumeric() || "_+-.".contains(*c);
        let wrong = id.chars().find(|c| !sound(c));
        if id.is_empty() || id == "." || id == ".." || wrong.is_some() {
            let why = "letters, digits and _ + - . make an id";
            return Err(Error::rule(match (id, wrong) {
                ("", _) => format!("container id cannot be empty: {why}"),
                (_, Some(c)) => {
                    format!("invalid container ID format: {id:?}: invalid character {c:?}: {why}")
                }
                _ => format!("invalid container ID format: {id:?}: names a directory"),
            }));
        }
        Ok(Dir { path: self.root.join(id) })
    }

    /// Takes an id for a new container: its directory is made and held.
    pub fn reserve(&self, id: &str) -> Result<Held> {
        let dir = self.dir(id)?;
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o700);
        match builder.create(&dir.path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let io = |e| Error::io("mkdir", self.root.to_string_lossy(), &e);
                // SPEC: XDG base directories §Runtime: without the sticky bit what is in there
                // may be swept away.
                fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o1700)
                    .create(&self.root)
                    .map_err(io)?;
                builder.create(&dir.path)
            }
            other => other,
        }
        .map_err(|e| match e.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Error::rule(format!("container with given ID already exists: {id}"))
            }
            _ => Error::io("mkdir", dir.shown(), &e),
        })?;
        let path = dir.path.clone();
        dir.hold().inspect_err(|_| {
            // It is empty, or else another's.
            let _ = fs::remove_dir(&path);
        })
    }

    /// The container called `id`.
    pub fn find(&self, id: &str) -> Result<(Dir, Record)> {
        let dir = self.dir(id)?;
        let record = dir.read(id)?;
        Ok((dir, record))
    }

    /// The container called `id`, once it is made: who asks while it is being made gets the answer
    /// of a moment later, and need not ask again before `start`.
    ///
    /// SPEC: runtime.md §State: hooks see `creating`, and may never come back: with hooks, and after
    /// a second, that is the answer.
    pub fn find_made(&self, id: &str) -> Result<(Dir, Record)> {
        let (dir, record) = self.find(id)?;
        if record.process.pid != 0 || dir.config().is_ok_and(|text| text.contains("\"hooks\"")) {
            return Ok((dir, record));
        }
        dir.wait_until_let_go(MOMENT)?;
        self.find(id)
    }

    /// The container called `id`, held, and its record as it is once held: whoever held
    /// it before may have gone on, or removed it, and the id may have been taken anew.
    ///
    /// One that is being made is not waited for: its hooks may never come back.
    pub fn hold(&self, id: &str) -> Result<(Held, Record)> {
        self.hold_when(id, true)
    }

    /// The same when its maker has been ended: it is held until all have let go.
    pub fn hold_unmade(&self, id: &str) -> Result<(Held, Record)> {
        self.hold_when(id, false)
    }

    fn hold_when(&self, id: &str, made: bool) -> Result<(Held, Record)> {
        loop {
            let (dir, record) = self.find(id)?;
            if made && record.process.pid == 0 && dir.is_held()? {
                return Err(Error::rule(format!("{MAKING}: {id}")));
            }
            let path = dir.path.clone();
            match dir.hold() {
                Ok(held) if held.is_current() => {
                    let record = held.dir.read(id)?;
                    return Ok((held, record));
                }
                Err(e) if path.exists() => return Err(e),
                _ => {}
            }
        }
    }

    /// A directory that may lack a record, for `delete --force`.
    pub fn leftover(&self, id: &str) -> Result<Option<Dir>> {
        let dir = self.dir(id)?;
        Ok(dir.path.is_dir().then_some(dir))
    }

    /// Whether the root can be read.
    pub fn check(&self) -> Result<()> {
        let shown = || self.root.to_string_lossy();
        fs::read_dir(&self.root).map(drop).map_err(|e| Error::io("open", shown(), &e))
    }

    /// Where a container's own NOTIFY_SOCKET stands.
    pub fn notify(&self, id: &str) -> PathBuf {
        let root = std::path::absolute(&self.root).unwrap_or_else(|_| self.root.clone());
        root.join(id).join(file::NOTIFY)
    }

    /// All containers, by id.
    ///
    /// DIFFERS: runc tells of each directory without a record; here it is a container that is
    /// being made or removed, and no news. One that goes away meanwhile is left out.
    pub fn list(&self, log: &Log) -> Result<Vec<(Dir, Record)>> {
        let entries = match fs::read_dir(&self.root) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|e| Error::io("read", self.root.to_string_lossy(), &e))?,
        };
        let mut all = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| Error::io("read", self.root.to_string_lossy(), &e))?;
            let name = entry.file_name();
            let Some(id) = name.to_str().filter(|_| entry.file_type().is_ok_and(|t| t.is_dir()))
            else {
                continue;
            };
            let Ok(dir) = self.dir(id) else { continue };
            match dir.read(id) {
                Ok(record) => all.push((dir, record)),
                // Not made yet, or gone by now.
                Err(e) if e.to_string().starts_with(MISSING) => {}
                Err(e) => log.line(Level::Warning, &format!("load container {id}: {e}")),
            }
        }
        all.sort_by(|a, b| a.1.id.cmp(&b.1.id));
        Ok(all)
    }
}

impl Dir {
    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn shown(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    /// Holds it until dropped; waits for whoever holds it now.
    pub fn hold(self) -> Result<Held> {
        let io = |e| Error::io("lock", self.shown(), &e);
        let lock = File::open(&self.path).map_err(io)?;
        lock.lock().map_err(io)?;
        Ok(Held { dir: self, lock, holds: Cell::new(true) })
    }

    /// Whether somebody holds it.
    pub fn is_held(&self) -> Result<bool> {
        match File::open(&self.path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Error::io("open", self.shown(), &e)),
            Ok(file) => match file.try_lock_shared() {
                Ok(()) => Ok(false),
                Err(TryLockError::WouldBlock) => Ok(true),
                Err(TryLockError::Error(e)) => Err(Error::io("lock", self.shown(), &e)),
            },
        }
    }

    /// Waits until nobody holds it, and no longer than that.
    fn wait_until_let_go(&self, limit: Duration) -> Result<()> {
        let lock = match File::open(&self.path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(|e| Error::io("open", self.shown(), &e))?,
        };
        let (done, told) = mpsc::channel();
        // KERNEL: flock(2) knows no limit. Who holds it for longer keeps a thread that ends with us.
        std::thread::spawn(move || done.send(lock.lock_shared()));
        let waited = told.recv_timeout(limit).unwrap_or(Ok(()));
        waited.map_err(|e| Error::io("lock", self.shown(), &e))
    }

    /// The process that holds it.
    pub fn holder(&self) -> Option<Pid> {
        /// Tries, a millisecond each.
        const TRIES: u32 = 200;
        // KERNEL: seq_file.rst: /proc/locks comes in pieces, and a lock that goes meanwhile hides
        // another: one that is held and not found is looked for again.
        let look = |_| {
            let found = self.locker();
            let again = found.is_none() && self.is_held().unwrap_or(false);
            again.then(|| std::thread::sleep(std::time::Duration::from_millis(1)));
            (!again).then_some(found)
        };
        (0..TRIES).find_map(look).flatten()
    }

    fn locker(&self) -> Option<Pid> {
        let held = fs::metadata(&self.path).ok()?;
        let (major, minor) = (major(held.dev()), minor(held.dev()));
        let place = format!("{major:02x}:{minor:02x}:{}", held.ino());
        // KERNEL: proc_locks(5): number, FLOCK, ADVISORY, WRITE, pid, device and inode, range.
        let locks = fs::read_to_string("/proc/locks").ok()?;
        locks.lines().find_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            // A shared one is only somebody's look at it ([`Self::is_held`]).
            let flock = words.get(1) == Some(&"FLOCK") && words.get(3) == Some(&"WRITE");
            let pid = words.get(4)?.parse().ok().filter(|pid| *pid > 0)?;
            (flock && words.get(5) == Some(&place.as_str())).then(|| Pid::from_raw(pid))
        })
    }

    /// Its record.
    fn read(&self, id: &str) -> Result<Record> {
        let path = self.file(file::STATE);
        let text = match whole::text(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            other => other.map_err(|e| Error::io("read", path.to_string_lossy(), &e))?,
        };
        // Empty, it is about to be written.
        if text.is_empty() {
            return Err(Error::rule(format!("{MISSING}: {id}")));
        }
        serde_json::from_str(&text).map_err(|e| Error::rule(format!("{}: {e}", path.display())))
    }

    /// Writes a file whole or not at all.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let (path, temporary) = (self.file(name), self.file(&format!(".{name}.new")));
        let io = |e| Error::io("write", path.to_string_lossy(), &e);
        let mut open = OpenOptions::new();
        open.write(true).create(true).truncate(true).mode(0o600);
        let mut file = open.open(&temporary).map_err(io)?;
        let written = file.write_all(text.as_bytes()).and_then(|()| fs::rename(&temporary, &path));
        drop(Loose::from(OwnedFd::from(file)));
        written.map_err(|e| {
            let _ = fs::remove_file(&temporary);
            io(e)
        })
    }

    /// Writes a file that nobody looks for before there is a record with a process.
    pub fn write_new(&self, name: &str, text: &str) -> Result<()> {
        let path = self.file(name);
        let io = |e| Error::io("write", path.to_string_lossy(), &e);
        let mut open = OpenOptions::new();
        let mut file = open.write(true).create_new(true).mode(0o600).open(&path).map_err(io)?;
        file.write_all(text.as_bytes()).map_err(io)?;
        drop(Loose::from(OwnedFd::from(file)));
        Ok(())
    }

    /// Writes the first record. An empty one counts as none, so that it needs no other name.
    pub fn first_record(&self, record: &Record) -> Result<()> {
        /// KERNEL: what a page holds is there at once.
        const AT_ONCE: usize = 4096;
        let text = serde_json::to_string(record).map_err(|e| Error::rule(e.to_string()))?;
        if text.len() > AT_ONCE {
            return self.write(file::STATE, &text);
        }
        self.write_new(file::STATE, &text)
    }

    /// Writes the record.
    pub fn record(&self, record: &Record) -> Result<()> {
        let text = serde_json::to_string(record).map_err(|e| Error::rule(e.to_string()))?;
        self.write(file::STATE, &text)
    }

    /// The config as it was at `create`.
    pub fn config(&self) -> Result<String> {
        let path = self.file(file::CONFIG);
        whole::text(&path).map_err(|e| Error::io("read", path.to_string_lossy(), &e))
    }

    /// Removes it.
    pub fn remove(&self) -> Result<()> {
        // What it mostly has, by name; whatever else there is takes a look.
        for name in [file::STATE, file::CONFIG] {
            let _ = fs::remove_file(self.file(name));
        }
        if fs::remove_dir(&self.path).is_ok() {
            return Ok(());
        }
        match fs::remove_dir_all(&self.path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("remove", self.shown(), &e))
            }
            _ => Ok(()),
        }
    }

    /// What the container is doing now.
    pub fn status(&self, record: &Record) -> Result<Status> {
        status::of(self, record)
    }
}

/// Reads a bundle's config.json, or the file that stands for it; the bundle's path comes back
/// absolute.
pub fn bundle(path: &Path, config: Option<&Path>) -> Result<(String, String)> {
    let unnamed = || Error::rule("the bundle's path is not UTF-8");
    let text = |file: File, name: &Path| {
        let io = |e| Error::io("open", name.to_string_lossy(), &e);
        let mut bytes = Vec::new();
        // An object that was cut doesn't end in a brace of its own, or is no JSON.
        let ends = |so_far: &[u8]| so_far.trim_ascii_end().ends_with(b"}");
        whole::until(file, &mut bytes, ends).map_err(io)?;
        let wrong = |_| io(std::io::Error::new(ErrorKind::InvalidData, "it is not UTF-8"));
        String::from_utf8(bytes).map_err(wrong)
    };
    if config.is_none()
        && let Some((bundle, file)) = plainly(path)
    {
        let text = text(file, &bundle.join(CONFIG))?;
        return Ok((bundle.into_os_string().into_string().map_err(|_| unnamed())?, text));
    }
    let absolute = fs::canonicalize(path)
        .map_err(|e| Error::io("open the bundle", path.to_string_lossy(), &e))?;
    let config = config.map_or_else(|| absolute.join(CONFIG), Path::to_owned);
    let file = File::open(&config).map_err(|e| Error::io("open", config.to_string_lossy(), &e))?;
    let text = text(file, &config)?;
    Ok((absolute.into_os_string().into_string().map_err(|_| unnamed())?, text))
}

/// The config in a bundle.
const CONFIG: &str = "config.json";

/// The file of a bundle whose path is what it seems, with no link in it, and that path: one call.
fn plainly(path: &Path) -> Option<(PathBuf, File)> {
    use std::path::Component::{Normal, RootDir};
    let absolute = std::path::absolute(path).ok()?;
    if !absolute.components().all(|part| matches!(part, RootDir | Normal(_))) {
        return None;
    }
    // Without a trailing slash.
    let clean: PathBuf = absolute.components().collect();
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    loop {
        match openat2(AT_FDCWD, &clean.join(CONFIG), how) {
            Err(Errno::EINTR) => {}
            other => return other.ok().map(|file| (clean, file.into())),
        }
    }
}

/// Now, as records have it.
pub fn now() -> String {
    crate::log::timestamp(SystemTime::now(), 9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn bug_a_lock_that_others_hid_had_no_holder() {
        let top = std::env::temp_dir().join(format!("dhow-holder-{}", std::process::id()));
        let own = top.join("own");
        fs::create_dir_all(&own).unwrap();
        let held = Dir { path: own }.hold().unwrap();
        let files: Vec<File> =
            (0..100).map(|n| File::create(top.join(n.to_string())).unwrap()).collect();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    for file in &files {
                        file.lock().unwrap();
                    }
                    for file in &files {
                        file.unlock().unwrap();
                    }
                }
            });
            let found = (0..600).all(|_| held.dir.holder() == Some(Pid::this()));
            done.store(true, Ordering::Relaxed);
            assert!(found);
        });
        drop(held);
        fs::remove_dir_all(top).unwrap();
    }
}
