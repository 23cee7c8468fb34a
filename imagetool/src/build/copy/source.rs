//! What a COPY's sources name: links are followed inside the root, patterns are looked for, and
//! what is ignored isn't there.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, readlinkat};
use nix::sys::stat::SFlag;

use crate::build::glob;
use crate::build::ignore::Ignore;
use crate::error::{Error, Result};
use crate::layer::RootDir;
use crate::layer::at::{is_dir, kind, names, stat_at};
use crate::layer::name::{join, split};

const READ_DIR: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY);
/// KERNEL: path_resolution(7): as many links as a path may lead over.
pub(super) const MAX_LINKS: usize = 40;

/// Where to look.
pub(super) struct Places<'a> {
    pub root: &'a RootDir,
    pub ignore: &'a Ignore,
    /// `the build context`, for errors.
    pub title: &'a str,
}

/// A source that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// What it is called in a directory it is copied into.
    pub name: Vec<u8>,
    /// Where it is: a clean path without links.
    pub real: Vec<u8>,
    pub directory: bool,
}

enum Missing {
    /// There is nothing.
    Nothing,
    /// There is, but it is left out.
    Ignored(Vec<u8>),
}

impl Places<'_> {
    /// The things that a source, as written, names: one, or any number for a pattern.
    pub fn find(&self, source: &str, exclude: &Ignore) -> Result<Vec<Spot>> {
        let path = rooted(source);
        if !glob::is_pattern(&path) {
            let (real, directory) = self.locate(&path, source)?;
            return Ok(vec![Spot { name: split(&path).1.to_vec(), real, directory }]);
        }
        let parts: Vec<&[u8]> = path.split(|&b| b == b'/').collect();
        let plain = parts.iter().take_while(|part| !glob::is_pattern(part)).count();
        let Ok((top, _)) = self.follow(&parts[..plain].join(&b'/'))? else {
            return Ok(Vec::new());
        };
        let mut spots = Vec::new();
        let mut matched = Vec::new();
        self.matching(&top, &parts[plain..], source, &mut matched)?;
        for path in matched {
            let name = split(&path).1.to_vec();
            let (real, directory) = match self.follow(&path)? {
                Ok(found) => found,
                Err(_) if self.ignore.matches(&path) => continue,
                Err(missing) => return Err(self.missing(source, &missing)),
            };
            let below = path.strip_prefix(top.as_slice()).unwrap_or(&path);
            let below = below.strip_prefix(b"/").unwrap_or(below);
            if directory || !exclude.matches(below) {
                spots.push(Spot { name, real, directory });
            }
        }
        Ok(spots)
    }

    /// A source without patterns.
    pub fn locate(&self, path: &[u8], source: &str) -> Result<(Vec<u8>, bool)> {
        self.follow(path)?.map_err(|missing| self.missing(source, &missing))
    }

    fn missing(&self, source: &str, missing: &Missing) -> Error {
        let hint = match missing {
            Missing::Nothing => format!("it is not in {}", self.title),
            Missing::Ignored(path) => {
                let path = String::from_utf8_lossy(path).into_owned();
                format!("the .dockerignore of {} leaves out {path}", self.title)
            }
        };
        Error::NotFound { what: "file or directory", name: source.to_owned(), hint }
    }

    /// Paths that fit the rest of a pattern, part by part; links on the way are not followed.
    fn matching(
        &self,
        dir: &[u8],
        parts: &[&[u8]],
        source: &str,
        out: &mut Vec<Vec<u8>>,
    ) -> Result<()> {
        let Some((part, rest)) = parts.split_first() else { return Ok(()) };
        let Some(open) = self.open(dir)? else { return Ok(()) };
        let listing = open.try_clone().map_err(Error::at("read", self.root.path()))?;
        let mut all = names(listing).map_err(|e| self.root.error("read", dir, e))?;
        all.sort_unstable();
        for base in all {
            let fits = glob::matches(part, &base).ok_or_else(|| {
                Error::usage("source", source, "a [ needs its ], and a \\ something behind it")
            })?;
            let path = join(dir, &base);
            if !fits {
                continue;
            }
            let Ok(stat) = stat_at(&open, &base) else { continue };
            let left_out =
                self.ignore.matches(&path) && !(is_dir(&stat) && self.ignore.spares_below(&path));
            if left_out {
                continue;
            }
            if rest.is_empty() {
                out.push(path);
            } else if is_dir(&stat) {
                self.matching(&path, rest, source, out)?;
            }
        }
        Ok(())
    }

    fn open(&self, dir: &[u8]) -> Result<Option<OwnedFd>> {
        match self.root.open_plain(dir, READ_DIR) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(None),
            Err(e) => Err(self.root.error("open", dir, e)),
        }
    }

    /// Where a path leads, all links followed inside the root, and whether to a directory.
    fn follow(&self, path: &[u8]) -> Result<Result<(Vec<u8>, bool), Missing>> {
        let mut todo: Vec<Vec<u8>> = Vec::new();
        push(&mut todo, path);
        let (mut done, mut links) = (Vec::new(), 0);
        let mut directory = true;
        while let Some(part) = todo.pop() {
            if part == b".." {
                done.truncate(split(&done).0.len());
                continue;
            }
            let Some(dir) = self.open(&done)? else { return Ok(Err(Missing::Nothing)) };
            let here = join(&done, &part);
            let stat = match stat_at(&dir, &part) {
                Ok(stat) => stat,
                Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(Err(Missing::Nothing)),
                Err(e) => return Err(self.root.error("read", &here, e)),
            };
            directory = is_dir(&stat);
            if self.ignore.matches(&here) && !(directory && self.ignore.spares_below(&here)) {
                return Ok(Err(Missing::Ignored(here)));
            }
            if kind(&stat) != SFlag::S_IFLNK {
                done = here;
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(self.root.error("follow", &here, Errno::ELOOP));
            }
            let text =
                readlinkat(&dir, part.as_slice()).map_err(|e| self.root.error("read", &here, e))?;
            let text = std::os::unix::ffi::OsStringExt::into_vec(text);
            if text.starts_with(b"/") {
                done.clear();
            }
            push(&mut todo, &text);
            directory = true;
        }
        Ok(Ok((done, directory)))
    }
}

/// Puts a path's parts on a stack, the first on top.
pub(super) fn push(todo: &mut Vec<Vec<u8>>, path: &[u8]) {
    let parts = path.split(|&b| b == b'/').filter(|part| !matches!(*part, b"" | b"."));
    let at = todo.len();
    todo.extend(parts.map(<[u8]>::to_vec));
    todo[at..].reverse();
}

/// A source as a clean path below its root: none climbs out.
pub(super) fn rooted(source: &str) -> Vec<u8> {
    let mut path = glob::clean(format!("/{source}").as_bytes());
    path.remove(0);
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn spots(root: &RootDir, ignore: &str, source: &str) -> Result<Vec<(String, String)>> {
        let ignore = Ignore::parse(ignore.as_bytes(), "i")?;
        let places = Places { root, ignore: &ignore, title: "the build context" };
        let found = places.find(source, &Ignore::default())?;
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ok(found.into_iter().map(|s| (text(s.name), text(s.real))).collect())
    }

    #[test]
    fn links_and_patterns_stay_inside() {
        let tmp = tempfile::tempdir().unwrap();
        let at = |name: &str| tmp.path().join(name);
        fs::create_dir_all(at("sub/dir1/dir2")).unwrap();
        for file in ["a.go", "b.go", "sub/dir1/dir2/foo", "sub/x", "[odd]"] {
            fs::write(at(file), "x").unwrap();
        }
        symlink("/sub/x", at("absolute")).unwrap();
        symlink("../../../sub/x", at("climbing")).unwrap();
        symlink("/etc", at("out")).unwrap();
        symlink("loop", at("loop")).unwrap();
        let root = RootDir::open(tmp.path()).unwrap();
        let find = |source: &str| spots(&root, "", source);
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(find("*.go").unwrap(), [pair("a.go", "a.go"), pair("b.go", "b.go")]);
        assert_eq!(find("./sub/../a.go").unwrap(), [pair("a.go", "a.go")]);
        assert_eq!(find("../../a.go").unwrap(), [pair("a.go", "a.go")]);
        assert_eq!(find("absolute").unwrap(), [pair("absolute", "sub/x")]);
        assert_eq!(find("climbing").unwrap(), [pair("climbing", "sub/x")]);
        assert_eq!(find("clim*").unwrap(), [pair("climbing", "sub/x")]);
        assert_eq!(find("sub/*/dir2/foo").unwrap(), [pair("foo", "sub/dir1/dir2/foo")]);
        assert_eq!(find("[[]odd]").unwrap(), [pair("[odd]", "[odd]")]);
        assert_eq!(find(".").unwrap(), [pair("", "")]);
        assert_eq!(find("no*thing").unwrap(), []);
        for bad in ["nothing", "out/passwd", "out", "loop", "a.go/x", "[x", "lo*p", "../etc/passwd"]
        {
            assert!(find(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_ignored_is_not_there() {
        let tmp = tempfile::tempdir().unwrap();
        let at = |name: &str| tmp.path().join(name);
        fs::create_dir_all(at("dir/deep")).unwrap();
        for file in ["a", "dir/keep", "dir/drop", "secret"] {
            fs::write(at(file), "x").unwrap();
        }
        symlink("secret", at("link")).unwrap();
        let root = RootDir::open(tmp.path()).unwrap();
        let ignore = "secret\ndir\n!dir/keep";
        let find = |source: &str| spots(&root, ignore, source);
        for gone in ["secret", "link", "dir/drop", "dir/deep"] {
            let error = find(gone).unwrap_err().to_string();
            assert!(error.contains(".dockerignore"), "{gone}: {error}");
        }
        assert_eq!(find("dir/*").unwrap().len(), 1);
        assert_eq!(find("dir").unwrap().len(), 1);
        assert_eq!(find("s*").unwrap(), []);
    }
}
