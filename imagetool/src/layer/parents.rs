//! The directories that entries are made in: opened once, kept a while.

use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, mkdirat};

use super::apply::{Apply, Sink};
use super::at::{RootDir, is_whiteout, kind, remove_at, stat_at};
use super::entry::invalid;
use super::journal::Debt;
use super::name::{Name, ancestors, join, show, split};
use super::pax::Time;
use crate::error::Result;

/// An open directory.
#[derive(Debug)]
pub(super) struct Parent {
    pub fd: OwnedFd,
    /// Its path without links.
    pub path: Vec<u8>,
    /// Its group, which new files may inherit.
    pub gid: u32,
}

/// Descriptors kept at once; archives go directory by directory, so few are enough.
const KEPT: usize = 64;
const PATH_DIR: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW);

/// The cache, by the path as entries spell it.
#[derive(Debug, Default)]
pub(super) struct Parents {
    open: HashMap<Vec<u8>, Rc<Parent>>,
}

impl Parents {
    /// To be called whenever a directory or link goes: paths may mean something else.
    pub fn forget(&mut self) {
        self.open.clear();
    }

    fn keep(&mut self, path: &[u8], parent: Parent) -> Rc<Parent> {
        if self.open.len() >= KEPT {
            self.open.clear();
        }
        let parent = Rc::new(parent);
        self.open.insert(path.to_vec(), Rc::clone(&parent));
        parent
    }
}

impl Apply<'_> {
    /// The directory at `path`, made if it lacks; links in it lead no further than the root.
    pub(super) fn parent(&mut self, path: &[u8]) -> Result<Rc<Parent>> {
        if let Some(parent) = self.parents.open.get(path) {
            return Ok(Rc::clone(parent));
        }
        let (fd, real) = match self.root.open_plain(path, PATH_DIR) {
            Ok(fd) => (fd, path.to_vec()),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => self.walk(path)?,
            Err(e) => return Err(self.root.error("open", path, e)),
        };
        self.opened(path, fd, real)
    }

    /// The directory at `path` if it is there.
    pub(super) fn existing(&mut self, path: &[u8]) -> Result<Option<Rc<Parent>>> {
        if let Some(parent) = self.parents.open.get(path) {
            return Ok(Some(Rc::clone(parent)));
        }
        match self.root.open_plain(path, PATH_DIR) {
            Ok(fd) => self.opened(path, fd, path.to_vec()).map(Some),
            Err(Errno::ENOENT) => Ok(None),
            // Behind a link: rare, so the walk that makes what lacks may do it, once the
            // kernel has said that nothing lacks.
            Err(Errno::ENOTDIR | Errno::ELOOP) => {
                let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
                match self.root.open_inside(path, flags) {
                    Ok(_) => self.parent(path).map(Some),
                    Err(_) => Ok(None),
                }
            }
            Err(e) => Err(self.root.error("open", path, e)),
        }
    }

    fn opened(&mut self, path: &[u8], fd: OwnedFd, real: Vec<u8>) -> Result<Rc<Parent>> {
        let stat = fstat(&fd).map_err(|e| self.root.error("stat", &real, e))?;
        self.found(&real, &stat)?;
        if self.tracks() {
            for path in ancestors(&real) {
                self.journal.made.insert(path).map_err(|e| self.spill(e))?;
            }
        }
        Ok(self.parents.keep(path, Parent { fd, path: real, gid: stat.st_gid }))
    }

    /// A directory that something will come into or go from: in one root, it keeps its time.
    fn found(&mut self, path: &[u8], stat: &FileStat) -> Result<()> {
        if self.tracks() {
            let time = Time { secs: stat.st_mtime, nanos: stat.st_mtime_nsec as u32 };
            let name = Name::trusted(path);
            self.journal.restore(name, time).map_err(|e| self.spill(e))?;
        }
        Ok(())
    }

    /// Component by component: for paths that lack parts or lead over links.
    fn walk(&mut self, wanted: &[u8]) -> Result<(OwnedFd, Vec<u8>)> {
        let mut todo: VecDeque<Vec<u8>> = parts(wanted).collect();
        let mut path = Vec::new();
        let mut here = open_at(self.root, &path)?;
        let mut links = 0;
        while let Some(part) = todo.pop_front() {
            if part == b".." {
                path.truncate(split(&path).0.len());
                here = open_at(self.root, &path)?;
                continue;
            }
            let next = join(&path, &part);
            match openat(&here, part.as_slice(), PATH_DIR | OFlag::O_CLOEXEC, Mode::empty()) {
                Ok(fd) => (here, path) = (fd, next),
                Err(Errno::ENOENT) => {
                    self.implicit(&here, &path, &part)?;
                    todo.push_front(part);
                }
                Err(Errno::ENOTDIR | Errno::ELOOP) => {
                    let stat =
                        stat_at(&here, &part).map_err(|e| self.root.error("stat", &next, e))?;
                    if self.sink == Sink::Overlay && is_whiteout(&stat) {
                        remove_at(&here, &part).map_err(|e| self.root.error("remove", &next, e))?;
                        self.implicit(&here, &path, &part)?;
                        self.opaque(&Name::trusted(next))?;
                        todo.push_front(part);
                        continue;
                    }
                    links += 1;
                    if kind(&stat) != SFlag::S_IFLNK || links > 40 {
                        return Err(invalid(&format!("{} is no directory", show(&next))));
                    }
                    let text = readlinkat(&here, part.as_slice())
                        .map_err(|e| self.root.error("read link", &next, e))?;
                    let text = std::os::unix::ffi::OsStringExt::into_vec(text);
                    if text.first() == Some(&b'/') {
                        path.clear();
                        here = open_at(self.root, &path)?;
                    }
                    let rest = std::mem::take(&mut todo);
                    todo = parts(&text).chain(rest).collect();
                    if todo.len() > 4096 {
                        return Err(invalid("its links lead nowhere"));
                    }
                }
                Err(e) => return Err(self.root.error("open", &next, e)),
            }
        }
        Ok((here, path))
    }

    /// A directory that no entry has described (yet).
    fn implicit(&mut self, dir: &OwnedFd, dir_path: &[u8], base: &[u8]) -> Result<()> {
        let path = Name::trusted(join(dir_path, base));
        let stat = fstat(dir).map_err(|e| self.root.error("stat", dir_path, e))?;
        self.found(dir_path, &stat)?;
        mkdirat(dir, base, Mode::from_bits_truncate(0o755))
            .map_err(|e| self.root.error("create", path.as_bytes(), e))?;
        if self.tracks() {
            self.journal.made.insert(path.as_bytes()).map_err(|e| self.spill(e))?;
        }
        match self.sink {
            Sink::Overlay => self.journal.deferred.push(&Debt::Implicit(path)),
            Sink::Plain { .. } => self.journal.restore(path, Time::default()),
            Sink::Live(_) => Ok(()),
        }
        .map_err(|e| self.spill(e))
    }
}

fn open_at(root: &RootDir, path: &[u8]) -> Result<OwnedFd> {
    root.open_plain(path, PATH_DIR).map_err(|e| root.error("open", path, e))
}

fn parts(path: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    path.split(|&b| b == b'/').filter(|p| !matches!(*p, b"" | b".")).map(<[u8]>::to_vec)
}
