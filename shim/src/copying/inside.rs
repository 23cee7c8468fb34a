//! The container's end of a copy: everything through its view's root.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use dhow_image::layer::{Owner, RootDir};
use nix::errno::Errno;
use nix::fcntl::{OFlag, readlinkat};
use nix::sys::stat::{SFlag, fstat};
use nix::sys::statvfs::{FsFlags, fstatvfs};

use super::Named;
use super::path;
use super::rules::Target;
use super::stream::{Into, Source, Words};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::Record;
use crate::reach::View;

/// Links that one path may lead over.
const MOST_LINKS: usize = 255;
const ITSELF: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW);
const DIRECTORY: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY);

/// A container whose files are at hand.
pub struct Inside<'a> {
    view: View<'a>,
    record: &'a Record,
    /// As typed.
    name: &'a str,
}

/// What is at a path, the last part not followed.
struct Found {
    fd: OwnedFd,
    kind: SFlag,
}

impl<'a> Inside<'a> {
    pub fn open(host: &'a Host, named: &Named<'a>) -> Result<Self> {
        let Named { name, record } = *named;
        Ok(Self { view: View::open(host, record)?, record, name })
    }

    fn look(&self, path: &[u8]) -> Result<Found, Errno> {
        let fd = self.view.root().at(path, ITSELF)?;
        let mode = fstat(&fd)?.st_mode;
        Ok(Found { fd, kind: SFlag::from_bits_truncate(mode) & SFlag::S_IFMT })
    }

    fn missing(&self, path: &[u8]) -> Error {
        let path = path::shown(path);
        Error::not_found(format!("Could not find the file {path} in container {}", self.name))
    }

    fn said(&self, call: &str, path: &[u8], errno: Errno) -> Error {
        if errno == Errno::ENOENT {
            return self.missing(path);
        }
        Error::engine(format!("{call} {}: {}", path::shown(path), errno.desc().to_lowercase()))
    }

    /// What is to be copied out of the container.
    pub fn source(&self, typed: &[u8], follow: bool) -> Result<Source> {
        let mut full = path::absolute(b"/", typed);
        let name = path::base(&full).to_vec();
        let mut found = self.look(&full).map_err(|e| match e {
            Errno::ENOENT => self.missing(typed),
            e => self.said("lstat", &full, e),
        })?;
        if follow && found.kind == SFlag::S_IFLNK {
            let real = self.real(&full).map_err(|e| self.said("lstat", &full, e))?;
            full = path::keep_end(real, &full);
            found = self.look(&full).map_err(|e| self.said("lstat", &full, e))?;
        }
        let is_dir = found.kind == SFlag::S_IFDIR;
        let own_name = path::base(&full).to_vec();
        let (root, base) = if is_dir {
            (found.fd, Vec::new())
        } else {
            let (dir, base) = path::split(&full);
            let dir = self.view.root().at(&dir, DIRECTORY);
            (dir.map_err(|e| self.said("open", &full, e))?, base)
        };
        let root = RootDir::from_fd(root, path::shown(&full));
        Ok(Source { root, base, own_name, name, is_dir })
    }

    /// Where a copy in the container shall be. What can't be looked at counts as absent:
    /// the copy itself will say why not.
    pub fn target(&self, typed: &[u8]) -> Result<Target> {
        let mut path = typed.to_vec();
        let full = path::absolute(b"/", typed);
        let mut found = if typed.is_empty() { Err(Errno::ENOENT) } else { self.look(&full) };
        if matches!(&found, Ok(found) if found.kind == SFlag::S_IFLNK)
            && let Ok(real) = self.real(&full)
        {
            found = self.look(&real);
            path = real;
        }
        let kind = found.ok().map(|found| found.kind);
        if matches!(kind, Some(SFlag::S_IFCHR | SFlag::S_IFBLK)) {
            let place = format!("\"{}:{}\"", self.name, path::shown(typed));
            let what = "must be a directory or a regular file: got a device";
            return Err(Error::usage(format!("destination {place} {what}")));
        }
        Ok(Target { path, exists: kind.is_some(), is_dir: kind == Some(SFlag::S_IFDIR) })
    }

    /// The directory that a copy comes into, and whose it becomes.
    pub fn extraction(&self, dir: &[u8], archive: bool) -> Result<(Into, Words)> {
        let full = path::absolute(b"/", dir);
        let root = self.view.root();
        let fd = root.at(&full, DIRECTORY).map_err(|e| match e {
            Errno::ENOENT => self.missing(dir),
            Errno::ENOTDIR => Error::usage("extraction point is not a directory"),
            e => self.said("open", &full, e),
        })?;
        self.writable(&full, &fd)?;
        let owner = if archive && !self.record.config.user.is_empty() {
            self.user()?
        } else {
            Owner::Archive
        };
        let place = path::shown(&path::clean(&full));
        let namespace = self.view.namespace().try_clone_to_owned();
        let namespace = Some(namespace.map_err(|e| Error::engine(format!("reach {place}: {e}")))?);
        let into = Into { root: RootDir::from_fd(fd, place.as_str()), owner, namespace };
        Ok((into, Words { before: None, place: place.into() }))
    }

    /// Refuses what is mounted read-only, in docker's words.
    fn writable(&self, path: &[u8], dir: &OwnedFd) -> Result<()> {
        let flags = fstatvfs(dir).map_err(|e| self.said("stat", path, e))?.flags();
        if !flags.contains(FsFlags::ST_RDONLY) {
            return Ok(());
        }
        let real = self.real(path).unwrap_or_else(|_| path.to_vec());
        let within = |m: &&crate::model::MountPoint| {
            let rest = real.strip_prefix(m.destination.as_bytes());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        };
        Err(Error::usage(match self.record.mounts.iter().find(within) {
            Some(_) => "mounted volume is marked read-only",
            None => "container rootfs is marked read-only",
        }))
    }

    /// The container's user, by its own passwd.
    fn user(&self) -> Result<Owner> {
        let fail = |e: &dyn std::fmt::Display| Error::engine(format!("--archive: {e}"));
        let root = self.view.root().fd().try_clone_to_owned().map_err(|e| fail(&e))?;
        let root = RootDir::from_fd(root, "/");
        let user = dhow_image::bundle::user::resolve(&root, &self.record.config.user);
        user.map(|user| Owner::Fixed(user.uid, user.gid)).map_err(|e| fail(&e))
    }

    /// A path with its links resolved inside the root; what lacks stays as it is spelled.
    fn real(&self, path: &[u8]) -> Result<Vec<u8>, Errno> {
        let parts = |path: &[u8]| -> Vec<Vec<u8>> {
            let parts = path.split(|&b| b == b'/').filter(|p| !matches!(*p, b"" | b"."));
            parts.map(<[u8]>::to_vec).collect()
        };
        let mut todo: VecDeque<Vec<u8>> = parts(path).into();
        let mut done: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        let whole = |done: &[Vec<u8>]| [b"/", done.join(&b'/').as_slice()].concat();
        while let Some(part) = todo.pop_front() {
            if part == b".." {
                done.pop();
                continue;
            }
            done.push(part);
            match self.look(&whole(&done)) {
                Ok(found) if found.kind == SFlag::S_IFLNK => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(Errno::ELOOP);
                    }
                    let text = readlinkat(found.fd.as_fd(), "")?.into_vec();
                    done.pop();
                    if text.starts_with(b"/") {
                        done.clear();
                    }
                    for part in parts(&text).into_iter().rev() {
                        todo.push_front(part);
                    }
                }
                Ok(_) | Err(Errno::ENOENT) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(whole(&done))
    }
}
