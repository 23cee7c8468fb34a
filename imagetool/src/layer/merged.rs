//! What a stack of layers comes to, told from their tars alone: no file is made, no privilege
//! needed. An entry costs some two hundred bytes of memory, and its content none.
//!
//! Layers are laid on each other as overlayfs shows them: a whiteout is for the layers below its
//! own, a link on the way to a file counts if it is of the same layer.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;

use super::entry::{Body, Device, Entries, Entry, Kind, Meta, invalid};
use super::name::{Name, join, split};
use super::pax::Time;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Error, Result};

/// Links on the way to one file end here. KERNEL: path_resolution(7): 40.
const MAX_LINKS: usize = 40;
const BLOCK: u64 = 4096;

/// What something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A directory.
    Dir,
    /// A file; its digest over all blocks that aren't zeros, if it was asked for.
    File {
        /// Its length.
        size: u64,
        /// Of what is in it.
        sum: Option<Digest>,
    },
    /// A symbolic link.
    Symlink(Box<[u8]>),
    /// A character device.
    Char(Device),
    /// A block device.
    Block(Device),
    /// A named pipe.
    Fifo,
    /// Another name of what lies below the stack.
    LinkBelow(Box<[u8]>),
}

/// Something that has one name or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What.
    pub what: What,
    /// Owner, mode, time, attributes.
    pub meta: Meta,
    /// Which layer it is from, and its number among that layer's entries; a directory that only
    /// its children tell of has none.
    pub from: Option<(u32, u32)>,
}

/// A name.
#[derive(Clone, Copy, Debug)]
struct Named {
    node: u32,
    /// Which layer gave it.
    layer: u32,
}

/// A set of paths.
type Paths = BTreeSet<Box<[u8]>>;

/// A stack of layers.
#[derive(Clone, Debug, Default)]
pub struct Merged {
    names: BTreeMap<Box<[u8]>, Named>,
    nodes: Vec<Node>,
    layers: u32,
    /// Removed of what lies below the stack.
    gone: Paths,
    /// Directories that show nothing of what lies below the stack.
    opaque: Paths,
    sums: bool,
    above: bool,
}

impl Merged {
    /// An empty stack. `sums`: files are told apart by their contents. `above`: it lies upon
    /// layers that it doesn't have, so that what it removes is remembered.
    pub fn new(sums: bool, above: bool) -> Self {
        Self { sums, above, ..Self::default() }
    }

    /// Lays a layer on top.
    pub fn push<R: BufRead>(&mut self, entries: &mut Entries<R>) -> Result<()> {
        let mut nth = 0;
        while let Some(entry) = entries.advance()? {
            let name = entry.name.clone();
            self.entry(entry, nth, entries).map_err(|e| within(&name, e))?;
            nth += 1;
        }
        self.layers += 1;
        Ok(())
    }

    /// Every name with what it is, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Node)> {
        self.names.iter().map(|(name, n)| (&**name, &self.nodes[n.node as usize]))
    }

    /// The names of each node, sorted; the nodes that have none are left out.
    pub(super) fn by_node(&self) -> BTreeMap<u32, Vec<&[u8]>> {
        let mut all: BTreeMap<u32, Vec<&[u8]>> = BTreeMap::new();
        for (name, named) in &self.names {
            all.entry(named.node).or_default().push(name);
        }
        all
    }

    pub(super) fn node(&self, id: u32) -> &Node {
        &self.nodes[id as usize]
    }

    /// What of the layers below the stack is removed, and which directories hide all of it.
    pub(super) fn hidden(&self) -> (&Paths, &Paths) {
        (&self.gone, &self.opaque)
    }

    fn entry<R: BufRead>(
        &mut self,
        entry: Entry,
        nth: u32,
        entries: &mut Entries<R>,
    ) -> Result<()> {
        let Entry { name, meta, kind } = entry;
        let (dir, base) = name.split();
        let path = match (&kind, name.is_root()) {
            (Kind::Dir | Kind::Opaque, true) => Vec::new(),
            (_, true) => return Err(invalid("only a directory can be the root")),
            // What isn't there needs no directories to be removed from.
            (Kind::Whiteout, _) => name.as_bytes().to_vec(),
            _ => join(&self.parent(dir)?, base),
        };
        let what = match kind {
            Kind::Whiteout => {
                self.whiteout(&path);
                return Ok(());
            }
            Kind::Opaque => {
                self.opaque(&path);
                return Ok(());
            }
            Kind::Hardlink(target) => return self.hardlink(&path, &target, meta, nth),
            Kind::Dir => What::Dir,
            Kind::File(body) => {
                let sum = if self.sums { Some(sum(&body, entries)?) } else { None };
                What::File { size: body.size, sum }
            }
            Kind::Symlink(text) => What::Symlink(text.into()),
            Kind::Char(device) => What::Char(device),
            Kind::Block(device) => What::Block(device),
            Kind::Fifo => What::Fifo,
        };
        self.put(&path, Node { what, meta, from: Some((self.layers, nth)) })
    }

    fn hardlink(&mut self, path: &[u8], target: &Name, meta: Meta, nth: u32) -> Result<()> {
        let (dir, base) = target.split();
        let real = join(&self.resolve(dir)?, base);
        let Some(found) = self.names.get(real.as_slice()).copied() else {
            if self.above && !self.gone.contains(real.as_slice()) {
                let what = What::LinkBelow(real.into());
                return self.put(path, Node { what, meta, from: Some((self.layers, nth)) });
            }
            return Err(invalid(&format!("it is a hard link to {target}, which isn't there")));
        };
        if self.nodes[found.node as usize].what == What::Dir {
            return Err(invalid("it is a hard link to a directory"));
        }
        if real == path {
            return Ok(());
        }
        self.remove(path, u32::MAX);
        self.gone.remove(path);
        self.names.insert(path.into(), Named { node: found.node, layer: self.layers });
        Ok(())
    }

    /// Gives a name to something new; a directory upon a directory keeps what is in it.
    fn put(&mut self, path: &[u8], node: Node) -> Result<()> {
        let is_dir = node.what == What::Dir;
        let old = self.names.get(path).map(|n| self.nodes[n.node as usize].what == What::Dir);
        match (old, is_dir) {
            (Some(true), true) | (None, _) => {}
            _ => self.remove(path, u32::MAX),
        }
        // What was hidden below stays so when a directory takes the place.
        let hidden = self.gone.remove(path) || old == Some(false);
        if self.above && is_dir && hidden {
            self.opaque.insert(path.into());
        }
        let id = u32::try_from(self.nodes.len())
            .map_err(|_| invalid("the layers have too many entries"))?;
        self.nodes.push(node);
        self.names.insert(path.into(), Named { node: id, layer: self.layers });
        Ok(())
    }

    fn whiteout(&mut self, path: &[u8]) {
        let own = self.names.get(path).is_some_and(|n| n.layer == self.layers);
        self.remove(path, self.layers);
        if !self.above {
            return;
        }
        match self.names.get(path).map(|n| self.nodes[n.node as usize].what == What::Dir) {
            // What this layer has is spared, but what lies below it is not.
            Some(true) => drop(self.opaque.insert(path.into())),
            Some(false) if own => {}
            _ => drop(self.gone.insert(path.into())),
        }
    }

    fn opaque(&mut self, path: &[u8]) {
        let lower: Vec<Box<[u8]>> = self
            .below(path)
            .filter(|(_, n)| n.layer < self.layers)
            .map(|(name, _)| name.clone())
            .collect();
        for name in lower {
            self.forget(&name);
        }
        if self.above {
            self.opaque.insert(path.into());
        }
    }

    /// Removes a name and all below it, as far as it is of layers under this one.
    fn remove(&mut self, path: &[u8], layer: u32) {
        let mut lower: Vec<Box<[u8]>> = self
            .below(path)
            .filter(|(_, n)| n.layer < layer)
            .map(|(name, _)| name.clone())
            .collect();
        if self.names.get(path).is_some_and(|n| n.layer < layer) {
            lower.push(path.into());
        }
        for name in &lower {
            self.forget(name);
        }
        if self.above && !self.names.contains_key(path) {
            let under = inside(path);
            let end = after(path);
            let range = under.as_slice()..end.as_slice();
            for set in [&mut self.gone, &mut self.opaque] {
                let dead: Vec<Box<[u8]>> = set.range::<[u8], _>(bounds(&range)).cloned().collect();
                for name in dead {
                    set.remove(&name);
                }
                set.remove(path);
            }
        }
    }

    fn forget(&mut self, name: &[u8]) {
        self.names.remove(name);
        self.opaque.remove(name);
    }

    /// The names below a directory. `/` sorts before all that could be mistaken for it.
    fn below(&self, path: &[u8]) -> impl Iterator<Item = (&Box<[u8]>, &Named)> {
        let (from, to) =
            if path.is_empty() { (Vec::new(), vec![0xff]) } else { (inside(path), after(path)) };
        let range = from.as_slice()..to.as_slice();
        let root = path.is_empty();
        self.names
            .range::<[u8], _>((
                bounds(&range).0,
                if root { std::ops::Bound::Unbounded } else { bounds(&range).1 },
            ))
            .filter(move |(name, _)| !root || !name.is_empty())
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// The real path of a directory, made with its parents if it lacks.
    fn parent(&mut self, dir: &[u8]) -> Result<Vec<u8>> {
        let real = self.resolve(dir)?;
        let mut at = Vec::new();
        for part in real.split(|&b| b == b'/').filter(|p| !p.is_empty()) {
            at = join(&at, part);
            let is_dir = |n: &Named| self.nodes[n.node as usize].what == What::Dir;
            if self.names.get(at.as_slice()).is_none_or(|n| !is_dir(n)) {
                let meta = Meta { mode: 0o755, mtime: Time::default(), ..Meta::default() };
                self.put(&at, Node { what: What::Dir, meta, from: None })?;
            } else if let Some(there) = self.names.get_mut(at.as_slice()) {
                // It is of this layer, too, and a whiteout of the layer spares it.
                there.layer = self.layers;
            }
        }
        Ok(real)
    }

    /// A path without those links in it that are of this very layer.
    fn resolve(&self, path: &[u8]) -> Result<Vec<u8>> {
        let mut todo: Vec<Vec<u8>> = path.split(|&b| b == b'/').rev().map(<[u8]>::to_vec).collect();
        let (mut at, mut links) = (Vec::new(), 0);
        while let Some(part) = todo.pop() {
            match part.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    at = split(&at).0.to_vec();
                    continue;
                }
                _ => {}
            }
            let next = join(&at, &part);
            let node = self.names.get(next.as_slice()).filter(|n| n.layer == self.layers);
            match node.map(|n| &self.nodes[n.node as usize].what) {
                Some(What::Symlink(text)) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(invalid("too many links lead to it"));
                    }
                    if text.first() == Some(&b'/') {
                        at.clear();
                    }
                    todo.extend(text.split(|&b| b == b'/').rev().map(<[u8]>::to_vec));
                }
                _ => at = next,
            }
        }
        Ok(at)
    }
}

/// `a/b/`: where the names below `a/b` begin.
fn inside(path: &[u8]) -> Vec<u8> {
    [path, b"/"].concat()
}

/// `a/b0`: where they end, as `0` follows `/`.
fn after(path: &[u8]) -> Vec<u8> {
    [path, b"0"].concat()
}

fn bounds<'a>(
    range: &std::ops::Range<&'a [u8]>,
) -> (std::ops::Bound<&'a [u8]>, std::ops::Bound<&'a [u8]>) {
    (std::ops::Bound::Included(range.start), std::ops::Bound::Excluded(range.end))
}

/// The digest of a file's content: the same whether its zeros were written or left out.
fn sum<R: BufRead>(body: &Body, entries: &mut Entries<R>) -> Result<Digest> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut block = Vec::with_capacity(BLOCK as usize);
    let mut at = 0;
    let flush = |block: &mut Vec<u8>, start: u64, hasher: &mut Hasher| {
        if block.iter().any(|&b| b != 0) {
            block.resize(BLOCK as usize, 0);
            hasher.update(&start.to_le_bytes());
            hasher.update(block);
        }
        block.clear();
    };
    entries.body(body, |place, mut piece| {
        let mut place = place;
        while !piece.is_empty() {
            let start = place - place % BLOCK;
            if start != at {
                flush(&mut block, at, &mut hasher);
                at = start;
            }
            let within = (place - start) as usize;
            block.resize(block.len().max(within), 0);
            let n = piece.len().min(BLOCK as usize - within);
            block.truncate(within);
            block.extend_from_slice(&piece[..n]);
            place += n as u64;
            piece = &piece[n..];
        }
        Ok(())
    })?;
    flush(&mut block, at, &mut hasher);
    Ok(hasher.finish())
}

fn within(name: &Name, error: Error) -> Error {
    match error {
        Error::Invalid { what, why } if what == "archive" => {
            Error::invalid(format!("archive entry {name}"), why)
        }
        other => other,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::entry::Limits;
    use super::*;

    /// A layer of lines: `d PATH`, `f PATH CONTENT`, `l PATH TARGET`, `h PATH TARGET`.
    pub(crate) fn tar(lines: &[&str]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for line in lines {
            let mut words = line.split(' ');
            let (kind, path) = (words.next().unwrap(), words.next().unwrap());
            let rest = words.next().unwrap_or("");
            let mut header = tar::Header::new_gnu();
            header.set_mode(if kind == "d" { 0o755 } else { 0o644 });
            header.set_size(if kind == "f" { rest.len() as u64 } else { 0 });
            match kind {
                "d" => header.set_entry_type(tar::EntryType::Directory),
                "l" => header.set_entry_type(tar::EntryType::Symlink),
                "h" => header.set_entry_type(tar::EntryType::Link),
                _ => {}
            }
            match kind {
                "l" | "h" => builder.append_link(&mut header, path, rest).unwrap(),
                _ => builder
                    .append_data(&mut header, path, if kind == "f" { rest } else { "" }.as_bytes())
                    .unwrap(),
            }
        }
        builder.into_inner().unwrap()
    }

    fn merged(layers: &[&[&str]], above: bool) -> Merged {
        let mut all = Merged::new(true, above);
        for lines in layers {
            let tar = tar(lines);
            all.push(&mut Entries::new(&tar[..], Limits::default())).unwrap();
        }
        all
    }

    fn names(layers: &[&[&str]]) -> String {
        let merged = merged(layers, false);
        let names: Vec<String> =
            merged.iter().map(|(n, _)| String::from_utf8_lossy(n).into_owned()).collect();
        names.join(" ")
    }

    #[test]
    fn whiteouts_are_for_the_layers_below() {
        let base: &[&str] = &["d a", "f a/x 1", "f a/y 1", "f b 1", "f a-c 1"];
        assert_eq!(names(&[base, &["f a/.wh.x "]]), "a a-c a/y b");
        assert_eq!(names(&[base, &["f .wh.a "]]), "a-c b");
        assert_eq!(names(&[base, &["f a/z 1", "f a/.wh..wh..opq "]]), "a a-c a/z b");
        assert_eq!(names(&[base, &["f a/x 2", "f a/.wh.x "]]), "a a-c a/x a/y b");
        assert_eq!(names(&[base, &["f .wh..wh..opq ", "f n 1"]]), "n");
        assert_eq!(names(&[base, &["d a", "f .wh.a ", "f a/n 1"]]), "a a-c a/n b");
        assert_eq!(names(&[base, &["f a 1"]]), "a a-c b");
        assert_eq!(names(&[base, &["f a 1"], &["d a"]]), "a a-c b");
        assert_eq!(names(&[&["f deep/er/x 1"]]), "deep deep/er deep/er/x");
    }

    #[test]
    fn links_keep_what_they_name_and_those_of_the_layer_are_followed() {
        let base: &[&str] = &["f x content", "h y x"];
        let all = merged(&[base, &["f .wh.x "]], false);
        let (name, node) = all.iter().next().unwrap();
        assert_eq!(name, b"y");
        assert!(matches!(node.what, What::File { size: 7, .. }));
        assert_eq!(names(&[&["d u", "l l u", "f l/x 1"]]), "l u u/x");
        assert_eq!(names(&[&["d u", "l l u"], &["f l/x 1"]]), "l l/x u");
        assert_eq!(names(&[&["l l ../../u", "f l/x 1"]]), "l u u/x");
        let mut looped = Merged::new(false, false);
        let tar = tar(&["l l l", "f l/x 1"]);
        assert!(looped.push(&mut Entries::new(&tar[..], Limits::default())).is_err());
        let mut lost = Merged::new(false, false);
        let tar = super::tests::tar(&["h y nowhere"]);
        assert!(lost.push(&mut Entries::new(&tar[..], Limits::default())).is_err());
    }

    #[test]
    fn what_it_hides_of_layers_it_lacks_is_remembered() {
        let hidden = |layers: &[&[&str]]| {
            let all = merged(layers, true);
            let text = |set: &Paths| {
                set.iter().map(|n| String::from_utf8_lossy(n).into_owned()).collect::<Vec<_>>()
            };
            let (gone, opaque) = all.hidden();
            (text(gone).join(" "), text(opaque).join(" "))
        };
        let both = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(hidden(&[&["f .wh.a "]]), both("a", ""));
        assert_eq!(hidden(&[&["f .wh.a "], &["f a 1"]]), both("", ""));
        assert_eq!(hidden(&[&["f .wh.a "], &["d a"]]), both("", "a"));
        assert_eq!(hidden(&[&["f a 1"], &["d a"]]), both("", "a"));
        assert_eq!(hidden(&[&["d a", "f a/.wh.x "], &["f .wh.a "]]), both("a", ""));
        assert_eq!(hidden(&[&["d a", "f a/.wh..wh..opq "], &["f a/.wh.x "]]), both("a/x", "a"));
        let below = merged(&[&["h y x"]], true);
        assert!(matches!(below.iter().next().unwrap().1.what, What::LinkBelow(_)));
    }

    #[test]
    fn a_sum_does_not_know_how_zeros_were_written() {
        let zeros = "\0".repeat(9000);
        let written = format!("f x a{zeros}b");
        let all = merged(&[&[&written]], false);
        let mut sparse = Vec::new();
        // The same, as GNU's format 1.0 has it.
        let size = 9002u64;
        let map = format!("2\n0\n1\n{}\n1\n", size - 1);
        let mut data = map.into_bytes();
        data.resize(512, 0);
        data.extend_from_slice(b"ab");
        let mut records = Vec::new();
        for (key, value) in [
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.name", "x"),
            ("GNU.sparse.realsize", "9002"),
        ] {
            let body = format!(" {key}={value}\n");
            let length =
                (body.len() + 1..99).find(|n| n.to_string().len() + body.len() == *n).unwrap();
            records.extend(format!("{length}{body}").bytes());
        }
        let mut builder = tar::Builder::new(&mut sparse);
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::XHeader);
        header.set_size(records.len() as u64);
        builder.append_data(&mut header, "PaxHeaders/x", &records[..]).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, "x", &data[..]).unwrap();
        drop(builder);
        let mut other = Merged::new(true, false);
        other.push(&mut Entries::new(&sparse[..], Limits::default())).unwrap();
        let what = |m: &Merged| m.iter().next().unwrap().1.what.clone();
        assert_eq!(what(&all), what(&other));
        let changed = merged(&[&[&written.replace('b', "c")]], false);
        assert_ne!(what(&all), what(&changed));
    }
}
