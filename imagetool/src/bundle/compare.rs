//! What a root has become since it was unpacked: a walk side by side with what was written down
//! then. Each directory is looked at once; what is in it first, the directories below after that.

use std::collections::HashMap;
use std::io::Write;
use std::os::fd::OwnedFd;

use nix::sys::stat::{FileStat, SFlag};

use super::mtree::{Subject, UMOCI, Values, differ};
use super::state::{Record, State, Still, content_sum, xattrs_sum};
use super::walk::{Names, Walk, attributes};
use crate::error::Result;
use crate::layer::Delta;
use crate::layer::at::{is_dir, kind};
use crate::layer::name::{Name, join, split};

/// Something that was there.
pub(super) struct Old<T> {
    pub name: Vec<u8>,
    pub directory: bool,
    pub inode: Option<u64>,
    pub item: T,
}

/// What was written down. Directories are asked for in the order of the walk.
pub(super) trait Past {
    type Item;

    /// The root itself.
    fn top(&self) -> Option<Old<Self::Item>>;
    /// Begins a directory.
    fn enter(&mut self, dir: &[u8]) -> Result<()>;
    /// The next name in it.
    fn next(&mut self) -> Result<Option<Old<Self::Item>>>;
    /// Whether what is there now is what was there.
    fn same(&self, old: &Self::Item, now: &Now<'_>) -> nix::Result<bool>;
    /// Nothing more is asked.
    fn end(self) -> Result<()>;
}

/// Something that is there.
pub(super) struct Now<'a> {
    pub dir: &'a OwnedFd,
    /// Empty for the directory itself.
    pub base: &'a [u8],
    pub stat: &'a FileStat,
}

/// Paths that are no part of the image, with all below.
#[derive(Clone, Debug, Default)]
pub(super) struct Masks(Vec<Vec<u8>>);

impl Masks {
    pub fn new<'a>(paths: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let clean = |path: &str| Name::clean(path.as_bytes()).map(|name| name.as_bytes().to_vec());
        paths.into_iter().map(clean).collect::<Result<_>>().map(Self)
    }

    fn hide(&self, path: &[u8]) -> bool {
        self.0.iter().any(|mask| below(path, mask))
    }

    fn within(&self, path: &[u8]) -> bool {
        self.0.iter().any(|mask| below(mask, path))
    }
}

/// Whether `path` is `top` or below it.
fn below(path: &[u8], top: &[u8]) -> bool {
    let rest = path.strip_prefix(top);
    top.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// Writes what has changed since.
pub(super) fn compare<P: Past, W: Write>(
    walk: Walk<'_>,
    past: P,
    masks: &Masks,
    out: &mut Delta<'_, W>,
) -> Result<()> {
    let mut this = Compare { walk, past, masks, out, kept: HashMap::new() };
    this.root()?;
    this.directory(b"", Before::Merged, true)?;
    this.walk.close()?;
    this.past.end()
}

struct Compare<'a, 'b, P, W: Write> {
    walk: Walk<'a>,
    past: P,
    masks: &'a Masks,
    out: &'a mut Delta<'b, W>,
    /// Names of files with several, by inode, that were there before as they are now.
    kept: HashMap<u64, Vec<Vec<u8>>>,
}

/// What a directory was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    /// Nothing, or no directory.
    Nothing,
    /// The same directory.
    Merged,
    /// A directory, but another one.
    Another,
}

/// A directory to go on with.
struct Next {
    name: Vec<u8>,
    /// It was there, and what it held is written down.
    was: bool,
    /// It is there: what was there before, and whether it has an entry already.
    is: Option<(Before, bool)>,
}

impl<P: Past, W: Write> Compare<'_, '_, P, W> {
    fn root(&mut self) -> Result<()> {
        let stat = self.walk.top()?;
        let (dir, _) = self.walk.list(b"")?;
        let now = Now { dir: &dir, base: b"", stat: &stat };
        let Some(old) = self.past.top() else { return Ok(()) };
        let same = self.past.same(&old.item, &now);
        if !same.map_err(|e| self.walk.root.error("read", b"", e))? && !self.masks.hide(b"") {
            self.out.put_root(&dir, &stat)?;
        }
        Ok(())
    }

    /// A directory's names. `put`: it has an entry already.
    fn directory(&mut self, path: &[u8], before: Before, put: bool) -> Result<()> {
        let (dir, names) = self.walk.list(path)?;
        let next = match before {
            Before::Nothing => self.all_new(&dir, &names, path, Vec::new())?,
            Before::Merged => {
                self.past.enter(path)?;
                self.merge(&dir, &names, path, None)?
            }
            Before::Another => self.another(&dir, &names, path, put)?,
        };
        drop((dir, names));
        for Next { name, was, is } in next {
            let path = join(path, &name);
            match is {
                Some((Before::Nothing, put)) => {
                    if was {
                        self.skip(&path)?;
                    }
                    self.directory(&path, Before::Nothing, put)?;
                }
                Some((before, put)) => self.directory(&path, before, put)?,
                None => self.skip(&path)?,
            }
        }
        Ok(())
    }

    /// Something is new or another. If it is one more name of a file that hasn't changed, that
    /// comes into the layer, too: a link to what only lies below is not for every unpacker.
    fn put(&mut self, dir: &OwnedFd, base: &[u8], path: &[u8], stat: &FileStat) -> Result<()> {
        let others = if is_dir(stat) { None } else { self.kept.remove(&stat.st_ino) };
        for other in others.into_iter().flatten() {
            let (up, name) = split(&other);
            let (up, _) = self.walk.list(up)?;
            self.out.put(&up, name, &other, stat)?;
        }
        self.out.put(dir, base, path, stat)
    }

    /// Something is what it was.
    fn keep(&mut self, dir: &OwnedFd, base: &[u8], path: &[u8], stat: &FileStat) -> Result<()> {
        if is_dir(stat) || stat.st_nlink < 2 {
            return Ok(());
        }
        if self.out.has(stat) {
            return self.out.put(dir, base, path, stat);
        }
        self.kept.entry(stat.st_ino).or_default().push(path.to_vec());
        Ok(())
    }

    /// Everything in a directory is new. `old`: directories that were there, sorted.
    fn all_new(
        &mut self,
        dir: &OwnedFd,
        names: &Names,
        path: &[u8],
        old: Vec<Vec<u8>>,
    ) -> Result<Vec<Next>> {
        let mut next = Vec::new();
        for base in names.iter() {
            let whole = join(path, base);
            let Some(stat) = self.present(dir, base, &whole)? else { continue };
            if !self.masks.hide(&whole) {
                self.put(dir, base, &whole, &stat)?;
                if is_dir(&stat) && !self.walk.is_mount(&stat) {
                    let is = Some((Before::Nothing, true));
                    next.push(Next { name: base.to_vec(), was: false, is });
                }
            }
        }
        next.extend(old.into_iter().map(|name| Next { name, was: true, is: None }));
        // What was written down is passed by in its order.
        next.sort_by(|a, b| (&a.name, a.is.is_some()).cmp(&(&b.name, b.is.is_some())));
        Ok(next)
    }

    /// A directory in another's place. If nothing of what was in that one has survived, one mark
    /// says so for all.
    fn another(
        &mut self,
        dir: &OwnedFd,
        names: &Names,
        path: &[u8],
        put: bool,
    ) -> Result<Vec<Next>> {
        self.past.enter(path)?;
        let mut old = Vec::new();
        while let Some(one) = self.past.next()? {
            old.push(one);
        }
        let mut survives = old.is_empty() || self.masks.within(path);
        for one in &old {
            let whole = join(path, &one.name);
            let Some(stat) = self.present(dir, &one.name, &whole)? else { continue };
            let now = Now { dir, base: &one.name, stat: &stat };
            survives |= is_dir(&stat) && one.directory || self.same(&one.item, &now, &whole)?;
            if survives {
                break;
            }
        }
        if survives {
            return self.merge(dir, names, path, Some(old));
        }
        if !put {
            let stat = nix::sys::stat::fstat(dir);
            let mut stat = stat.map_err(|e| self.walk.root.error("stat", path, e))?;
            if let Some(mode) = self.walk.closed.mode(path) {
                stat.st_mode = stat.st_mode & !0o7777 | mode;
            }
            let (up, base) = split(path);
            let (up, _) = self.walk.list(up)?;
            self.out.put(&up, base, path, &stat)?;
        }
        self.out.opaque(path)?;
        let dirs = old.into_iter().filter(|o| o.directory).map(|o| o.name).collect();
        self.all_new(dir, names, path, dirs)
    }

    /// A directory's names side by side with what they were; `held`, or still to be read.
    fn merge(
        &mut self,
        dir: &OwnedFd,
        names: &Names,
        path: &[u8],
        held: Option<Vec<Old<P::Item>>>,
    ) -> Result<Vec<Next>> {
        let mut next = Vec::new();
        let mut held = held.map(Vec::into_iter);
        let mut names = names.iter().peekable();
        loop {
            let old = match &mut held {
                Some(held) => held.next(),
                None => self.past.next()?,
            };
            // What is new comes before it, or after the last.
            while let Some(base) = names.next_if(|n| old.as_ref().is_none_or(|o| **n < *o.name)) {
                self.one(dir, base, path, None, &mut next)?;
            }
            let Some(old) = old else { return Ok(next) };
            let base = names.next_if(|n| **n == *old.name);
            self.one(dir, base.unwrap_or(&old.name.clone()), path, Some(old), &mut next)?;
        }
    }

    /// One name.
    fn one(
        &mut self,
        dir: &OwnedFd,
        base: &[u8],
        path: &[u8],
        old: Option<Old<P::Item>>,
        next: &mut Vec<Next>,
    ) -> Result<()> {
        let whole = join(path, base);
        let was = old.as_ref().is_some_and(|o| o.directory);
        let found = self.present(dir, base, &whole)?;
        let mut is = None;
        if self.masks.hide(&whole) || found.as_ref().is_some_and(|s| self.walk.is_mount(s)) {
            // As if nothing had happened there.
        } else if let Some(stat) = found {
            let now = Now { dir, base, stat: &stat };
            let (before, same) = match &old {
                None => (Before::Nothing, false),
                Some(old) if old.directory != is_dir(&stat) => (Before::Nothing, false),
                Some(old) => {
                    let another = old.inode.is_some_and(|inode| inode != stat.st_ino);
                    let before = if another { Before::Another } else { Before::Merged };
                    (before, self.same(&old.item, &now, &whole)?)
                }
            };
            if same {
                self.keep(dir, base, &whole, &stat)?;
            } else {
                self.put(dir, base, &whole, &stat)?;
            }
            if is_dir(&stat) {
                is = Some((before, !same));
            }
        } else if old.is_some() {
            self.out.gone(&whole)?;
        }
        if was || is.is_some() {
            next.push(Next { name: base.to_vec(), was, is });
        }
        Ok(())
    }

    fn same(&self, old: &P::Item, now: &Now<'_>, path: &[u8]) -> Result<bool> {
        self.past.same(old, now).map_err(|e| self.walk.root.error("read", path, e))
    }

    /// What is there, but for sockets: an archive has none.
    fn present(&self, dir: &OwnedFd, base: &[u8], path: &[u8]) -> Result<Option<FileStat>> {
        Ok(self.walk.look(dir, base, path)?.filter(|stat| kind(stat) != SFlag::S_IFSOCK))
    }

    /// Passes by what was written down of a directory that is gone.
    fn skip(&mut self, path: &[u8]) -> Result<()> {
        self.past.enter(path)?;
        let mut dirs = Vec::new();
        while let Some(old) = self.past.next()? {
            if old.directory {
                dirs.push(old.name);
            }
        }
        dirs.iter().try_for_each(|name| self.skip(&join(path, name)))
    }
}

/// Our own state.
pub(super) struct Known {
    state: State,
    left: u64,
}

impl Known {
    pub fn new(state: State) -> Self {
        Self { state, left: 0 }
    }
}

fn old(record: Record) -> Old<Record> {
    let (name, directory, inode) = (record.name.clone(), record.is_dir(), Some(record.inode));
    Old { name, directory, inode, item: record }
}

impl Past for Known {
    type Item = Record;

    fn top(&self) -> Option<Old<Record>> {
        Some(old(self.state.top.clone()))
    }

    fn enter(&mut self, _: &[u8]) -> Result<()> {
        self.left = self.state.count()?;
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Old<Record>>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.state.record().map(|record| Some(old(record)))
    }

    fn same(&self, old: &Record, now: &Now<'_>) -> nix::Result<bool> {
        let seed = self.state.seed;
        match old.still(now.stat) {
            Still::No => return Ok(false),
            Still::Surely if !self.state.is_recent(old) => return Ok(true),
            Still::Surely | Still::Perhaps => {}
        }
        if xattrs_sum(seed, &attributes(now.dir, now.base)?) != old.xattrs {
            return Ok(false);
        }
        Ok(match kind(now.stat) {
            SFlag::S_IFREG if now.stat.st_size == 0 => true,
            SFlag::S_IFREG | SFlag::S_IFLNK => {
                old.content != 0 && content_sum(seed, now.dir, now.base, now.stat)? == old.content
            }
            _ => true,
        })
    }

    fn end(self) -> Result<()> {
        self.state.end()
    }
}

/// umoci's manifest.
pub(super) struct Told {
    dirs: std::collections::BTreeMap<Vec<u8>, Vec<(Vec<u8>, Values)>>,
    top: Option<Values>,
    here: std::vec::IntoIter<(Vec<u8>, Values)>,
}

impl Told {
    pub fn new(manifest: super::mtree::Manifest) -> Self {
        let top = manifest.entries.get(&b""[..]).cloned();
        Self { dirs: manifest.by_directory(), top, here: Vec::new().into_iter() }
    }
}

impl Past for Told {
    type Item = Values;

    fn top(&self) -> Option<Old<Values>> {
        let item = self.top.clone()?;
        Some(Old { name: Vec::new(), directory: true, inode: None, item })
    }

    fn enter(&mut self, dir: &[u8]) -> Result<()> {
        self.here = self.dirs.remove(dir).unwrap_or_default().into_iter();
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Old<Values>>> {
        Ok(self.here.next().map(|(name, item)| {
            let directory = item.get("type").is_some_and(|t| t == "dir");
            Old { name, directory, inode: None, item }
        }))
    }

    fn same(&self, old: &Values, now: &Now<'_>) -> nix::Result<bool> {
        let base = if now.base.is_empty() { b".".as_slice() } else { now.base };
        let subject = Subject { dir: now.dir, base, stat: now.stat };
        // A directory's length and links are the file system's.
        let skip = |k: &&str| is_dir(now.stat) && matches!(*k, "size" | "nlink");
        let cheap: Vec<&str> =
            UMOCI.into_iter().filter(|k| *k != "sha256digest" && !skip(k)).collect();
        if differ(old, subject.values(&cheap)?, &cheap).is_some() {
            return Ok(false);
        }
        let dear = ["sha256digest"];
        Ok(differ(old, subject.values(&dear)?, &dear).is_none())
    }

    fn end(self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::fs;
    use std::io::{self, BufReader};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::path::Path;
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;
    use crate::digest::Digest;
    use crate::layer::{
        Adjust, Closed, Entries, Journal, Limits, Manner, RootDir, Sink, apply, seal,
    };

    const NAMES: [&str; 9] = ["a", "b", "a/c", "a/d", "b/c", "a/c/e", "b/c/e", "a-c", "b/c/e/f"];

    /// Does something to a tree; what can't be done isn't.
    fn act(root: &Path, (what, from, to): (u8, usize, usize)) -> io::Result<()> {
        let (path, other) = (root.join(NAMES[from]), root.join(NAMES[to]));
        match what {
            0 | 1 => fs::write(&path, [b'x', to as u8]),
            2 | 3 => fs::create_dir_all(&path),
            4 => fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path)),
            5 => symlink(NAMES[to], &path),
            6 => fs::hard_link(&path, &other),
            7 => fs::rename(&path, &other),
            8 => fs::set_permissions(&path, fs::Permissions::from_mode(0o711 + to as u32)),
            _ => {
                // Written to with its own time.
                let time = fs::symlink_metadata(&path)?.modified()?;
                fs::write(&path, [b'x', to as u8])?;
                fs::File::options().append(true).open(&path)?.set_modified(time)
            }
        }
    }

    /// All there is to say of a tree, names of one file together.
    fn tree(root: &Path) -> (BTreeMap<String, String>, BTreeSet<Vec<String>>) {
        let (mut all, mut files) = (BTreeMap::new(), BTreeMap::<u64, Vec<String>>::new());
        let mut todo = vec![root.to_owned()];
        while let Some(dir) = todo.pop() {
            for path in fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
                let meta = fs::symlink_metadata(&path).unwrap();
                let name = path.strip_prefix(root).unwrap().display().to_string();
                let more = if meta.is_dir() {
                    todo.push(path.clone());
                    String::new()
                } else if meta.is_symlink() {
                    fs::read_link(&path).unwrap().display().to_string()
                } else {
                    format!("{:?} {}", fs::read(&path).unwrap(), meta.mtime_nsec())
                };
                if !meta.is_dir() {
                    files.entry(meta.ino()).or_default().push(name.clone());
                }
                all.insert(name, format!("{:o} {more}", meta.mode()));
            }
        }
        let together = |mut names: Vec<String>| {
            names.sort();
            names
        };
        (all, files.into_values().map(together).collect())
    }

    fn packed(root: &RootDir, state: &Path) -> Vec<u8> {
        let (manner, mut tar) = (Manner::default(), Vec::new());
        let mut delta = Delta::new(root, Adjust::new(&manner, None), &mut tar);
        let state = State::open(state).unwrap().unwrap();
        let walk = Walk::new(root, Closed::default()).unwrap();
        compare(walk, Known::new(state), &Masks::default(), &mut delta).unwrap();
        delta.finish().unwrap();
        tar
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn any_change_upon_what_was_makes_what_is(
            first in proptest::collection::vec((0u8..9, 0usize..9, 0usize..9), 0..25),
            second in proptest::collection::vec((0u8..10, 0usize..9, 0usize..9), 0..25),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let (root, was) = (dir.path().join("root"), dir.path().join("was"));
            fs::create_dir(&root).unwrap();
            for what in first {
                let _ = act(&root, what);
            }
            let open = RootDir::open(&root).unwrap();
            let state = dir.path().join("state");
            let digest = Digest::of(b"m");
            let mut known = super::super::state::Known::Nothing(3);
            super::super::state::write(&open, &state, &digest, &mut known, &Closed::default()).unwrap();
            prop_assert_eq!(packed(&open, &state).len(), 1024, "nothing has changed");
            Command::new("cp").args(["-a"]).args([&root, &was]).status().unwrap();
            for what in second {
                let _ = act(&root, what);
            }
            let tar = packed(&open, &state);
            let onto = RootDir::open(&was).unwrap();
            std::thread::scope(|scope| scope.spawn(|| {
                let mut entries = Entries::new(BufReader::new(&tar[..]), Limits::default());
                let mut journal = Journal::new(dir.path());
                let sink = Sink::Plain { first: false };
                apply(&onto, &mut entries, sink, &mut journal).unwrap();
                seal(&onto, &journal, sink).unwrap();
            }).join().unwrap());
            prop_assert_eq!(tree(&root), tree(&was));
        }
    }
}
