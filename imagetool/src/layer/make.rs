//! Making one thing of each kind, with its metadata, by descriptor.

use std::ffi::CString;
use std::fs::File;
use std::hash::Hasher;
use std::io::{BufRead, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

use dhow_kernel::xattr;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{
    FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, fstat, futimens, makedev,
    mkdirat, mknodat, utimensat,
};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, linkat, symlinkat, unlinkat};

use super::apply::{Apply, Owner, Place, Sink};
use super::at::{is_dir, is_whiteout, kind, stat_at};
use super::entry::{Body, Device, Entries, Meta, invalid};
use super::journal::Debt;
use super::name::Name;
use super::parents::Parent;
use super::remap::OWNER;
use super::seal::timespec;
use super::sums::Sums;
use crate::error::{Error, Result};
use crate::pieces::{PIECE, Pieces};

impl Apply<'_> {
    pub(super) fn dir(&mut self, at: &Place<'_>, meta: Meta) -> Result<()> {
        let mode = Mode::from_bits_truncate(self.first_dir_mode(&meta));
        let make = || mkdirat(&at.parent.fd, at.base, mode);
        match make() {
            Ok(()) => {}
            Err(Errno::EEXIST) if is_dir(&self.stat(at)?) => {}
            Err(Errno::EEXIST) if matches!(self.sink, Sink::Live(_)) => {
                return Err(Error::Overwrite { path: at.path.to_vec(), directory: false });
            }
            Err(Errno::EEXIST) if self.manner.keep_dirlinks && self.leads_to_dir(at)? => {
                return Ok(());
            }
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

    /// The mode that a directory begins with: its own, if that keeps nothing out that is to come into it.
    fn first_dir_mode(&self, meta: &Meta) -> u32 {
        let new = matches!(self.sink, Sink::Overlay | Sink::Plain { first: true });
        let own = new && self.exact && self.owner.0 == 0 && meta.mode & 0o700 == 0o700;
        // KERNEL: mkdir(2) gives no setuid and no setgid.
        if own { meta.mode & 0o1777 } else { 0o700 }
    }

    /// Whether this is a link to a directory of this root.
    fn leads_to_dir(&self, at: &Place<'_>) -> Result<bool> {
        let is_link = kind(&self.stat(at)?) == SFlag::S_IFLNK;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        Ok(is_link && self.root.open_inside(at.path, flags).is_ok())
    }

    pub(super) fn file<R: BufRead>(
        &mut self,
        at: &Place<'_>,
        meta: &Meta,
        body: &Body,
        entries: &mut Entries<R>,
    ) -> Result<()> {
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(self.first_mode(meta));
        let make = || openat(&at.parent.fd, at.base, flags, mode);
        let (fd, mounted) = self.fresh_file(at, make)?;
        let mut file = File::from(fd);
        let done = self.fill(at, meta, body, entries, &mut file);
        if done.is_err() && !mounted && matches!(self.sink, Sink::Live(_)) {
            let _ = unlinkat(&at.parent.fd, at.base, UnlinkatFlags::NoRemoveDir);
        }
        done
    }

    /// The mode that a file begins with. KERNEL: xattr(7): only who may write sets user.*.
    fn first_mode(&self, meta: &Meta) -> u32 {
        let opened = self.manner.rootless && !meta.xattrs.is_empty();
        if opened { meta.mode | 0o600 } else { meta.mode }
    }

    /// A new file's content and metadata.
    fn fill<R: BufRead>(
        &mut self,
        at: &Place<'_>,
        meta: &Meta,
        body: &Body,
        entries: &mut Entries<R>,
        file: &mut File,
    ) -> Result<()> {
        let mode = Mode::from_bits_truncate(meta.mode);
        let mut end = 0;
        let mut sum = self.journal.sums.as_ref().map(Sums::begin);
        let fail = |e| Error::from_io("write", self.host_path(at), e);
        entries.body(body, |offset, bytes| {
            end = offset + bytes.len() as u64;
            if let Some(sum) = &mut sum {
                sum.write(bytes);
            }
            if body.segments.is_none() {
                return Pieces(&mut *file).write_all(bytes).map_err(fail);
            }
            let mut at = offset;
            bytes.chunks(PIECE).try_for_each(|piece| {
                file.write_all_at(piece, at).map_err(fail)?;
                at += piece.len() as u64;
                Ok(())
            })
        })?;
        if end < body.size {
            file.set_len(body.size).map_err(fail)?;
        }
        self.done.size = self.done.size.saturating_add(body.size);
        if self.foreign(meta, at.parent) {
            fchown(&*file, Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)))
                .map_err(|e| self.root.error("change the owner of", at.path, e))?;
        }
        for (key, value) in &meta.xattrs {
            let set = |key: &CString| xattr::set(&*file, key, value);
            self.attribute(at.path, (key, value), set)?;
        }
        // KERNEL: chown(2) clears setuid and setgid.
        if !self.exact || meta.mode & 0o7000 != 0 || self.first_mode(meta) != meta.mode {
            fchmod(&*file, mode).map_err(|e| self.root.error("change the mode of", at.path, e))?;
        }
        if let (Some(sum), Some(sums)) = (sum, self.journal.sums.as_mut()) {
            let stat = fstat(&*file).map_err(|e| self.root.error("stat", at.path, e))?;
            // Of one with holes only a part has passed by.
            if body.segments.is_none() {
                sums.add(stat.st_ino, &sum);
            }
            if !meta.xattrs.is_empty() {
                sums.mark(stat.st_ino);
            }
        }
        let time = timespec(meta.mtime);
        futimens(&*file, &time, &time).map_err(|e| self.root.error("set the time of", at.path, e))
    }

    pub(super) fn symlink(&mut self, at: &Place<'_>, meta: &Meta, text: &[u8]) -> Result<()> {
        self.fresh(at, "create", || symlinkat(text, &at.parent.fd, at.base))?;
        self.metadata_at(at, meta)
    }

    pub(super) fn node(
        &mut self,
        at: &Place<'_>,
        meta: &Meta,
        kind: SFlag,
        device: Device,
    ) -> Result<()> {
        let mode = Mode::from_bits_truncate(meta.mode);
        let device = makedev(u64::from(device.major), u64::from(device.minor));
        self.fresh(at, "create", || mknodat(&at.parent.fd, at.base, kind, mode, device))?;
        self.metadata_at(at, meta)?;
        if !self.exact || meta.mode & 0o7000 != 0 {
            chmod_at(&at.parent.fd, at.base, mode)
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
            self.attribute(at.path, (key, value), |key| xattr::set_at(dir, at.base, key, value))?;
        }
        if !meta.xattrs.is_empty() && self.journal.sums.is_some() {
            let inode = self.stat(at)?.st_ino;
            self.journal.sums.iter_mut().for_each(|sums| sums.mark(inode));
        }
        let time = timespec(meta.mtime);
        utimensat(dir, at.base, &time, &time, UtimensatFlags::NoFollowSymlink)
            .map_err(|e| self.root.error("set the time of", at.path, e))
    }

    pub(super) fn hardlink(&mut self, at: &Place<'_>, target: &Name) -> Result<()> {
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
            Sink::Plain { .. } | Sink::Live(_) => {
                Err(invalid(&format!("it is a hard link to {target}, which isn't there")))
            }
        }
    }

    /// Whether a new file has another owner than the layer wants.
    fn foreign(&self, meta: &Meta, parent: &Parent) -> bool {
        if self.sink == Sink::Live(Owner::Maker) {
            return false;
        }
        // KERNEL: a setgid directory (or the grpid option) gives its group.
        (meta.uid, meta.gid) != self.owner || parent.gid != self.owner.1
    }

    fn attribute(
        &mut self,
        path: &[u8],
        (key, value): (&[u8], &[u8]),
        set: impl FnOnce(&CString) -> nix::Result<()>,
    ) -> Result<()> {
        match set_attribute((key, value), set) {
            Ok(None) => Ok(()),
            // KERNEL: capabilities(7): only root gives them.
            Err(Errno::EPERM) if self.manner.rootless => {
                if self.done.lost.len() < 8 {
                    let key = String::from_utf8_lossy(key);
                    self.done.lost.push(format!("{key} on {}", Name::trusted(path)));
                }
                Ok(())
            }
            Ok(Some(lost)) => {
                if self.done.lost.len() < 8 && key != OWNER {
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

/// Changes the mode of what is called `base`, and never of what a link there leads to.
fn chmod_at(dir: &OwnedFd, base: &[u8], mode: Mode) -> nix::Result<()> {
    // KERNEL: fchmodat(2) follows links, and one may have come since; a descriptor doesn't.
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let itself = openat(dir, base, flags, Mode::empty())?;
    if kind(&fstat(&itself)?) == SFlag::S_IFLNK {
        return Err(Errno::ELOOP);
    }
    let path = format!("/proc/self/fd/{}", itself.as_raw_fd());
    fchmodat(AT_FDCWD, path.as_str(), mode, FchmodatFlags::FollowSymlink)
}

/// `Some(name)` if the file system or kernel doesn't hold such an attribute.
pub(super) fn set_attribute(
    (key, value): (&[u8], &[u8]),
    set: impl FnOnce(&CString) -> nix::Result<()>,
) -> nix::Result<Option<String>> {
    /// Some 4 KiB is what ext4 has room for; a full disk refuses small ones, too.
    const LARGE: usize = 2 << 10;
    let name = CString::new(key).map_err(|_| Errno::EINVAL)?;
    let e = match set(&name) {
        Ok(()) => return Ok(None),
        Err(e) => e,
    };
    let unfit = match e {
        // EPERM: user.* on a link or device, xattr(7).
        Errno::EOPNOTSUPP | Errno::EPERM => true,
        // KERNEL: too large a one is E2BIG to the VFS, ENOSPC or ERANGE to file systems.
        Errno::E2BIG | Errno::ERANGE | Errno::ENOSPC => value.len() > LARGE,
        _ => false,
    };
    // Capabilities must not get lost.
    if unfit && key != b"security.capability" {
        Ok(Some(name.to_string_lossy().into_owned()))
    } else {
        Err(e)
    }
}
