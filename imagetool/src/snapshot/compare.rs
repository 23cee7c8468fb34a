//! Two unpacked forms of a layer, compared: what the image says, and what lies on disk.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use dhow_kernel::xattr;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

use crate::error::Result;
use crate::layer::RootDir;
use crate::layer::at::{is_dir, is_whiteout, kind, names, open_dir, stat_at};
use crate::layer::name::{join, show};

/// So many differences of a layer are told.
const TOLD: usize = 8;

/// What is different.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// The first few: a path and what is wrong with it.
    pub first: Vec<String>,
    /// How many there are.
    pub count: u64,
}

impl Differences {
    fn add(&mut self, path: &[u8], what: impl std::fmt::Display) {
        self.count += 1;
        if self.first.len() < TOLD {
            self.first.push(format!("{} {what}", show(&[b"/", path].concat())));
        }
    }
}

/// Compares what `actual` has with what it should have.
pub(super) fn compare(expected: &RootDir, actual: &RootDir, contents: bool) -> Result<Differences> {
    let mut found = Differences::default();
    let mut todo = vec![Vec::new()];
    while let Some(path) = todo.pop() {
        let walk = Walk { expected, actual, contents };
        walk.directory(&path, &mut todo, &mut found).map_err(|e| actual.error("read", &path, e))?;
    }
    Ok(found)
}

struct Walk<'a> {
    expected: &'a RootDir,
    actual: &'a RootDir,
    contents: bool,
}

impl Walk<'_> {
    fn directory(
        &self,
        path: &[u8],
        todo: &mut Vec<Vec<u8>>,
        found: &mut Differences,
    ) -> nix::Result<()> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let want = self.expected.open_plain(path, flags)?;
        let have = self.actual.open_plain(path, flags)?;
        if path.is_empty() {
            of_stat(path, &fstat(&want)?, &fstat(&have)?, found);
        }
        if attributes_of(want.as_fd())? != attributes_of(have.as_fd())? {
            found.add(path, "has other attributes");
        }
        let (mut wanted, mut there) = (sorted(&want)?, sorted(&have)?);
        // Both from their ends.
        while !wanted.is_empty() || !there.is_empty() {
            let order = wanted.last().map(Vec::as_slice).cmp(&there.last().map(Vec::as_slice));
            let base = match order {
                std::cmp::Ordering::Less => {
                    let base = there.pop().unwrap_or_default();
                    found.add(&join(path, &base), "is there, and should not be");
                    continue;
                }
                std::cmp::Ordering::Greater => {
                    let base = wanted.pop().unwrap_or_default();
                    found.add(&join(path, &base), "is not there");
                    continue;
                }
                std::cmp::Ordering::Equal => {
                    there.pop();
                    wanted.pop().unwrap_or_default()
                }
            };
            let child = join(path, &base);
            let (a, b) = (stat_at(&want, &base)?, stat_at(&have, &base)?);
            if !of_stat(&child, &a, &b, found) {
                continue;
            }
            if is_dir(&a) {
                todo.push(child);
            } else if let Some(what) = self.inside((&want, &have), &base, &a)? {
                found.add(&child, what);
            }
        }
        Ok(())
    }

    /// How a thing's text, attributes or, if that is asked, content differ.
    fn inside(
        &self,
        (want, have): (&OwnedFd, &OwnedFd),
        base: &[u8],
        stat: &FileStat,
    ) -> nix::Result<Option<&'static str>> {
        if kind(stat) == SFlag::S_IFLNK {
            let same = readlinkat(want, base)? == readlinkat(have, base)?;
            return Ok((!same).then_some("leads elsewhere"));
        }
        if kind(stat) != SFlag::S_IFREG {
            return Ok(None);
        }
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let want = openat(want, base, flags, Mode::empty())?;
        let have = openat(have, base, flags, Mode::empty())?;
        if attributes_of(want.as_fd())? != attributes_of(have.as_fd())? {
            return Ok(Some("has other attributes"));
        }
        let same = !self.contents || same_bytes(want.into(), have.into()).map_err(|e| errno(&e))?;
        Ok((!same).then_some("has other content"))
    }
}

/// Tells how two things differ; whether they are the same in kind and length.
fn of_stat(path: &[u8], want: &FileStat, have: &FileStat, found: &mut Differences) -> bool {
    if kind(want) != kind(have) {
        found.add(path, format_args!("is {}, not {}", word(have), word(want)));
        return false;
    }
    let modes = (want.st_mode & 0o7777, have.st_mode & 0o7777);
    // A link's mode is nobody's choice.
    if modes.0 != modes.1 && kind(want) != SFlag::S_IFLNK {
        found.add(path, format_args!("has mode {:o}, not {:o}", modes.1, modes.0));
    }
    if (want.st_uid, want.st_gid) != (have.st_uid, have.st_gid) {
        let owners = (have.st_uid, have.st_gid, want.st_uid, want.st_gid);
        let (a, b, c, d) = owners;
        found.add(path, format_args!("is owned by {a}:{b}, not {c}:{d}"));
    }
    let times = (want.st_mtime, want.st_mtime_nsec) == (have.st_mtime, have.st_mtime_nsec);
    // A whiteout's is when it was made here.
    if !times && !is_whiteout(want) {
        found.add(path, "has another time");
    }
    match kind(want) {
        SFlag::S_IFREG if want.st_size != have.st_size => {
            found.add(path, format_args!("has {} bytes, not {}", have.st_size, want.st_size));
            return false;
        }
        SFlag::S_IFREG if want.st_nlink != have.st_nlink => {
            found.add(path, format_args!("has {} names, not {}", have.st_nlink, want.st_nlink));
        }
        SFlag::S_IFCHR | SFlag::S_IFBLK if want.st_rdev != have.st_rdev => {
            found.add(path, "is another device");
        }
        _ => {}
    }
    true
}

fn word(stat: &FileStat) -> &'static str {
    match kind(stat) {
        SFlag::S_IFDIR => "a directory",
        SFlag::S_IFREG => "a file",
        SFlag::S_IFLNK => "a link",
        SFlag::S_IFIFO => "a pipe",
        SFlag::S_IFCHR if stat.st_rdev == 0 => "a whiteout",
        SFlag::S_IFCHR | SFlag::S_IFBLK => "a device",
        _ => "something else",
    }
}

fn sorted(dir: &OwnedFd) -> nix::Result<Vec<Vec<u8>>> {
    let mut all = names(open_dir(dir, b"")?)?;
    all.sort_unstable();
    Ok(all)
}

/// All attributes but the one that the kernel gives by the place.
fn attributes_of(fd: impl AsFd) -> nix::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut all = Vec::new();
    let names = match xattr::list(fd.as_fd()) {
        Err(Errno::EOPNOTSUPP) => return Ok(all),
        names => names?,
    };
    for name in names {
        if name.as_bytes() != b"security.selinux"
            && let Some(value) = xattr::get(fd.as_fd(), &name)?
        {
            all.push((name.into_bytes(), value));
        }
    }
    all.sort();
    Ok(all)
}

fn same_bytes(mut want: File, mut have: File) -> io::Result<bool> {
    let (mut a, mut b) = (vec![0; 128 << 10], vec![0; 128 << 10]);
    loop {
        let n = want.read(&mut a)?;
        if n == 0 {
            return Ok(have.read(&mut b)? == 0);
        }
        match have.read_exact(&mut b[..n]) {
            Ok(()) if a[..n] == b[..n] => {}
            Ok(()) => return Ok(false),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(e) => return Err(e),
        }
    }
}

fn errno(e: &io::Error) -> Errno {
    Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    fn fill(dir: &Path) {
        fs::create_dir(dir.join("d")).unwrap();
        fs::write(dir.join("d/f"), "content").unwrap();
        fs::write(dir.join("g"), "more").unwrap();
        symlink("g", dir.join("l")).unwrap();
        for name in ["d/f", "g", "d", "."] {
            let file = File::open(dir.join(name)).unwrap();
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
        }
        let time = nix::sys::time::TimeSpec::new(0, 0);
        let flag = nix::sys::stat::UtimensatFlags::NoFollowSymlink;
        let at = nix::fcntl::AT_FDCWD;
        nix::sys::stat::utimensat(at, &dir.join("l"), &time, &time, flag).unwrap();
        File::open(dir).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    }

    fn told(spoil: impl Fn(&Path)) -> Vec<String> {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fill(a.path());
        fill(b.path());
        spoil(b.path());
        let root = |d: &tempfile::TempDir| RootDir::open(d.path()).unwrap();
        compare(&root(&a), &root(&b), true).unwrap().first
    }

    #[test]
    fn every_kind_of_difference_is_told() {
        assert!(told(|_| ()).is_empty());
        let same = |d: &Path| File::open(d).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        let kept = |d: &Path, act: &dyn Fn()| {
            act();
            same(d);
        };
        assert_eq!(
            told(|d| kept(d, &|| fs::write(d.join("x"), "").unwrap())),
            ["\"/x\" is there, and should not be"]
        );
        assert_eq!(
            told(|d| kept(d, &|| fs::remove_file(d.join("g")).unwrap())),
            ["\"/g\" is not there"]
        );
        let mode = |d: &Path| {
            fs::set_permissions(d.join("g"), fs::Permissions::from_mode(0o600)).unwrap();
        };
        assert_eq!(told(mode), ["\"/g\" has mode 600, not 644"]);
        let content = |d: &Path| {
            fs::write(d.join("d/f"), "CONTENT").unwrap();
            same(&d.join("d/f"));
        };
        assert_eq!(told(content), ["\"/d/f\" has other content"]);
        let size = |d: &Path| {
            fs::write(d.join("g"), "mor").unwrap();
            same(&d.join("g"));
        };
        assert_eq!(told(size), ["\"/g\" has 3 bytes, not 4"]);
        let kind = |d: &Path| {
            fs::remove_file(d.join("l")).unwrap();
            fs::write(d.join("l"), "").unwrap();
            same(d);
        };
        assert_eq!(told(kind), ["\"/l\" is a file, not a link"]);
    }
}
