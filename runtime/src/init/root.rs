//! The container's root as a handle that confines every path used inside it.
//!
//! CVE: 2021-30465, 2019-18837, 2023-27561: a path is never resolved twice, and
//! never outside: openat2(RESOLVE_IN_ROOT) yields a descriptor, and everything
//! is done to that descriptor.

use std::cell::RefCell;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use dhow_kernel::fd::Loose;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::{Mode, fstat, mkdirat};

use super::fault::{Because, Done};

/// A directory that paths can't leave.
#[derive(Debug)]
pub struct Root {
    fd: Loose,
    /// A directory that was used last: most of what is made lies in /dev.
    last: RefCell<Option<Kept>>,
    /// Where something empty was mounted last: asking what is in it is a call for nothing.
    empty: RefCell<Option<CString>>,
}

/// A directory, and the path that it was reached by.
#[derive(Debug)]
struct Kept {
    path: CString,
    fd: Rc<Loose>,
    /// Whether there is no link in it.
    plain: bool,
}

/// How a directory was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It was made just now.
    New,
    /// It is there, and no link leads to it.
    Plain,
    /// It is there, behind a link.
    Linked,
}

const HELD: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY);
const HELD_ITSELF: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW);

const CONFINED: ResolveFlag =
    ResolveFlag::RESOLVE_IN_ROOT.union(ResolveFlag::RESOLVE_NO_MAGICLINKS);

impl Root {
    /// Confines to the directory of `fd`.
    pub fn new(fd: impl Into<Loose>) -> Self {
        Self { fd: fd.into(), last: RefCell::default(), empty: RefCell::default() }
    }

    /// Keeps the directory at `path` for what comes into it: nothing may be mounted over it, or
    /// above it, before [`Self::forget`].
    fn remember(&self, path: &CStr, directory: Loose, found: Found) -> Rc<Loose> {
        let fd = Rc::new(directory);
        let (path, plain) = (path.to_owned(), found == Found::Plain);
        *self.last.borrow_mut() = Some(Kept { path, fd: Rc::clone(&fd), plain });
        fd
    }

    /// Whether the directory that is kept, if one is, was reached by names that are no links, and
    /// `path`, of which that is known, isn't that or above it.
    pub fn is_beside(&self, path: &CStr) -> bool {
        let last = self.last.borrow();
        let below = |kept: &CStr| {
            let rest = kept.to_bytes().strip_prefix(path.to_bytes());
            path.is_empty() || rest.is_some_and(|rest| rest.first().is_none_or(|b| *b == b'/'))
        };
        last.as_ref().is_none_or(|kept| kept.plain && !below(&kept.path))
    }

    /// Something is mounted: paths may lead elsewhere now.
    pub fn forget(&self) {
        *self.last.borrow_mut() = None;
    }

    fn remembered(&self, path: &CStr) -> Option<Rc<Loose>> {
        let last = self.last.borrow();
        last.as_ref().filter(|kept| kept.path.as_c_str() == path).map(|kept| Rc::clone(&kept.fd))
    }

    /// As [`Self::directory`], kept for the next that asks for the same.
    pub fn kept(&self, path: &CStr) -> Done<Rc<Loose>> {
        if let Some(known) = self.remembered(path) {
            return Ok(known);
        }
        self.directory_or_new(path).map(|(directory, found)| self.remember(path, directory, found))
    }

    /// Opens what is at `path` (relative, may be empty for the root itself).
    pub fn open(&self, path: &CStr, flags: OFlag) -> nix::Result<Loose> {
        self.open_with(path, flags, CONFINED)
    }

    /// As [`Self::open`], refusing symbolic links anywhere in `path`.
    pub fn open_plain(&self, path: &CStr, flags: OFlag) -> nix::Result<Loose> {
        self.open_with(path, flags, CONFINED | ResolveFlag::RESOLVE_NO_SYMLINKS)
    }

    fn open_with(&self, path: &CStr, flags: OFlag, resolve: ResolveFlag) -> nix::Result<Loose> {
        let path = if path.is_empty() { c"." } else { path };
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
        // KERNEL: openat2(2): EAGAIN when a rename raced with the walk; it is for trying again.
        let mut tries = 0;
        loop {
            match openat2(&self.fd, path, how) {
                Err(Errno::EAGAIN | Errno::EINTR) if tries < 128 => tries += 1,
                other => return other.map(Loose::from),
            }
        }
    }

    /// The directory at `path`, made with all its parents where missing.
    pub fn directory(&self, path: &CStr) -> Done<Loose> {
        self.directory_or_new(path).map(|(directory, _)| directory)
    }

    /// As [`Self::directory`], saying how it was found.
    pub fn directory_or_new(&self, path: &CStr) -> Done<(Loose, Found)> {
        let (parent, name) = split(path);
        if let Some(parent) = self.remembered(&parent)
            && is_name(&name)
            && let Some(made) = made_in(parent.as_fd(), &name, path)?
        {
            return Ok((made, Found::New));
        }
        // Of a file system that is new there is nothing to be found.
        let empty = is_name(&name) && self.empty.borrow().as_ref() == Some(&parent);
        if empty && let Some(made) = self.make_last(path)? {
            return Ok((made, Found::New));
        }
        match self.open_plain(path, HELD) {
            Err(Errno::ENOENT) => {}
            Err(Errno::ELOOP) => match self.open(path, HELD) {
                Err(Errno::ENOENT) => {}
                other => return other.because("open", shown(path)).map(|fd| (fd, Found::Linked)),
            },
            other => return other.because("open", shown(path)).map(|fd| (fd, Found::Plain)),
        }
        let made = match self.make_last(path)? {
            Some(made) => made,
            None => self.make(path, libc::S_IFDIR)?,
        };
        Ok((made, Found::New))
    }

    /// A file system with nothing in it has been mounted at `path`.
    pub fn mounted_empty(&self, path: &CStr) {
        *self.empty.borrow_mut() = Some(path.to_owned());
    }

    /// What is at `path` unless it is a directory; an empty file is made where nothing is.
    pub fn file(&self, path: &CStr) -> Done<Loose> {
        match self.open(path, OFlag::O_PATH) {
            Err(Errno::ENOENT) => self.make(path, libc::S_IFREG),
            other => other.because("open", shown(path)),
        }
    }

    /// The usual case of what is missing: a directory in one that is there. `None` when that isn't
    /// there either, or has something of that name, as a link to nothing.
    fn make_last(&self, path: &CStr) -> Done<Option<Loose>> {
        let (parent, name) = split(path);
        if !is_name(&name) {
            return Ok(None);
        }
        let (found, how) = match self.open_plain(&parent, HELD) {
            Err(Errno::ELOOP) => (self.open(&parent, HELD), Found::Linked),
            found => (found, Found::Plain),
        };
        match found {
            // More may come into it.
            Ok(found) => made_in(self.remember(&parent, found, how).as_fd(), &name, path),
            Err(_) => Ok(None),
        }
    }

    /// Walks as the kernel would inside this root, making what is missing, also
    /// behind a link that points to nothing yet. No step follows a link by itself.
    fn make(&self, path: &CStr, wanted: libc::mode_t) -> Done<Loose> {
        let mut walk = Walk::new(path.to_bytes());
        while let Some(part) = walk.next_part() {
            let here = walk.joined(&part);
            let kind = if walk.left.is_empty() { wanted } else { libc::S_IFDIR };
            let step = match self.open_plain(&here, HELD_ITSELF) {
                Err(Errno::ENOENT) => self.make_one(&walk.so_far(), &part, kind)?,
                other => other.because("open", shown(&here))?,
            };
            let found = fstat(&step).because("stat", shown(&here))?.st_mode & libc::S_IFMT;
            match found {
                libc::S_IFLNK => {
                    let text = readlinkat(&step, c"").because("readlink", shown(&here))?;
                    walk.follow(text.as_bytes()).because("open", shown(path))?;
                }
                libc::S_IFDIR => walk.enter(part),
                _ if kind == libc::S_IFREG => return Ok(step),
                _ => return Err(Errno::ENOTDIR).because("open", shown(&here)),
            }
        }
        let end = walk.so_far();
        self.open_plain(&end, HELD).because("open", shown(&end))
    }

    fn make_one(&self, parent: &CStr, name: &[u8], kind: libc::mode_t) -> Done<Loose> {
        let at = self.open_plain(parent, HELD).because("open", shown(parent))?;
        let slash = if parent.is_empty() { &b""[..] } else { b"/" };
        let path = CString::new([parent.to_bytes(), slash, name].concat()).unwrap_or_default();
        let (call, made) = if kind == libc::S_IFDIR {
            ("mkdir", mkdirat(&at, name, Mode::from_bits_truncate(0o755)))
        } else {
            let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let mode = Mode::from_bits_truncate(0o644);
            ("create", openat(&at, name, flags | OFlag::O_WRONLY, mode).map(drop))
        };
        match made {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno).because(call, shown(&path)),
        }
        openat(&at, name, HELD_ITSELF | OFlag::O_CLOEXEC, Mode::empty())
            .map(Loose::from)
            .because("open", shown(&path))
    }
}

/// Whether it names something in a directory, and not that or one above.
fn is_name(name: &CStr) -> bool {
    !matches!(name.to_bytes(), b"" | b"." | b"..")
}

/// A directory of that name in `parent`, made just now; `None` when there is something already.
fn made_in(parent: BorrowedFd<'_>, name: &CStr, path: &CStr) -> Done<Option<Loose>> {
    match mkdirat(parent, name, Mode::from_bits_truncate(0o755)) {
        Ok(()) => {}
        Err(Errno::EEXIST) => return Ok(None),
        Err(errno) => return Err(errno).because("mkdir", shown(path)),
    }
    // Whatever somebody has put there since is no way out.
    let itself = HELD | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(parent, name, itself, Mode::empty())
        .map(|made| Some(made.into()))
        .because("open", shown(path))
}

/// A path on its way through links, lexically inside the root.
struct Walk {
    so_far: Vec<Vec<u8>>,
    left: Vec<Vec<u8>>,
    links: u32,
}

/// As the kernel: path_resolution(7).
const MOST_LINKS: u32 = 40;

impl Walk {
    fn new(path: &[u8]) -> Self {
        let mut walk = Self { so_far: Vec::new(), left: Vec::new(), links: 0 };
        walk.push(path);
        walk
    }

    fn push(&mut self, path: &[u8]) {
        let parts = path.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".");
        self.left.extend(parts.rev().map(<[u8]>::to_vec));
    }

    fn next_part(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.left.pop()? {
                part if part == b".." => drop(self.so_far.pop()),
                part => return Some(part),
            }
        }
    }

    fn enter(&mut self, part: Vec<u8>) {
        self.so_far.push(part);
    }

    fn follow(&mut self, text: &[u8]) -> nix::Result<()> {
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(Errno::ELOOP);
        }
        if text.starts_with(b"/") {
            self.so_far.clear();
        }
        self.push(text);
        Ok(())
    }

    fn so_far(&self) -> CString {
        CString::new(self.so_far.join(&b'/')).unwrap_or_default()
    }

    fn joined(&self, part: &[u8]) -> CString {
        let mut path = self.so_far.join(&b'/');
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend(part);
        CString::new(path).unwrap_or_default()
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Parent and last part of a relative path.
pub fn split(path: &CStr) -> (CString, CString) {
    let bytes = path.to_bytes();
    let cut = bytes.iter().rposition(|b| *b == b'/');
    let (parent, name) = cut.map_or((&b""[..], bytes), |n| (&bytes[..n], &bytes[n + 1..]));
    (CString::new(parent).unwrap_or_default(), CString::new(name).unwrap_or_default())
}

/// A path relative to the root as people write it.
pub fn shown(path: &CStr) -> Vec<u8> {
    [b"/", path.to_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let fd = nix::fcntl::open(dir.path(), OFlag::O_PATH, Mode::empty()).unwrap();
        (dir, Root::new(fd))
    }

    #[test]
    fn a_link_out_of_the_root_stays_inside() {
        let (dir, root) = root();
        std::os::unix::fs::symlink("/../../etc", dir.path().join("l")).unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        root.directory(c"l/made").unwrap();
        assert!(dir.path().join("etc/made").is_dir());
    }

    #[test]
    fn a_dangling_link_is_made_good_inside() {
        let (dir, root) = root();
        let out = std::env::temp_dir().join("dhow-never-made");
        std::os::unix::fs::symlink(&out, dir.path().join("l")).unwrap();
        root.directory(c"l/../x/l2").unwrap();
        root.directory(c"l/below").unwrap();
        assert!(!out.exists());
        assert!(dir.path().join(out.strip_prefix("/").unwrap()).join("below").is_dir());
    }

    #[test]
    fn what_is_kept_is_beside_other_mounts_only_where_no_link_is() {
        let (dir, root) = root();
        std::fs::create_dir_all(dir.path().join("dev/pts")).unwrap();
        std::os::unix::fs::symlink("dev", dir.path().join("d")).unwrap();
        assert!(root.is_beside(c"dev"));
        root.kept(c"dev").unwrap();
        assert!(root.is_beside(c"sys") && root.is_beside(c"dev/pts") && root.is_beside(c"de"));
        assert!(!root.is_beside(c"dev") && !root.is_beside(c""));
        root.kept(c"dev/pts").unwrap();
        assert!(!root.is_beside(c"dev") && root.is_beside(c"dev/shm"));
        root.kept(c"d").unwrap();
        assert!(!root.is_beside(c"sys"));
    }

    #[test]
    fn links_in_a_circle_end() {
        let (dir, root) = root();
        std::os::unix::fs::symlink("b", dir.path().join("a")).unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("b")).unwrap();
        assert_eq!(root.directory(c"a/x").unwrap_err().errno, libc::ELOOP);
    }

    #[test]
    fn a_file_is_made_where_a_dangling_link_points() {
        let (dir, root) = root();
        std::os::unix::fs::symlink("/tmp/foo", dir.path().join("jump")).unwrap();
        std::os::unix::fs::symlink("/jump/hosts", dir.path().join("l")).unwrap();
        root.file(c"l").unwrap();
        assert!(dir.path().join("tmp/foo/hosts").is_file());
    }

    #[test]
    fn what_can_not_be_made_is_named_as_it_is_written() {
        let (dir, root) = root();
        drop(dir);
        let cause = root.directory(c"x").unwrap_err();
        assert_eq!((&*cause.call, &*cause.subject), ("mkdir", "/x"));
    }

    #[test]
    fn a_missing_file_is_made_with_its_parents() {
        let (dir, root) = root();
        root.file(c"a/b/c").unwrap();
        assert!(dir.path().join("a/b/c").is_file());
    }
}
