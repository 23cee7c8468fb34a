//! Entries become files. Two sinks share everything but what a layer below means:
//!
//! - `Plain`: layers one after the other into one root; whiteouts remove.
//! - `Overlay`: each layer alone in a directory of its own, for overlayfs; whiteouts are
//!   made. What needs the layers below (a hard link into one, the metadata of a directory
//!   never mentioned) is deferred to [`super::settle`].
//!
//! A regular file costs openat, write, utimensat and close, and fchown if it isn't ours.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, BufRead, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use dhow_kernel::xattr;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{
    FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, futimens, makedev, mkdirat,
    mknodat, umask, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat, getegid, geteuid, linkat, symlinkat};

use super::at::{RootDir, is_dir, is_whiteout, kind, names, open_dir, remove_at, stat_at};
use super::entry::{Body, Device, Entries, Entry, Kind, Meta, invalid};
use super::journal::{Debt, Journal};
use super::name::{Name, join};
use super::parents::{Parent, Parents};
use super::pax::Time;
use super::whiteout::OPAQUE_XATTR;
use crate::error::{Error, Result};

/// Where a layer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sink {
    /// Into one root; `first` if nothing lies below.
    Plain {
        /// Whether the root is empty.
        first: bool,
    },
    /// Into a directory of its own.
    Overlay,
}

/// What a layer came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The lengths of its regular files together, as docker counts a layer's size.
    pub size: u64,
    /// Its entries.
    pub entries: u64,
    /// Attributes that the file system can't hold, as "NAME on PATH"; the first few.
    pub lost: Vec<String>,
}

/// Unpacks `entries` into `root`. Directory metadata is owed to `journal` until [`seal`].
///
/// Must run on a thread of its own (see [`private_umask`]) to give modes exactly in one call.
pub fn apply<R: BufRead>(
    root: &RootDir,
    entries: &mut Entries<R>,
    sink: Sink,
    journal: &mut Journal,
) -> Result<Applied> {
    let mut this = Apply {
        root,
        sink,
        journal,
        parents: Parents::default(),
        exact: private_umask(),
        owner: (geteuid().as_raw(), getegid().as_raw()),
        done: Applied::default(),
    };
    this.begin()?;
    while let Some(Entry { name, meta, kind }) = entries.advance()? {
        this.done.entries += 1;
        this.entry(&name, meta, kind, entries).map_err(|e| within(&name, e))?;
    }
    Ok(this.done)
}

/// Gives the calling thread a umask of its own, 0. `false` if it can't have one.
/// KERNEL: unshare(2): CLONE_FS needs no privilege; threads share the umask otherwise.
pub(super) fn private_umask() -> bool {
    let own = unshare(CloneFlags::CLONE_FS).is_ok();
    if own {
        umask(Mode::empty());
    }
    own
}

pub(super) struct Apply<'a> {
    pub root: &'a RootDir,
    pub sink: Sink,
    pub journal: &'a mut Journal,
    pub parents: Parents,
    /// Whether a mode given at creation is the mode that comes out.
    exact: bool,
    owner: (u32, u32),
    done: Applied,
}

impl Apply<'_> {
    fn begin(&mut self) -> Result<()> {
        let root = Name::default();
        match self.sink {
            Sink::Overlay => self.journal.deferred.push(&Debt::Implicit(root)),
            Sink::Plain { first: true } => self.journal.restore(root, Time::default()),
            Sink::Plain { first: false } => Ok(()),
        }
        .map_err(|e| self.spill(e))
    }

    /// Whether this layer's files must be told from those of layers below.
    pub fn tracks(&self) -> bool {
        self.sink == Sink::Plain { first: false }
    }

    pub fn spill(&self, error: io::Error) -> Error {
        Error::io("write the journal of", self.root.path(), error)
    }

    fn entry<R: BufRead>(
        &mut self,
        name: &Name,
        meta: Meta,
        kind: Kind,
        entries: &mut Entries<R>,
    ) -> Result<()> {
        match (&kind, name.is_root()) {
            (Kind::Whiteout, _) => return self.whiteout(name),
            (Kind::Opaque, _) => return self.opaque(name),
            (Kind::Dir, true) => return self.owe(name.clone(), meta),
            (_, true) => return Err(invalid("only a directory can be the root")),
            _ => {}
        }
        let (dir, base) = name.split();
        let parent = self.parent(dir)?;
        let path = join(&parent.path, base);
        if self.tracks() {
            self.journal.made.insert(&path).map_err(|e| self.spill(e))?;
        }
        let at = Place { parent: &parent, base, path: &path };
        match kind {
            Kind::Dir => self.dir(&at, meta),
            Kind::File(body) => self.file(&at, &meta, &body, entries),
            Kind::Symlink(text) => self.symlink(&at, &meta, &text),
            Kind::Hardlink(target) => self.hardlink(&at, &target),
            Kind::Char(device) => self.node(&at, &meta, SFlag::S_IFCHR, device),
            Kind::Block(device) => self.node(&at, &meta, SFlag::S_IFBLK, device),
            Kind::Fifo => self.node(&at, &meta, SFlag::S_IFIFO, Device { major: 0, minor: 0 }),
            Kind::Whiteout | Kind::Opaque => Ok(()),
        }
    }

    fn dir(&mut self, at: &Place<'_>, meta: Meta) -> Result<()> {
        let make = || mkdirat(&at.parent.fd, at.base, Mode::from_bits_truncate(0o700));
        match make() {
            Ok(()) => {}
            Err(Errno::EEXIST) if is_dir(&self.stat(at)?) => {}
            Err(Errno::EEXIST) => {
                self.fresh(at, "create", make)?;
                // Something of this layer hid what the layers below have here, and still does.
                if self.sink == Sink::Overlay {
                    self.opaque(&Name::trusted(at.path))?;
                }
            }
            Err(e) => return Err(self.root.error("create", at.path, e)),
        }
        self.owe(Name::trusted(at.path), meta)
    }

    fn file<R: BufRead>(
        &mut self,
        at: &Place<'_>,
        meta: &Meta,
        body: &Body,
        entries: &mut Entries<R>,
    ) -> Result<()> {
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(meta.mode);
        let fd = self.fresh(at, "create", || openat(&at.parent.fd, at.base, flags, mode))?;
        let mut file = File::from(fd);
        let mut end = 0;
        let fail = |e| Error::from_io("write", self.host_path(at), e);
        entries.body(body, |offset, bytes| {
            end = offset + bytes.len() as u64;
            if body.segments.is_some() {
                file.write_all_at(bytes, offset).map_err(fail)
            } else {
                file.write_all(bytes).map_err(fail)
            }
        })?;
        if end < body.size {
            file.set_len(body.size).map_err(fail)?;
        }
        self.done.size = self.done.size.saturating_add(body.size);
        if self.foreign(meta, at.parent) {
            fchown(&file, Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)))
                .map_err(|e| self.root.error("change the owner of", at.path, e))?;
        }
        // KERNEL: chown(2) clears setuid and setgid.
        if !self.exact || meta.mode & 0o7000 != 0 {
            fchmod(&file, mode).map_err(|e| self.root.error("change the mode of", at.path, e))?;
        }
        for (key, value) in &meta.xattrs {
            let set = |key: &CString| xattr::set(&file, key, value);
            self.attribute(at.path, key, set)?;
        }
        let time = timespec(meta.mtime);
        futimens(&file, &time, &time).map_err(|e| self.root.error("set the time of", at.path, e))
    }

    fn symlink(&mut self, at: &Place<'_>, meta: &Meta, text: &[u8]) -> Result<()> {
        self.fresh(at, "create", || symlinkat(text, &at.parent.fd, at.base))?;
        self.metadata_at(at, meta)
    }

    fn node(&mut self, at: &Place<'_>, meta: &Meta, kind: SFlag, device: Device) -> Result<()> {
        let mode = Mode::from_bits_truncate(meta.mode);
        let device = makedev(u64::from(device.major), u64::from(device.minor));
        self.fresh(at, "create", || mknodat(&at.parent.fd, at.base, kind, mode, device))?;
        self.metadata_at(at, meta)?;
        if !self.exact || meta.mode & 0o7000 != 0 {
            fchmodat(&at.parent.fd, at.base, mode, FchmodatFlags::FollowSymlink)
                .map_err(|e| self.root.error("change the mode of", at.path, e))?;
        }
        Ok(())
    }

    /// Owner, attributes and time of what can't be opened.
    fn metadata_at(&mut self, at: &Place<'_>, meta: &Meta) -> Result<()> {
        let dir = &at.parent.fd;
        if self.foreign(meta, at.parent) {
            let (uid, gid) = (Uid::from_raw(meta.uid), Gid::from_raw(meta.gid));
            fchownat(dir, at.base, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
                .map_err(|e| self.root.error("change the owner of", at.path, e))?;
        }
        for (key, value) in &meta.xattrs {
            self.attribute(at.path, key, |key| xattr::set_at(dir, at.base, key, value))?;
        }
        let time = timespec(meta.mtime);
        utimensat(dir, at.base, &time, &time, UtimensatFlags::NoFollowSymlink)
            .map_err(|e| self.root.error("set the time of", at.path, e))
    }

    fn hardlink(&mut self, at: &Place<'_>, target: &Name) -> Result<()> {
        let (dir, base) = target.split();
        if let Some(from) = self.existing(dir)? {
            if from.path == at.parent.path && base == at.base {
                return self.stat(at).map(drop);
            }
            let there = match stat_at(&from.fd, base) {
                Ok(stat) => self.sink != Sink::Overlay || !is_whiteout(&stat),
                Err(_) => false,
            };
            if there {
                let link = || linkat(&from.fd, base, &at.parent.fd, at.base, AtFlags::empty());
                return self.fresh(at, "link", link);
            }
        }
        match self.sink {
            Sink::Overlay => {
                let debt = Debt::Link(Name::trusted(at.path), target.clone());
                self.journal.deferred.push(&debt).map_err(|e| self.spill(e))
            }
            Sink::Plain { .. } => {
                Err(invalid(&format!("it is a hard link to {target}, which isn't there")))
            }
        }
    }

    fn whiteout(&mut self, name: &Name) -> Result<()> {
        let (dir, base) = name.split();
        if self.sink == (Sink::Plain { first: true }) {
            return Ok(());
        }
        if self.sink == Sink::Overlay {
            let parent = self.parent(dir)?;
            let path = Name::trusted(join(&parent.path, base));
            let none = Mode::empty();
            return match mknodat(&parent.fd, base, SFlag::S_IFCHR, none, makedev(0, 0)) {
                Ok(()) => {
                    self.journal.deferred.push(&Debt::Whiteout(path)).map_err(|e| self.spill(e))
                }
                // What this layer has is spared, but what lies below it is not.
                Err(Errno::EEXIST) => match stat_at(&parent.fd, base) {
                    Ok(stat) if is_dir(&stat) => self.opaque(&path),
                    _ => Ok(()),
                },
                Err(e) => Err(self.root.error("create", path.as_bytes(), e)),
            };
        }
        let Some(parent) = self.existing(dir)? else { return Ok(()) };
        let path = join(&parent.path, base);
        if self.journal.made.contains(&path).map_err(|e| self.spill(e))? {
            return self.clear(path);
        }
        self.displace(&Place { parent: &parent, base, path: &path })
    }

    /// A directory that shows nothing of the layers below.
    pub fn opaque(&mut self, name: &Name) -> Result<()> {
        match self.sink {
            Sink::Plain { first: true } => Ok(()),
            Sink::Plain { first: false } => self.clear(name.as_bytes().to_vec()),
            Sink::Overlay => {
                let dir = self.parent(name.as_bytes())?;
                let fd = open_dir(&dir.fd, b"");
                fd.and_then(|fd| xattr::set(&fd, OPAQUE_XATTR, b"y"))
                    .map_err(|e| self.root.error("mark as opaque", &dir.path, e))
            }
        }
    }

    /// Removes from a directory what this layer didn't make.
    fn clear(&mut self, path: Vec<u8>) -> Result<()> {
        let mut todo = vec![path];
        while let Some(path) = todo.pop() {
            let Some(dir) = self.existing(&path)? else { continue };
            let fail = |e| self.root.error("clear", &dir.path, e);
            for base in names(open_dir(&dir.fd, b"").map_err(fail)?).map_err(fail)? {
                let child = join(&dir.path, &base);
                if !self.journal.made.contains(&child).map_err(|e| self.spill(e))? {
                    remove_at(&dir.fd, &base).map_err(fail)?;
                } else if stat_at(&dir.fd, &base).is_ok_and(|stat| is_dir(&stat)) {
                    todo.push(child);
                }
            }
        }
        self.parents.forget();
        Ok(())
    }

    /// Makes something new; what was there goes.
    fn fresh<T>(
        &mut self,
        at: &Place<'_>,
        action: &'static str,
        make: impl Fn() -> nix::Result<T>,
    ) -> Result<T> {
        match make() {
            Err(Errno::EEXIST) => {
                self.displace(at)?;
                make()
            }
            done => done,
        }
        .map_err(|e| self.root.error(action, at.path, e))
    }

    fn displace(&mut self, at: &Place<'_>) -> Result<()> {
        let Ok(stat) = stat_at(&at.parent.fd, at.base) else { return Ok(()) };
        if matches!(kind(&stat), SFlag::S_IFDIR | SFlag::S_IFLNK) {
            self.parents.forget();
        }
        remove_at(&at.parent.fd, at.base).map_err(|e| self.root.error("remove", at.path, e))
    }

    fn owe(&mut self, name: Name, meta: Meta) -> Result<()> {
        self.journal.seal(name, meta).map_err(|e| self.spill(e))
    }

    fn stat(&self, at: &Place<'_>) -> Result<nix::sys::stat::FileStat> {
        stat_at(&at.parent.fd, at.base).map_err(|e| self.root.error("stat", at.path, e))
    }

    /// Whether a new file has another owner than the layer wants.
    fn foreign(&self, meta: &Meta, parent: &Parent) -> bool {
        // KERNEL: a setgid directory (or the grpid option) gives its group.
        (meta.uid, meta.gid) != self.owner || parent.gid != self.owner.1
    }

    fn attribute(
        &mut self,
        path: &[u8],
        key: &[u8],
        set: impl FnOnce(&CString) -> nix::Result<()>,
    ) -> Result<()> {
        match set_attribute(key, set) {
            Ok(None) => Ok(()),
            Ok(Some(lost)) => {
                if self.done.lost.len() < 8 {
                    self.done.lost.push(format!("{lost} on {}", Name::trusted(path)));
                }
                Ok(())
            }
            Err(e) => Err(self.root.error("set an attribute of", path, e)),
        }
    }

    fn host_path(&self, at: &Place<'_>) -> std::path::PathBuf {
        use std::os::unix::ffi::OsStrExt;
        self.root.path().join(std::ffi::OsStr::from_bytes(at.path))
    }
}

/// Where an entry goes.
struct Place<'a> {
    parent: &'a Parent,
    base: &'a [u8],
    /// The parent's real path, and the base.
    path: &'a [u8],
}

/// `Some(name)` if the file system or kernel doesn't hold such an attribute.
pub(super) fn set_attribute(
    key: &[u8],
    set: impl FnOnce(&CString) -> nix::Result<()>,
) -> nix::Result<Option<String>> {
    let name = CString::new(key).map_err(|_| Errno::EINVAL)?;
    match set(&name) {
        Ok(()) => Ok(None),
        // EPERM: user.* on a link or device, xattr(7). Capabilities must not get lost.
        Err(Errno::EOPNOTSUPP | Errno::EPERM) if key != b"security.capability" => {
            Ok(Some(name.to_string_lossy().into_owned()))
        }
        Err(e) => Err(e),
    }
}

pub(super) fn timespec(time: Time) -> TimeSpec {
    TimeSpec::new(time.secs, i64::from(time.nanos))
}

/// Gives the directories the metadata that is owed to them, each once.
///
/// Root may do that in any order. Others must do it deepest first, or a directory
/// without search permission would hide those below it.
pub fn seal(root: &RootDir, journal: &Journal, sink: Sink) -> Result<()> {
    let merged = sink == Sink::Plain { first: false };
    if geteuid().is_root() {
        return journal
            .dirs
            .each(|debt| seal_one(root, debt, merged).map_err(Stop))
            .map_err(|Stop(e)| e);
    }
    for level in (0..=journal.deepest).rev() {
        journal
            .dirs
            .each(|debt| match &debt {
                Debt::Seal(name, _) | Debt::Restore(name, _)
                    if super::name::depth(name.as_bytes()) == level =>
                {
                    seal_one(root, debt, merged).map_err(Stop)
                }
                _ => Ok(()),
            })
            .map_err(|Stop(e)| e)?;
    }
    Ok(())
}

/// Lets [`Spool::each`](super::journal::Spool::each) stop at our errors and at its own.
pub(super) struct Stop(pub Error);

impl From<io::Error> for Stop {
    fn from(e: io::Error) -> Self {
        Self(Error::io("read", "the layer's journal", e))
    }
}

fn seal_one(root: &RootDir, debt: Debt, merged: bool) -> Result<()> {
    let (name, meta, time) = match debt {
        Debt::Seal(name, meta) => (name, Some(meta.clone()), meta.mtime),
        Debt::Restore(name, time) => (name, None, time),
        _ => return Ok(()),
    };
    let path = name.as_bytes();
    let dir = match root.open_plain(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
        Ok(dir) => dir,
        // A later entry has put something else there.
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(()),
        Err(e) => return Err(root.error("open", path, e)),
    };
    if let Some(meta) = meta {
        set_metadata(&dir, &meta, merged).map_err(|e| root.error("set metadata of", path, e))?;
    }
    let time = timespec(time);
    futimens(&dir, &time, &time).map_err(|e| root.error("set the time of", path, e))
}

/// Owner, mode and attributes. `merged`: attributes of a layer below go.
pub(super) fn set_metadata(fd: &OwnedFd, meta: &Meta, merged: bool) -> nix::Result<()> {
    if merged || (meta.uid, meta.gid) != (geteuid().as_raw(), getegid().as_raw()) {
        fchown(fd, Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)))?;
    }
    fchmod(fd, Mode::from_bits_truncate(meta.mode))?;
    if merged {
        for key in xattr::list(fd)? {
            if !meta.xattrs.iter().any(|(k, _)| k == key.as_bytes()) {
                match xattr::remove(fd.as_fd(), &key) {
                    Ok(()) | Err(Errno::ENODATA | Errno::EPERM | Errno::EOPNOTSUPP) => {}
                    Err(e) => return Err(e),
                }
            }
        }
    }
    for (key, value) in &meta.xattrs {
        set_attribute(key, |key| xattr::set(fd, key, value))?;
    }
    Ok(())
}

fn within(name: &Name, error: Error) -> Error {
    match error {
        Error::Invalid { what, why } if what == "archive" => {
            Error::invalid(format!("archive entry {name}"), why)
        }
        other => other,
    }
}
