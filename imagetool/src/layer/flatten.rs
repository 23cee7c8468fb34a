//! Several layers as one: the stack's directories first, then everything else in the order in
//! which it came, each file once. The same layers always give the same bytes.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, Write};

use super::entry::{Body, Entries, Entry, Kind};
use super::header::{Item, Writer};
use super::holes;
use super::merged::{Merged, Node, What};
use super::name::{join, split};
use super::whiteout::{OPAQUE, PREFIX};
use crate::error::Result;

/// Writes a stack of layers as one, while its layers are read a second time.
pub struct Flatten<'a, W> {
    merged: &'a Merged,
    names: BTreeMap<u32, Vec<&'a [u8]>>,
    /// Which node an entry of a layer has made.
    made: HashMap<(u32, u32), u32>,
    out: Writer<W>,
}

impl<'a, W: Write> Flatten<'a, W> {
    /// Writes what needs no layer: what is hidden of the layers below, and all directories.
    pub fn begin(merged: &'a Merged, out: W) -> Result<Self> {
        let names = merged.by_node();
        let from = |id: &u32| merged.node(*id).from.map(|from| (from, *id));
        let made = names.keys().filter_map(from).collect();
        let mut new = Self { merged, names, made, out: Writer::new(out) };
        let (gone, opaque) = merged.hidden();
        for path in gone {
            let (dir, base) = split(path);
            let path = join(dir, &[PREFIX, base].concat());
            new.out.item(&Item::file(&path, 0o600, 0))?;
        }
        for (path, node) in merged.iter().filter(|(_, n)| n.what == What::Dir) {
            let path = if path.is_empty() { b"./".to_vec() } else { [path, b"/"].concat() };
            new.out.item(&item(path, node, b'5'))?;
        }
        for path in opaque {
            new.out.item(&Item::file(&join(path, OPAQUE), 0o600, 0))?;
        }
        Ok(new)
    }

    /// Writes what is left of a layer; they come lowest first.
    pub fn layer<R: BufRead>(&mut self, layer: u32, entries: &mut Entries<R>) -> Result<()> {
        let mut nth = 0;
        while let Some(Entry { kind, .. }) = entries.advance()? {
            if let Some(&id) = self.made.get(&(layer, nth)) {
                self.node(id, &kind, entries)?;
            }
            nth += 1;
        }
        Ok(())
    }

    /// The end of the archive.
    pub fn finish(self) -> Result<()> {
        self.out.finish()
    }

    fn node<R: BufRead>(&mut self, id: u32, kind: &Kind, entries: &mut Entries<R>) -> Result<()> {
        let node = self.merged.node(id);
        let Some((first, others)) = self.names.get(&id).and_then(|names| names.split_first())
        else {
            return Ok(());
        };
        let first = first.to_vec();
        match (&node.what, kind) {
            (What::Dir, _) => return Ok(()),
            (What::File { .. }, Kind::File(body)) => {
                file(&mut self.out, item(first.clone(), node, b'0'), body, entries)?;
            }
            (What::Symlink(text), _) => {
                self.out.item(&Item { link: Some(text), ..item(first.clone(), node, b'2') })?;
            }
            (What::LinkBelow(target), _) => {
                self.out.item(&Item { link: Some(target), ..item(first.clone(), node, b'1') })?;
            }
            (What::Char(d) | What::Block(d), _) => {
                let flag = if matches!(node.what, What::Char(_)) { b'3' } else { b'4' };
                let device = Some((d.major.into(), d.minor.into()));
                self.out.item(&Item { device, ..item(first.clone(), node, flag) })?;
            }
            (What::Fifo | What::File { .. }, _) => {
                self.out.item(&item(first.clone(), node, b'6'))?;
            }
        }
        for other in others {
            let link = Some(first.as_slice());
            let bare = Item { xattrs: Vec::new(), ..item(other.to_vec(), node, b'1') };
            self.out.item(&Item { link, ..bare })?;
        }
        Ok(())
    }
}

fn item(path: Vec<u8>, node: &Node, flag: u8) -> Item<'static> {
    let meta = &node.meta;
    let mut xattrs = meta.xattrs.clone();
    xattrs.sort();
    Item {
        path,
        flag,
        mode: meta.mode,
        uid: meta.uid,
        gid: meta.gid,
        mtime: meta.mtime,
        size: 0,
        whole: None,
        link: None,
        device: None,
        xattrs,
    }
}

/// A file's headers and content; holes stay holes.
fn file<R: BufRead, W: Write>(
    out: &mut Writer<W>,
    item: Item<'_>,
    body: &Body,
    entries: &mut Entries<R>,
) -> Result<()> {
    let (size, whole, table) = match &body.segments {
        None => (body.size, None, Vec::new()),
        Some(map) => {
            let table = holes::table(map);
            let data: u64 = map.iter().map(|s| s.length).sum();
            (table.len() as u64 + data, Some(body.size), table)
        }
    };
    out.item(&Item { size, whole, ..item })?;
    out.data(&table)?;
    entries.body(body, |_, piece| out.data(piece))?;
    out.pad(size)
}

#[cfg(test)]
mod tests {
    use super::super::entry::Limits;
    use super::super::merged::tests::tar;
    use super::*;
    use proptest::prelude::*;

    fn stack(layers: &[Vec<u8>], above: bool) -> Merged {
        let mut merged = Merged::new(true, above);
        for layer in layers {
            merged.push(&mut Entries::new(&layer[..], Limits::default())).unwrap();
        }
        merged
    }

    fn flat(layers: &[Vec<u8>], above: bool) -> Vec<u8> {
        let merged = stack(layers, above);
        let mut out = Vec::new();
        let mut flatten = Flatten::begin(&merged, &mut out).unwrap();
        for (i, layer) in layers.iter().enumerate() {
            let mut entries = Entries::new(&layer[..], Limits::default());
            flatten.layer(u32::try_from(i).unwrap(), &mut entries).unwrap();
        }
        flatten.finish().unwrap();
        out
    }

    /// Names and what they are; which entry made them is left out.
    fn view(merged: &Merged) -> Vec<(Vec<u8>, What)> {
        merged.iter().map(|(name, node)| (name.to_vec(), node.what.clone())).collect()
    }

    #[test]
    fn one_layer_shows_what_all_did() {
        let layers = [
            tar(&["d a", "f a/x one", "f a/y two", "h hard a/x", "l link a/x", "f gone 1"]),
            tar(&["f .wh.gone ", "f a/x three", "d b", "h b/hard a/y"]),
            tar(&["f a/.wh.y ", "f new 1"]),
        ];
        let one = flat(&layers, false);
        assert_eq!(view(&stack(&layers, false)), view(&stack(std::slice::from_ref(&one), false)));
        assert_eq!(one, flat(&layers, false));
        assert_eq!(one, flat(std::slice::from_ref(&one), false));
    }

    fn lines() -> impl Strategy<Value = Vec<String>> {
        let name = "(a|b|a/b|a/c|b/c)";
        let line = prop_oneof![
            name.prop_map(|n| format!("d {n}")),
            (name, "[xyz]{0,3}").prop_map(|(n, c)| format!("f {n} {c}")),
            name.prop_map(|n| match n.rsplit_once('/') {
                Some((d, b)) => format!("f {d}/.wh.{b} "),
                None => format!("f .wh.{n} "),
            }),
            "(a|b)".prop_map(|n| format!("f {n}/.wh..wh..opq ")),
        ];
        proptest::collection::vec(line, 0..6)
    }

    proptest! {
        #[test]
        fn any_stack_comes_to_the_same_in_one_layer(all in proptest::collection::vec(lines(), 1..5)) {
            let layers: Vec<Vec<u8>> = all
                .iter()
                .map(|l| tar(&l.iter().map(String::as_str).collect::<Vec<_>>()))
                .collect();
            prop_assert_eq!(view(&stack(&layers, false)), view(&stack(&[flat(&layers, false)], false)));
            // And so does any part of it, upon the rest.
            for below in 1..layers.len() {
                let mut two = layers[..below].to_vec();
                two.push(flat(&layers[below..], true));
                prop_assert_eq!(view(&stack(&layers, false)), view(&stack(&two, false)));
            }
        }
    }
}
