//! Entries become files. The sinks share everything but what a layer below means:
//!
//! - `Plain`: layers one after the other into one root; whiteouts remove.
//! - `Overlay`: each layer alone in a directory of its own, for overlayfs; whiteouts are
//!   made. What needs the layers below (a hard link into one, the metadata of a directory
//!   never mentioned) is deferred to [`super::settle`].
//! - `Live`: no layer, but files for a directory that others use; see [`super::extract`].
//!
//! A regular file costs openat, write, utimensat and close, and fchown if it isn't ours.

use std::io::{self, BufRead};

use dhow_kernel::xattr;
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, makedev, mknodat, umask};
use nix::unistd::{getegid, geteuid};

use super::at::{RootDir, is_dir, kind, names, open_dir, remove_at, stat_at};
use super::entry::{Body, Device, Entries, Entry, Kind, Meta, invalid};
use super::journal::{Debt, Journal};
use super::name::{Name, join};
use super::parents::{Parent, Parents};
use super::pax::Time;
use super::remap::Manner;
use super::whiteout::opaque_xattr;
use crate::error::{Error, Result};
use crate::rootless;

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
    /// Into a directory that others use: directories are merged, and never replaced.
    Live(Owner),
}

/// Whose the files become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The owners the archive names.
    Archive,
    /// This user and group.
    Fixed(u32, u32),
    /// Who makes them; nothing changes owners.
    Maker,
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
    /// Devices that only root could make; empty files stand in their place.
    pub devices: u64,
}

/// Unpacks `entries` into `root`. Directory metadata is owed to `journal` until [`super::seal`].
///
/// Must run on a thread of its own (see [`private_umask`]) to give modes exactly in one call.
pub fn apply<R: BufRead>(
    root: &RootDir,
    entries: &mut Entries<R>,
    sink: Sink,
    journal: &mut Journal,
) -> Result<Applied> {
    apply_as(root, entries, sink, journal, Manner::own())
}

/// The same, with the owners and in the way that `manner` says.
pub fn apply_as<R: BufRead>(
    root: &RootDir,
    entries: &mut Entries<R>,
    sink: Sink,
    journal: &mut Journal,
    manner: &Manner,
) -> Result<Applied> {
    let mut this = Apply {
        root,
        sink,
        manner,
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
    pub manner: &'a Manner,
    pub journal: &'a mut Journal,
    pub parents: Parents,
    /// Whether a mode given at creation is the mode that comes out.
    pub exact: bool,
    /// Whose new files are.
    pub owner: (u32, u32),
    pub done: Applied,
}

impl Apply<'_> {
    fn begin(&mut self) -> Result<()> {
        let root = Name::default();
        match self.sink {
            Sink::Overlay => self.journal.deferred.push(&Debt::Implicit(root)),
            Sink::Plain { first: true } => self.journal.restore(root, Time::default()),
            Sink::Plain { first: false } | Sink::Live(_) => Ok(()),
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
        mut meta: Meta,
        kind: Kind,
        entries: &mut Entries<R>,
    ) -> Result<()> {
        if let Sink::Live(Owner::Fixed(uid, gid)) = self.sink {
            (meta.uid, meta.gid) = (uid, gid);
        }
        if !matches!(kind, Kind::Whiteout | Kind::Opaque | Kind::Hardlink(_)) {
            self.manner.outside(&mut meta)?;
        }
        match (&kind, name.is_root()) {
            // The directory that takes it all keeps what it has.
            (Kind::Dir, true) if matches!(self.sink, Sink::Live(_)) => return Ok(()),
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
            Kind::Char(device) => self.device(&at, &meta, SFlag::S_IFCHR, device, entries),
            Kind::Block(device) => self.device(&at, &meta, SFlag::S_IFBLK, device, entries),
            Kind::Fifo => self.node(&at, &meta, SFlag::S_IFIFO, Device { major: 0, minor: 0 }),
            Kind::Whiteout | Kind::Opaque => Ok(()),
        }
    }

    /// A device; in one root an empty file, if we may not make it.
    fn device<R: BufRead>(
        &mut self,
        at: &Place<'_>,
        meta: &Meta,
        kind: SFlag,
        device: Device,
        entries: &mut Entries<R>,
    ) -> Result<()> {
        if !self.manner.rootless {
            match self.node(at, meta, kind, device) {
                // KERNEL: user_namespaces(7): its root may not, either.
                Err(Error::Io { source, .. })
                    if (matches!(self.sink, Sink::Plain { .. }) || rootless::is_confined())
                        && source.raw_os_error() == Some(libc::EPERM) => {}
                done => return done,
            }
        }
        self.done.devices += 1;
        self.file(at, meta, &Body { size: 0, segments: None }, entries)
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
            Sink::Plain { first: true } | Sink::Live(_) => Ok(()),
            Sink::Plain { first: false } => self.clear(name.as_bytes().to_vec()),
            Sink::Overlay => {
                let dir = self.parent(name.as_bytes())?;
                let fd = open_dir(&dir.fd, b"");
                fd.and_then(|fd| xattr::set(&fd, opaque_xattr(), b"y"))
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
    pub fn fresh<T>(
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
        if matches!(self.sink, Sink::Live(_)) {
            return self.replace(at);
        }
        let Ok(stat) = stat_at(&at.parent.fd, at.base) else { return Ok(()) };
        if matches!(kind(&stat), SFlag::S_IFDIR | SFlag::S_IFLNK) {
            self.parents.forget();
        }
        remove_at(&at.parent.fd, at.base).map_err(|e| self.root.error("remove", at.path, e))
    }

    pub fn owe(&mut self, name: Name, meta: Meta) -> Result<()> {
        self.journal.seal(name, meta).map_err(|e| self.spill(e))
    }

    pub fn stat(&self, at: &Place<'_>) -> Result<nix::sys::stat::FileStat> {
        stat_at(&at.parent.fd, at.base).map_err(|e| self.root.error("stat", at.path, e))
    }
}

/// Where an entry goes.
pub(super) struct Place<'a> {
    pub parent: &'a Parent,
    pub base: &'a [u8],
    /// The parent's real path, and the base.
    pub path: &'a [u8],
}

fn within(name: &Name, error: Error) -> Error {
    match error {
        Error::Invalid { what, why } if what == "archive" => {
            Error::invalid(format!("archive entry {name}"), why)
        }
        other => other,
    }
}
