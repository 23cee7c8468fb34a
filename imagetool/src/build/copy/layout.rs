//! Where what is copied comes to lie: a tree of new things over the base's files, whose links are
//! followed inside the base.

use std::collections::BTreeMap;

use nix::errno::Errno;
use nix::fcntl::{OFlag, readlinkat};
use nix::sys::stat::{SFlag, fstat};

use super::source::{MAX_LINKS, push};
use super::walk::Xattrs;
use crate::error::{Error, Result};
use crate::layer::RootDir;
use crate::layer::at::{kind, stat_at};
use crate::layer::name::{ancestors, join, show, split};
use crate::layer::pax::Time;
use crate::layer::settle::{attributes, mtime};

/// Whose it is, and what it allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct About {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Time,
    pub xattrs: Xattrs,
}

/// Something new.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub about: About,
    pub what: What,
}

/// New things by their paths.
pub(super) type Nodes = BTreeMap<Vec<u8>, Node>;

/// What it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Dir,
    File(Body),
    Link(Vec<u8>),
    /// `b'3'`, `b'4'` or `b'6'`, as tar has it, and the numbers.
    Node(u8, u64, u64),
}

/// Where a file's bytes are. Equal ones are hard links of each other, unless they are said not to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Body {
    /// An entry of a source. `same`: another entry of the same source that it is a link to.
    Found { source: usize, entry: usize, same: usize },
    /// A heredoc.
    Text(usize),
    /// The so-manieth entry of an archive.
    Packed { source: usize, entry: u64 },
    /// A file that the base has, at the path of its so-manieth old one.
    Base(usize),
}

/// What there is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Nothing,
    Dir,
    Link(Vec<u8>),
    Other,
}

/// The tree.
pub(super) struct Layout<'a> {
    base: Option<&'a RootDir>,
    nodes: Nodes,
    /// What directories that are made on the way are like.
    made: About,
    /// Directories that the base lacks, or that are hidden: nothing in them need be asked for.
    bare: std::collections::HashSet<Vec<u8>>,
    /// Files of the base that get another name.
    pub old: Vec<Vec<u8>>,
}

impl<'a> Layout<'a> {
    pub fn new(base: Option<&'a RootDir>, made: About) -> Self {
        let bare = std::collections::HashSet::new();
        Self { base, nodes: BTreeMap::new(), made, bare, old: Vec::new() }
    }

    /// What is there, not followed.
    fn state(&self, path: &[u8]) -> Result<State> {
        if path.is_empty() {
            return Ok(State::Dir);
        }
        if let Some(node) = self.nodes.get(path) {
            return Ok(match &node.what {
                What::Dir => State::Dir,
                What::Link(text) => State::Link(text.clone()),
                What::File(_) | What::Node(..) => State::Other,
            });
        }
        let (up, name) = split(path);
        let Some(base) = self.base else { return Ok(State::Nothing) };
        if self.bare.contains(up) {
            return Ok(State::Nothing);
        }
        let fail = |e| base.error("read", path, e);
        let dir = match base.open_plain(up, OFlag::O_PATH | OFlag::O_DIRECTORY) {
            Ok(dir) => dir,
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(State::Nothing),
            Err(e) => return Err(fail(e)),
        };
        let stat = match stat_at(&dir, name) {
            Ok(stat) => stat,
            Err(Errno::ENOENT) => return Ok(State::Nothing),
            Err(e) => return Err(fail(e)),
        };
        Ok(match kind(&stat) {
            SFlag::S_IFDIR => State::Dir,
            SFlag::S_IFLNK => {
                let text = readlinkat(&dir, name).map_err(fail)?;
                State::Link(std::os::unix::ffi::OsStringExt::into_vec(text))
            }
            _ => State::Other,
        })
    }

    /// Where a path leads; the last part is followed only if `last`. What isn't there is plain.
    pub fn resolve(&self, path: &[u8], last: bool) -> Result<Vec<u8>> {
        let mut todo = Vec::new();
        push(&mut todo, path);
        let (mut done, mut links) = (Vec::new(), 0);
        while let Some(part) = todo.pop() {
            if part == b".." {
                let up = split(&done).0.len();
                done.truncate(up);
                continue;
            }
            let here = join(&done, &part);
            match self.state(&here)? {
                State::Link(text) if last || !todo.is_empty() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(refused(path, "its links lead in a circle"));
                    }
                    if text.starts_with(b"/") {
                        done.clear();
                    }
                    push(&mut todo, &text);
                }
                _ => done = here,
            }
        }
        Ok(done)
    }

    /// Whether a resolved path is a directory.
    pub fn is_dir(&self, path: &[u8]) -> Result<bool> {
        Ok(self.state(path)? == State::Dir)
    }

    /// Whether there is anything at a resolved path.
    pub fn is_there(&self, path: &[u8]) -> Result<bool> {
        Ok(self.state(path)? != State::Nothing)
    }

    /// Makes the directories of a resolved path that lack.
    pub fn make_dirs(&mut self, path: &[u8]) -> Result<()> {
        let mut missing = Vec::new();
        for dir in ancestors(path) {
            match self.state(dir)? {
                State::Dir => break,
                State::Nothing => missing.push(dir.to_vec()),
                _ => return Err(refused(dir, "it is no directory")),
            }
        }
        for dir in missing {
            let node = Node { about: self.made.clone(), what: What::Dir };
            self.bare.insert(dir.clone());
            self.nodes.insert(dir, node);
        }
        Ok(())
    }

    /// Puts something at a path whose directory is there. A directory is merged with one that is
    /// there, and takes the new one's owner and mode; nothing else comes in a directory's place.
    pub fn put(&mut self, path: Vec<u8>, node: Node) -> Result<()> {
        let directory = node.what == What::Dir;
        match self.state(&path)? {
            State::Dir if !directory => {
                return Err(Error::Overwrite { path, directory: true });
            }
            State::Link(_) | State::Other if directory => {
                return Err(Error::Overwrite { path, directory: false });
            }
            State::Nothing if directory => drop(self.bare.insert(path.clone())),
            _ => {}
        }
        self.nodes.insert(path, node);
        Ok(())
    }

    /// The same as an archive has it: what stands in the way goes.
    pub fn put_over(&mut self, path: Vec<u8>, node: Node) -> Result<()> {
        let directory = node.what == What::Dir;
        let state = self.state(&path)?;
        if state == State::Dir && !directory {
            let inside = [path.as_slice(), b"/"].concat();
            self.nodes.retain(|p, _| !p.starts_with(&inside));
            self.bare.retain(|p| *p != path && !p.starts_with(&inside));
        } else if state != State::Dir && directory {
            self.bare.insert(path.clone());
        }
        self.nodes.insert(path, node);
        Ok(())
    }

    /// A hard link to what is at another path.
    pub fn link(&mut self, path: Vec<u8>, to: &[u8]) -> Result<()> {
        let node = match self.nodes.get(to) {
            Some(Node { what: What::Dir, .. }) => {
                return Err(refused(to, "a hard link to a directory can't be made"));
            }
            Some(node) => node.clone(),
            None => {
                let node = self.of_base(to)?;
                self.nodes.insert(to.to_vec(), node.clone());
                node
            }
        };
        self.put_over(path, node)
    }

    fn of_base(&mut self, path: &[u8]) -> Result<Node> {
        let missing = || refused(path, "a hard link leads to it, and it isn't there");
        if self.state(path)? != State::Other {
            return Err(missing());
        }
        let base = self.base.ok_or_else(missing)?;
        let fail = |e| base.error("read", path, e);
        let file = base.open_plain(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK).map_err(fail)?;
        let stat = fstat(&file).map_err(fail)?;
        if kind(&stat) != SFlag::S_IFREG {
            return Err(missing());
        }
        self.old.push(path.to_vec());
        let about = About {
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: mtime(&stat),
            xattrs: attributes(&file).map_err(fail)?,
        };
        Ok(Node { about, what: What::File(Body::Base(self.old.len() - 1)) })
    }

    /// All there is to write, with the directories above as the base has them.
    pub fn finish(mut self) -> Result<(Nodes, Vec<Vec<u8>>)> {
        let mut above = std::collections::HashSet::new();
        for path in self.nodes.keys() {
            for dir in ancestors(path).skip(1) {
                if !above.insert(dir.to_vec()) {
                    break;
                }
            }
        }
        for dir in above {
            if self.nodes.contains_key(&dir) {
                continue;
            }
            let about = match self.base {
                Some(base) => about_dir(base, &dir)?,
                None => self.made.clone(),
            };
            self.nodes.insert(dir, Node { about, what: What::Dir });
        }
        Ok((self.nodes, self.old))
    }
}

/// A directory as the base has it.
fn about_dir(base: &RootDir, path: &[u8]) -> Result<About> {
    let fail = |e| base.error("read", path, e);
    let dir = base.open_plain(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY).map_err(fail)?;
    let stat = fstat(&dir).map_err(fail)?;
    Ok(About {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: mtime(&stat),
        xattrs: attributes(&dir).map_err(fail)?,
    })
}

fn refused(path: &[u8], why: &str) -> Error {
    Error::Conflict(format!("cannot copy to {}: {why}", show(&[b"/", path].concat())))
}
