//! COPY and ADD: what their sources hold becomes a layer's tar, without a copy in between.
//!
//! [`find`] looks for the sources and hashes them ([`walk`], with what [`Memory`] knows), which is
//! all that a step's key needs. [`Found::write`] then lays them out over the base ([`layout`]) and
//! writes the tar from the sources themselves ([`emit`]). A file that has changed in between ends
//! the build: else its old digest would stand for its new content in the cache.

mod archive;
mod chmod;
mod emit;
#[cfg(test)]
mod hostile;
mod layout;
mod memory;
mod source;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::HashMap;
use std::io::Write;

use jiff::Timestamp;
use nix::sys::stat::{SFlag, major, minor};
use tempfile::TempDir;

pub use memory::Memory;

use super::cancel::Cancel;
use super::dockerfile::Copy;
use super::fetch::{Fetch, Fetched};
use super::glob;
use super::ignore::Ignore;
use crate::bundle::user;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Error, Result};
use crate::layer::RootDir;
use crate::layer::at::{is_dir, kind};
use crate::layer::header::Writer;
use crate::layer::name::{join, split};
use crate::layer::pack::Packed;
use crate::layer::settle::mtime;
use archive::Spool;
use chmod::Chmod;
use layout::{About, Body, Layout, Node, What};
use source::{Places, Spot};
use walk::{Entry, Walk};

/// Whose files are when nothing is said of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owners {
    /// root's: they come from a context.
    Root,
    /// Whose they were: they come from a stage or an image.
    Kept,
}

/// Where files come from.
#[derive(Clone, Copy)]
pub struct Files<'a> {
    /// All of them.
    pub root: &'a RootDir,
    /// What of them isn't there.
    pub ignore: Option<&'a Ignore>,
    /// What is known of them.
    pub memory: Option<&'a Memory>,
    /// Whose they are.
    pub owners: Owners,
    /// What errors call it: `the build context`.
    pub title: &'a str,
    /// Ends the reading.
    pub cancel: Option<&'a Cancel>,
}

/// A COPY or ADD to be done.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// Its words, expanded.
    pub what: &'a Copy,
    /// It is an ADD.
    pub add: bool,
    /// The context, or what `--from` names.
    pub from: Files<'a>,
    /// The WORKDIR.
    pub workdir: &'a str,
    /// When all was made, if that was said.
    pub epoch: Option<Timestamp>,
    /// When what has no time of its own was made.
    pub now: Timestamp,
    /// How URLs and repositories are fetched.
    pub fetch: &'a Fetch<'a>,
}

/// What a COPY or ADD is to bring, found and hashed.
pub struct Found<'a> {
    asked: Asked<'a>,
    chmod: Option<Chmod>,
    given: Vec<Given>,
    texts: Vec<Vec<u8>>,
    digest: Digest,
    /// What was fetched lies there.
    _fetched: Vec<TempDir>,
}

/// A source, found.
enum Given {
    /// A file, or a directory with what is in it.
    Tree {
        name: Vec<u8>,
        top: Vec<u8>,
        found: Vec<Entry>,
        /// Where it was fetched to.
        spooled: Option<RootDir>,
        owners: Owners,
        /// Stands for its content.
        key: Option<Digest>,
    },
    /// An archive that is unpacked.
    Archive { real: Vec<u8>, digest: [u8; 32], spooled: Option<RootDir>, title: String },
    /// A heredoc: its name; the text is the so-manieth.
    Text { name: Vec<u8>, text: usize },
}

/// Looks for all that a COPY or ADD names, and hashes it.
pub fn find<'a>(asked: &Asked<'a>) -> Result<Found<'a>> {
    let what = asked.what;
    let chmod = what.chmod.as_deref().map(Chmod::parse).transpose()?;
    let exclude = Ignore::new(what.exclude.iter().map(String::as_str))?;
    let empty = Ignore::default();
    let mut finding = Finding {
        asked,
        exclude: &exclude,
        ignore: asked.from.ignore.unwrap_or(&empty),
        given: Vec::new(),
        fetched: Vec::new(),
    };
    for source in &what.sources {
        finding.source(source)?;
    }
    let Finding { mut given, fetched, .. } = finding;
    let mut texts = Vec::new();
    for doc in &what.heredocs {
        let name = split(&source::rooted(&doc.name)).1.to_vec();
        given.push(Given::Text { name, text: texts.len() });
        texts.push(doc.content.as_bytes().to_vec());
    }
    let digest = Digest::of(b"");
    let mut found = Found { asked: *asked, chmod, given, texts, digest, _fetched: fetched };
    found.digest = found.sum();
    Ok(found)
}

/// Where this path of the files leads, clean and without links: as a mount's source it is opened so.
pub(super) fn locate_below(files: &Files<'_>, path: &str) -> Result<Vec<u8>> {
    let empty = Ignore::default();
    let ignore = files.ignore.unwrap_or(&empty);
    let places = Places { root: files.root, ignore, title: files.title };
    places.locate(&source::rooted(path), path).map(|(path, _)| path)
}

/// The digest of all that a mount of a path shows.
pub fn digest_below(files: &Files<'_>, path: &str) -> Result<Digest> {
    let empty = Ignore::default();
    let ignore = files.ignore.unwrap_or(&empty);
    let places = Places { root: files.root, ignore, title: files.title };
    let (top, _) = places.locate(&source::rooted(path), path)?;
    let walk = Walk {
        root: files.root,
        top: &top,
        ignore,
        exclude: &empty,
        include: None,
        memory: files.memory,
        cancel: files.cancel,
    };
    let found = walk.run()?;
    let mut sum = Hasher::new(Algorithm::Sha256);
    entries(&mut sum, &found, None, files.owners == Owners::Kept);
    Ok(sum.finish())
}

struct Finding<'a, 'b> {
    asked: &'b Asked<'a>,
    exclude: &'b Ignore,
    ignore: &'b Ignore,
    given: Vec<Given>,
    fetched: Vec<TempDir>,
}

impl Finding<'_, '_> {
    fn source(&mut self, source: &str) -> Result<()> {
        let from = self.asked.from;
        let places = Places { root: from.root, ignore: self.ignore, title: from.title };
        if let Some(fetched) = self.asked.fetch.source(self.asked, source)? {
            return self.fetched(fetched);
        }
        if self.asked.what.parents {
            return self.with_parents(&places, source);
        }
        for spot in places.find(source, self.exclude)? {
            let unpack = self.asked.what.unpack.unwrap_or(self.asked.add);
            if unpack && !spot.directory && self.archive(&spot, from.root)? {
                continue;
            }
            let found = self.walk(from.root, &spot.real, self.ignore, self.exclude, None)?;
            self.tree(spot, found, None, from.owners);
        }
        Ok(())
    }

    fn walk(
        &self,
        root: &RootDir,
        top: &[u8],
        ignore: &Ignore,
        exclude: &Ignore,
        include: Option<&Ignore>,
    ) -> Result<Vec<Entry>> {
        let own = std::ptr::eq(root, self.asked.from.root);
        let memory = self.asked.from.memory.filter(|_| own);
        let cancel = self.asked.from.cancel;
        Walk { root, top, ignore, exclude, include, memory, cancel }.run()
    }

    fn tree(&mut self, spot: Spot, found: Vec<Entry>, spooled: Option<RootDir>, owners: Owners) {
        let Spot { name, real: top, .. } = spot;
        self.given.push(Given::Tree { name, top, found, spooled, owners, key: None });
    }

    /// `--parents`: directories on the way come with it, from `/./` on if there is one.
    fn with_parents(&mut self, places: &Places<'_>, source: &str) -> Result<()> {
        let (pivot, pattern) = match source.split_once("/./") {
            Some((pivot, pattern)) => (pivot, pattern),
            None => ("", source),
        };
        let pattern = source::rooted(pattern);
        let plain = !glob::is_pattern(&pattern) && !glob::is_pattern(pivot.as_bytes());
        let typed = std::str::from_utf8(&pattern).unwrap_or(source);
        let include = Ignore::new([typed])?;
        for spot in places.find(pivot, &Ignore::default())? {
            if !spot.directory {
                continue;
            }
            let include = (!pattern.is_empty()).then_some(&include);
            let found = self.walk(places.root, &spot.real, self.ignore, self.exclude, include)?;
            if plain && found.len() < 2 && !pattern.is_empty() {
                // Only to say what lacks; what is there and empty is fine.
                places.locate(&join_path(&spot.real, &pattern), source)?;
            }
            self.tree(spot, found, None, self.asked.from.owners);
        }
        Ok(())
    }

    /// Takes a file as an archive, if it is one.
    fn archive(&mut self, spot: &Spot, root: &RootDir) -> Result<bool> {
        let fail = |e| root.error("read", &spot.real, crate::layer::settle::errno(&e));
        let (up, base) = split(&spot.real);
        let dir = root
            .open_plain(up, nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_DIRECTORY)
            .map_err(|e| root.error("open", up, e))?;
        let Some(file) = walk::open(dir, base).map_err(|e| root.error("open", &spot.real, e))?
        else {
            return Ok(false);
        };
        if !archive::is_archive(&std::fs::File::from(file)).map_err(fail)? {
            return Ok(false);
        }
        let none = Ignore::default();
        let found = self.walk(root, &spot.real, &none, &none, None)?;
        let digest = found.first().map_or([0; 32], |entry| entry.content);
        let title = String::from_utf8_lossy(&spot.real).into_owned();
        self.given.push(Given::Archive { real: spot.real.clone(), digest, spooled: None, title });
        Ok(true)
    }

    /// What came from a URL or a repository.
    fn fetched(&mut self, fetched: Fetched) -> Result<()> {
        let Fetched { root, name, unpack, key: known, dir } = fetched;
        self.fetched.push(dir);
        let none = Ignore::default();
        let spot = Spot { name: name.clone(), directory: name.is_empty(), real: name };
        if unpack && self.archive(&spot, &root)? {
            if let Some(Given::Archive { spooled, .. }) = self.given.last_mut() {
                *spooled = Some(root);
            }
            return Ok(());
        }
        let exclude = if spot.directory { self.exclude } else { &none };
        let found = self.walk(&root, &spot.real, &none, exclude, None)?;
        self.tree(spot, found, Some(root), Owners::Root);
        if let Some(Given::Tree { key, .. }) = self.given.last_mut() {
            *key = known;
        }
        Ok(())
    }
}

fn join_path(top: &[u8], path: &[u8]) -> Vec<u8> {
    if top.is_empty() { path.to_vec() } else { join(top, path) }
}

impl Found<'_> {
    /// What it brings, as a key: names, modes, owners, links, contents and attributes, and no
    /// times. Where to and by which names is the instruction's text.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Whether the layer depends on what lies below.
    pub fn needs_base(&self) -> bool {
        let numeric = |name: &str| name.bytes().all(|b| b.is_ascii_digit());
        let owner = self.asked.what.chown.as_deref();
        !self.asked.what.link || !owner.is_none_or(|owner| owner.split(':').all(numeric))
    }

    fn sum(&self) -> Digest {
        let mut sum = Hasher::new(Algorithm::Sha256);
        let what = self.asked.what;
        for given in &self.given {
            match given {
                Given::Tree { key: Some(key), .. } => {
                    field(&mut sum, b"key");
                    field(&mut sum, key.hex().as_bytes());
                }
                Given::Tree { name, found, owners, .. } => {
                    field(&mut sum, b"tree");
                    // A directory's own name and attributes don't matter: its contents are copied.
                    let file = found.first().is_some_and(|top| !is_dir(&top.stat));
                    field(&mut sum, if file { name } else { b"" });
                    let kept = *owners == Owners::Kept && what.chown.is_none();
                    entries(&mut sum, found, self.chmod.as_ref(), kept);
                }
                Given::Archive { digest, .. } => {
                    field(&mut sum, b"archive");
                    field(&mut sum, digest);
                }
                Given::Text { name, text } => {
                    field(&mut sum, b"text");
                    field(&mut sum, name);
                    field(&mut sum, &self.texts[*text]);
                }
            }
        }
        sum.finish()
    }

    /// Writes the layer. `base` is the root of what lies below, merged; without one, all
    /// directories on the way are new.
    pub fn write(&self, base: Option<&RootDir>, out: &mut dyn Write) -> Result<Packed> {
        let what = self.asked.what;
        let owner = self.owner(base)?;
        let (uid, gid) = owner.unwrap_or((0, 0));
        let now = emit::clamped(emit::at(self.asked.now), self.asked.epoch);
        let mode = self.chmod.as_ref().map_or(0o755, Chmod::of_parents);
        let made = About { mode, uid, gid, mtime: now, xattrs: Vec::new() };
        let below = if what.link { None } else { base };
        let layout = Layout::new(below, made.clone());
        let mut laying = Laying { found: self, layout, owner, made, spools: HashMap::new() };
        for source in 0..self.given.len() {
            laying.source(source)?;
        }
        let (nodes, old) = laying.layout.finish()?;
        let emit = emit::Emit {
            root: self.asked.from.root,
            cancel: self.asked.from.cancel,
            base: below,
            given: &self.given,
            texts: &self.texts,
            old,
            spools: laying.spools,
            epoch: self.asked.epoch,
            out: Writer::new(out),
            done: Packed::default(),
            first: HashMap::new(),
            buffer: Vec::new(),
        };
        emit.run(&nodes)
    }

    fn owner(&self, base: Option<&RootDir>) -> Result<Option<(u32, u32)>> {
        let Some(spec) = &self.asked.what.chown else { return Ok(None) };
        let (name, group) =
            spec.split_once(':').map_or((spec.as_str(), None), |(n, g)| (n, Some(g)));
        let number = |text: &str| text.parse::<u32>().ok().filter(|n| i32::try_from(*n).is_ok());
        let group = group.filter(|g| !g.is_empty());
        if let (Some(uid), Some(gid)) =
            (number(name), group.map_or(Some(None), |g| number(g).map(Some)))
        {
            // DIFFERS: none: a number alone is the group, too.
            return Ok(Some((uid, gid.unwrap_or(uid))));
        }
        let Some(base) = base else {
            let hint = "with --link and no base, give numbers";
            return Err(Error::unsupported(format!("--chown={spec}"), hint));
        };
        let user = user::resolve(base, name)?;
        let gid = match group {
            Some(group) => user::group(base, group)?,
            None if number(name).is_some() => user.uid,
            None => user.gid,
        };
        Ok(Some((user.uid, gid)))
    }

    /// The destination, whose last part may be a link, and whether it is meant as a directory.
    fn dest(&self) -> (Vec<u8>, bool) {
        let dest = self.asked.what.dest.as_str();
        let directory = dest.is_empty()
            || dest == "."
            || dest == ".."
            || dest.ends_with('/')
            || dest.ends_with("/.")
            || dest.ends_with("/..");
        let whole = if dest.starts_with('/') {
            dest.to_owned()
        } else {
            format!("{}/{dest}", self.asked.workdir)
        };
        (source::rooted(&whole), directory)
    }
}

/// Sources on their way to their places.
struct Laying<'a> {
    found: &'a Found<'a>,
    layout: Layout<'a>,
    owner: Option<(u32, u32)>,
    made: About,
    /// What archives brought.
    spools: HashMap<usize, Spool>,
}

impl Laying<'_> {
    fn source(&mut self, source: usize) -> Result<()> {
        let found = self.found;
        match &found.given[source] {
            Given::Tree { name, found: entries, owners, .. } => {
                let directory = entries.first().is_some_and(|top| is_dir(&top.stat));
                let dest = self.dest(name, directory)?;
                let mut same = HashMap::new();
                for (n, entry) in entries.iter().enumerate() {
                    if directory && n == 0 {
                        continue; // only what is in it
                    }
                    let path = walk::join_below(&dest, &entry.path);
                    let node = self.node(source, n, entry, *owners, &mut same);
                    self.layout.put(path, node)?;
                }
                Ok(())
            }
            Given::Archive { real, spooled, title, .. } => {
                let (dest, _) = found.dest();
                let dest = self.layout.resolve(&dest, true)?;
                self.layout.make_dirs(&dest)?;
                let root = spooled.as_ref().unwrap_or(found.asked.from.root);
                let mut stream = archive::open(emit::open_file(root, real)?)?;
                let mut spool = Spool::new(found.asked.fetch.scratch)?;
                let layout = &mut self.layout;
                archive::lay_out(layout, source, &mut stream, &mut spool, &dest, self.owner)
                    .map_err(|e| match e {
                        Error::Invalid { why, .. } => {
                            Error::invalid(format!("archive {title}"), why)
                        }
                        other => other,
                    })?;
                self.spools.insert(source, spool);
                Ok(())
            }
            Given::Text { name, text } => {
                let dest = self.dest(name, false)?;
                let mode = found.chmod.as_ref().map_or(0o644, |c| c.apply(0o644, false));
                let about = About { mode, ..self.made.clone() };
                self.layout.put(dest, Node { about, what: What::File(Body::Text(*text)) })
            }
        }
    }

    /// Where a source comes to lie, its directory made.
    fn dest(&mut self, name: &[u8], directory: bool) -> Result<Vec<u8>> {
        let (path, into) = self.found.dest();
        let layout = &mut self.layout;
        let above = if into { path.as_slice() } else { split(&path).0 };
        let above = layout.resolve(above, true)?;
        layout.make_dirs(&above)?;
        let mut dest = layout.resolve(&path, true)?;
        if !directory && layout.is_dir(&dest)? {
            dest = join(&dest, name);
        }
        if directory && !layout.is_there(&dest)? {
            layout.make_dirs(&dest)?;
        } else if directory && !layout.is_dir(&dest)? {
            return Err(Error::Overwrite { path: dest, directory: false });
        } else {
            layout.make_dirs(split(&dest).0)?;
        }
        Ok(dest)
    }

    fn node(
        &self,
        source: usize,
        n: usize,
        entry: &Entry,
        owners: Owners,
        same: &mut HashMap<(u64, u64), usize>,
    ) -> Node {
        let stat = &entry.stat;
        let of_source = if owners == Owners::Kept { (stat.st_uid, stat.st_gid) } else { (0, 0) };
        let (uid, gid) = self.owner.unwrap_or(of_source);
        let mode = stat.st_mode & 0o7777;
        let mode = match &self.found.chmod {
            Some(chmod) if kind(stat) != SFlag::S_IFLNK => chmod.apply(mode, is_dir(stat)),
            _ => mode,
        };
        let xattrs = entry.xattrs.clone();
        let about = About { mode, uid, gid, mtime: mtime(stat), xattrs };
        let numbers = (major(stat.st_rdev), minor(stat.st_rdev));
        let what = match kind(stat) {
            SFlag::S_IFDIR => What::Dir,
            SFlag::S_IFLNK => What::Link(entry.link.clone()),
            SFlag::S_IFCHR => What::Node(b'3', numbers.0, numbers.1),
            SFlag::S_IFBLK => What::Node(b'4', numbers.0, numbers.1),
            SFlag::S_IFIFO => What::Node(b'6', 0, 0),
            _ => {
                let first = match stat.st_nlink {
                    0 | 1 => n,
                    _ => *same.entry((stat.st_dev, stat.st_ino)).or_insert(n),
                };
                What::File(Body::Found { source, entry: n, same: first })
            }
        };
        Node { about, what }
    }
}

/// What found things are, for a key.
fn entries(sum: &mut Hasher, found: &[Entry], chmod: Option<&Chmod>, owners: bool) {
    let mut same: HashMap<(u64, u64), usize> = HashMap::new();
    let mut line = Vec::new();
    for (n, entry) in found.iter().enumerate() {
        let stat = &entry.stat;
        let (sort, directory) = (kind(stat), is_dir(stat));
        if directory && entry.path.is_empty() {
            continue;
        }
        let mode = stat.st_mode & 0o7777;
        let mode = match chmod {
            _ if sort == SFlag::S_IFLNK => 0,
            Some(chmod) => chmod.apply(mode, directory),
            None => mode,
        };
        line.clear();
        put(&mut line, &entry.path);
        line.extend_from_slice(&(sort.bits() | mode).to_be_bytes());
        if owners {
            line.extend_from_slice(&stat.st_uid.to_be_bytes());
            line.extend_from_slice(&stat.st_gid.to_be_bytes());
        }
        match sort {
            SFlag::S_IFREG => {
                line.extend_from_slice(&entry.content);
                if stat.st_nlink > 1 {
                    let first = *same.entry((stat.st_dev, stat.st_ino)).or_insert(n);
                    if first != n {
                        put(&mut line, &found[first].path);
                    }
                }
            }
            SFlag::S_IFLNK => put(&mut line, &entry.link),
            SFlag::S_IFCHR | SFlag::S_IFBLK => line.extend_from_slice(&stat.st_rdev.to_be_bytes()),
            _ => {}
        }
        for (key, value) in &entry.xattrs {
            put(&mut line, key);
            put(&mut line, value);
        }
        field(sum, &line);
    }
}

/// Bytes with their length before them: no two lists of fields look the same.
fn field(sum: &mut Hasher, bytes: &[u8]) {
    sum.update(&(bytes.len() as u64).to_be_bytes());
    sum.update(bytes);
}

fn put(line: &mut Vec<u8>, bytes: &[u8]) {
    line.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    line.extend_from_slice(bytes);
}
