//! A source's files: found, told apart and hashed, by several threads.
//!
//! Every directory is opened from the root's descriptor without following a link, every file
//! from its directory's: who exchanges one meanwhile gains nothing outside.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use sha2::Digest as _;

use super::memory::{Known, Memory};
use crate::build::cancel::Cancel;
use crate::build::ignore::{Ignore, Seen};
use crate::error::{Error, Result};
use crate::layer::RootDir;
use crate::layer::at::{is_dir, kind, names, stat_at};
use crate::layer::entry::wanted;
use crate::layer::name::{ancestors, join, show, split};
use crate::layer::pack::attributes_at;
use crate::layer::settle::{attributes, errno};

const READ_DIR: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY);
/// So many names of a directory are one thread's work at a time.
const CHUNK: usize = 512;
const BUFFER: usize = 128 << 10;
/// More threads than this only wait for each other.
const THREADS: usize = 8;

/// Extended attributes, sorted.
pub(super) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// What is walked.
pub(super) struct Walk<'a> {
    pub root: &'a RootDir,
    /// A clean path below the root.
    pub top: &'a [u8],
    /// Of paths from the root.
    pub ignore: &'a Ignore,
    /// Of paths from the top.
    pub exclude: &'a Ignore,
    /// Of paths from the top: nothing else is taken.
    pub include: Option<&'a Ignore>,
    pub memory: Option<&'a Memory>,
    pub cancel: Option<&'a Cancel>,
}

/// One thing found.
pub(super) struct Entry {
    /// Its path from the top, empty for the top itself.
    pub path: Vec<u8>,
    pub stat: FileStat,
    /// A link's text.
    pub link: Vec<u8>,
    pub xattrs: Xattrs,
    /// The sha256 of a file's content.
    pub content: [u8; 32],
    /// Taken only if something in it is.
    maybe: bool,
}

/// A directory, or some of its names.
struct Task {
    path: Vec<u8>,
    names: Option<Vec<Vec<u8>>>,
    seen: SeenAll,
}

#[derive(Clone, Default)]
struct SeenAll {
    ignore: Seen,
    exclude: Seen,
    include: Seen,
}

struct Queue {
    tasks: Vec<Task>,
    /// Threads at work.
    busy: usize,
    failed: Option<Error>,
}

impl Walk<'_> {
    /// All there is, sorted, the top first.
    pub fn run(&self) -> Result<Vec<Entry>> {
        let top = self.top()?;
        let mut found = Vec::new();
        if is_dir(&top.stat) {
            let seen = SeenAll { ignore: self.ignore.seen(self.top), ..SeenAll::default() };
            let first = Task { path: Vec::new(), names: None, seen };
            let mut tasks = Vec::new();
            let mut buffer = vec![0; BUFFER];
            self.work(first, &mut tasks, &mut found, &mut buffer)?;
            if !tasks.is_empty() {
                self.together(tasks, &mut found)?;
            }
        }
        found.push(top);
        let needed: HashSet<Vec<u8>> = if found.iter().any(|e| e.maybe) {
            let sure = found.iter().filter(|e| !e.maybe);
            sure.flat_map(|e| ancestors(&e.path).skip(1).map(<[u8]>::to_vec)).collect()
        } else {
            HashSet::new()
        };
        found.retain(|e| !e.maybe || needed.contains(&e.path));
        found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    fn together(&self, tasks: Vec<Task>, found: &mut Vec<Entry>) -> Result<()> {
        let queue = Mutex::new(Queue { tasks, busy: 0, failed: None });
        let more = Condvar::new();
        let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS);
        let parts = thread::scope(|scope| {
            let workers: Vec<_> =
                (0..threads).map(|_| scope.spawn(|| self.worker(&queue, &more))).collect();
            workers.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
        });
        for part in parts {
            found.extend(part.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        let queue = queue.into_inner().unwrap_or_else(PoisonError::into_inner);
        queue.failed.map_or(Ok(()), Err)
    }

    fn worker(&self, queue: &Mutex<Queue>, more: &Condvar) -> Vec<Entry> {
        let lock = || queue.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut found, mut buffer) = (Vec::new(), vec![0; BUFFER]);
        let mut state = lock();
        loop {
            if state.failed.is_some() {
                return found;
            }
            let Some(task) = state.tasks.pop() else {
                if state.busy == 0 {
                    more.notify_all();
                    return found;
                }
                state = more.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.busy += 1;
            drop(state);
            let mut tasks = Vec::new();
            let done = self.work(task, &mut tasks, &mut found, &mut buffer);
            state = lock();
            state.busy -= 1;
            state.tasks.append(&mut tasks);
            if let Err(e) = done {
                state.failed.get_or_insert(e);
            }
            more.notify_all();
        }
    }

    fn fail(&self, action: &'static str, path: &[u8], errno: Errno) -> Error {
        self.root.error(action, &join_below(self.top, path), errno)
    }

    fn top(&self) -> Result<Entry> {
        let (up, base) = split(self.top);
        let fail = |e| self.fail("read", b"", e);
        let dir = self.root.open_plain(up, READ_DIR).map_err(fail)?;
        let (base, stat) = if base.is_empty() {
            (b".".as_slice(), fstat(&dir).map_err(fail)?)
        } else {
            (base, stat_at(&dir, base).map_err(fail)?)
        };
        let mut buffer = vec![0; if is_dir(&stat) { 0 } else { BUFFER }];
        let entry = self.examine(&dir, base, Vec::new(), stat, &mut buffer)?;
        entry.ok_or_else(|| fail(Errno::ENOENT))
    }

    /// Does a task; what it finds to do goes to `tasks`.
    fn work(
        &self,
        task: Task,
        tasks: &mut Vec<Task>,
        found: &mut Vec<Entry>,
        buffer: &mut [u8],
    ) -> Result<()> {
        let whole = join_below(self.top, &task.path);
        let dir = match self.root.open_plain(&whole, READ_DIR) {
            Ok(dir) => dir,
            // Others may be at work there: what is gone was never there.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) if !task.path.is_empty() => {
                return Ok(());
            }
            Err(e) => return Err(self.fail("open", &task.path, e)),
        };
        let bases = if let Some(names) = task.names {
            names
        } else {
            let listing = dir.try_clone().map_err(Error::at("read", self.root.path()))?;
            names(listing).map_err(|e| self.fail("read", &task.path, e))?
        };
        let mut bases = bases.into_iter();
        loop {
            let chunk: Vec<Vec<u8>> = bases.by_ref().take(CHUNK).collect();
            if bases.len() == 0 {
                for base in chunk {
                    self.name(&dir, &task.path, &base, &task.seen, tasks, found, buffer)?;
                }
                return Ok(());
            }
            let (path, seen) = (task.path.clone(), task.seen.clone());
            tasks.push(Task { path, names: Some(chunk), seen });
        }
    }

    #[expect(clippy::too_many_arguments)]
    fn name(
        &self,
        dir: &OwnedFd,
        up: &[u8],
        base: &[u8],
        seen: &SeenAll,
        tasks: &mut Vec<Task>,
        found: &mut Vec<Entry>,
        buffer: &mut [u8],
    ) -> Result<()> {
        let path = join(up, base);
        let whole = join_below(self.top, &path);
        let stat = match stat_at(dir, base) {
            Ok(stat) => stat,
            Err(Errno::ENOENT) => return Ok(()),
            Err(e) => return Err(self.fail("read", &path, e)),
        };
        if !is_dir(&stat) {
            let left_out = self.ignore.matches_in(&seen.ignore, &whole)
                || self.exclude.matches_in(&seen.exclude, &path)
                || self.include.is_some_and(|i| !i.matches_in(&seen.include, &path));
            if !left_out {
                found.extend(self.examine(dir, base, path, stat, buffer)?);
            }
            return Ok(());
        }
        let (ignored, ignore) = self.ignore.enter(&seen.ignore, &whole);
        let (excluded, exclude) = self.exclude.enter(&seen.exclude, &path);
        let (taken, include) = match self.include {
            Some(include) => include.enter(&seen.include, &path),
            None => (true, Seen::default()),
        };
        if ignored && !self.ignore.spares_below(&whole)
            || excluded && !self.exclude.spares_below(&path)
            || !taken && self.include.is_some_and(|i| !i.reaches_below(&path))
        {
            return Ok(());
        }
        let maybe = ignored || excluded || !taken;
        let Some(entry) = self.examine(dir, base, path.clone(), stat, buffer)? else {
            return Ok(());
        };
        found.push(Entry { maybe, ..entry });
        let seen = SeenAll { ignore, exclude, include };
        tasks.push(Task { path, names: None, seen });
        Ok(())
    }

    /// What there is to know of it; `None` if it is gone.
    fn examine(
        &self,
        dir: &OwnedFd,
        base: &[u8],
        path: Vec<u8>,
        stat: FileStat,
        buffer: &mut [u8],
    ) -> Result<Option<Entry>> {
        let fail = |e| self.fail("read", &path, e);
        let mut entry = Entry {
            path: Vec::new(),
            stat,
            link: vec![],
            xattrs: vec![],
            content: [0; 32],
            maybe: false,
        };
        match kind(&stat) {
            SFlag::S_IFREG => {
                let known = self.memory.and_then(|memory| memory.get(&stat));
                if let Some(known) = known {
                    entry.content = known.content;
                    if known.attributes {
                        entry.xattrs = kept(attributes_at(dir, base).map_err(fail)?);
                    }
                } else {
                    let Some(file) = open(dir, base).map_err(fail)? else { return Ok(None) };
                    self.read(file, &mut entry, buffer).map_err(fail)?;
                }
            }
            SFlag::S_IFLNK => {
                entry.link = match readlinkat(dir, base) {
                    Ok(text) => std::os::unix::ffi::OsStringExt::into_vec(text),
                    Err(Errno::ENOENT | Errno::EINVAL) => return Ok(None),
                    Err(e) => return Err(fail(e)),
                };
                entry.xattrs = kept(attributes_at(dir, base).map_err(fail)?);
            }
            _ => match attributes_at(dir, base) {
                Ok(all) => entry.xattrs = kept(all),
                Err(Errno::ENOENT) => return Ok(None),
                Err(e) => return Err(fail(e)),
            },
        }
        entry.path = path;
        Ok(Some(entry))
    }

    fn read(&self, file: OwnedFd, entry: &mut Entry, buffer: &mut [u8]) -> nix::Result<()> {
        let stat = fstat(&file)?;
        entry.stat = stat;
        entry.xattrs = kept(attributes(&file)?);
        let (content, size) = hash(file, buffer, self.cancel)?;
        entry.content = content;
        // Whoever appends meanwhile: as much as was read.
        let whole = stat.st_size.cast_unsigned() == size;
        entry.stat.st_size = size.cast_signed();
        if let Some(memory) = self.memory
            && whole
        {
            memory.put(&stat, Known { content, attributes: !entry.xattrs.is_empty() });
        }
        Ok(())
    }
}

/// Opens a file; `None` if it is none. A device isn't even opened: that alone can start it. What
/// becomes a fifo meanwhile is not waited for.
pub(super) fn open(dir: impl AsFd, base: &[u8]) -> nix::Result<Option<OwnedFd>> {
    match stat_at(&dir, base) {
        Ok(stat) if kind(&stat) == SFlag::S_IFREG => {}
        Ok(_) | Err(Errno::ENOENT) => return Ok(None),
        Err(e) => return Err(e),
    }
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    match openat(dir, base, flags | OFlag::O_NOCTTY, Mode::empty()) {
        Ok(file) if kind(&fstat(&file)?) == SFlag::S_IFREG => Ok(Some(file)),
        Ok(_) | Err(Errno::ENOENT | Errno::ELOOP | Errno::ENXIO) => Ok(None),
        Err(e) => Err(e),
    }
}

/// A file's sha256 and length.
fn hash(file: OwnedFd, buffer: &mut [u8], cancel: Option<&Cancel>) -> nix::Result<([u8; 32], u64)> {
    let mut file = File::from(file);
    let (mut hasher, mut size) = (sha2::Sha256::new(), 0);
    loop {
        match file.read(buffer) {
            Ok(0) => return Ok((hasher.finalize().into(), size)),
            // A large one takes a while.
            Ok(_) if cancel.is_some_and(Cancel::is_stopped) => return Err(Errno::ECANCELED),
            Ok(n) => {
                hasher.update(&buffer[..n]);
                size += n as u64;
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(errno(&e)),
        }
    }
}

/// The attributes that a layer keeps.
fn kept(mut all: Xattrs) -> Xattrs {
    all.retain(|(key, _)| wanted(key));
    all
}

/// A clean path below another, either of which may be empty.
pub(super) fn join_below(top: &[u8], path: &[u8]) -> Vec<u8> {
    if path.is_empty() { top.to_vec() } else { join(top, path) }
}

/// Something isn't any more what it was when it was hashed.
pub(super) fn unsteady(path: &[u8]) -> Error {
    Error::Conflict(format!(
        "cannot copy {}: it was changed while it was read; build again when it rests",
        show(path)
    ))
}
