//! How two images differ: in their files, and in what their configs say.

use std::cmp::Ordering;

use serde_json::Value;

use crate::layer::merged::{Merged, Node, What};

/// How a path differs.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// Only the second image has it.
    Added(&'a Node),
    /// Only the first image has it.
    Deleted(&'a Node),
    /// Both have it.
    Changed(&'a Node, &'a Node),
}

impl Change<'_> {
    /// In what the two are unlike: `kind`, `content`, `target`, `device`, `size`, `mode`, `owner`,
    /// `xattrs`, `time`.
    pub fn ways(&self) -> Vec<&'static str> {
        let Self::Changed(a, b) = self else { return Vec::new() };
        let mut ways = Vec::new();
        match (&a.what, &b.what) {
            (What::File { size, sum }, What::File { size: other, sum: other_sum }) => {
                ways.extend((size != other).then_some("size"));
                ways.extend((size != other || sum != other_sum).then_some("content"));
            }
            (What::Symlink(was), What::Symlink(is)) => {
                ways.extend((was != is).then_some("target"));
            }
            (What::Char(was), What::Char(is)) | (What::Block(was), What::Block(is)) => {
                ways.extend((was != is).then_some("device"));
            }
            (was, is) => ways.extend((was != is).then_some("kind")),
        }
        let (a, b) = (&a.meta, &b.meta);
        ways.extend((a.mode != b.mode).then_some("mode"));
        ways.extend(((a.uid, a.gid) != (b.uid, b.gid)).then_some("owner"));
        let sorted = |x: &[(Vec<u8>, Vec<u8>)]| {
            let mut all = x.to_vec();
            all.sort();
            all
        };
        ways.extend((sorted(&a.xattrs) != sorted(&b.xattrs)).then_some("xattrs"));
        ways.extend((a.mtime != b.mtime).then_some("time"));
        ways
    }
}

/// Tells each path that differs, sorted. Times alone count only if `times`.
pub fn files<'a, E>(
    a: &'a Merged,
    b: &'a Merged,
    times: bool,
    mut tell: impl FnMut(&[u8], Change<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let (mut left, mut right) = (a.iter().peekable(), b.iter().peekable());
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((x, _)), Some((y, _))) => x.cmp(y),
        };
        let x = if order == Ordering::Greater { None } else { left.next() };
        let y = if order == Ordering::Less { None } else { right.next() };
        match (x, y) {
            (Some((path, a)), Some((_, b))) => {
                let change = Change::Changed(a, b);
                let ways = change.ways();
                if ways.iter().any(|way| times || *way != "time") {
                    tell(path, change)?;
                }
            }
            // The root is there whether a layer speaks of it or not.
            (Some((b"", _)), None) | (None, Some((b"", _))) => {}
            (Some((path, node)), None) => tell(path, Change::Deleted(node))?,
            (None, Some((path, node))) => tell(path, Change::Added(node))?,
            (None, None) => return Ok(()),
        }
    }
}

/// A place in a document where two differ: its JSON pointer, and what is there.
pub type Place<'a> = (String, Option<&'a Value>, Option<&'a Value>);

/// Where two documents differ; lists are compared whole.
pub fn documents<'a>(a: &'a Value, b: &'a Value) -> Vec<Place<'a>> {
    let mut places = Vec::new();
    walk("", Some(a), Some(b), &mut places);
    places
}

fn walk<'a>(at: &str, a: Option<&'a Value>, b: Option<&'a Value>, places: &mut Vec<Place<'a>>) {
    let (Some(Value::Object(x)), Some(Value::Object(y))) = (a, b) else {
        if a != b {
            places.push((at.to_owned(), a, b));
        }
        return;
    };
    let mut keys: Vec<&String> = x.keys().chain(y.keys()).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        // SPEC: RFC 6901.
        let key_text = key.replace('~', "~0").replace('/', "~1");
        walk(&format!("{at}/{key_text}"), x.get(key), y.get(key), places);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::merged::tests::tar;
    use crate::layer::{Entries, Limits};
    use serde_json::json;

    fn merged(lines: &[&str]) -> Merged {
        let mut all = Merged::new(true, false);
        all.push(&mut Entries::new(&tar(lines)[..], Limits::default())).unwrap();
        all
    }

    #[test]
    fn files_that_differ_are_told_in_order() {
        let a = merged(&["d d", "f d/same 1", "f d/gone 1", "f f one", "l l x", "f t 1"]);
        let b = merged(&["d d", "f d/same 1", "f f two", "l l y", "d t", "f z 1"]);
        let mut told = Vec::new();
        files::<()>(&a, &b, true, |path, change| {
            let kind = match change {
                Change::Added(_) => "A",
                Change::Deleted(_) => "D",
                Change::Changed(..) => "C",
            };
            let path = String::from_utf8_lossy(path);
            told.push(format!("{kind} {path} {}", change.ways().join(",")));
            Ok(())
        })
        .unwrap();
        assert_eq!(told, ["D d/gone ", "C f content", "C l target", "C t kind,mode", "A z "]);
    }

    #[test]
    fn documents_that_differ_say_where() {
        let a = json!({"config": {"Env": ["A=1"], "Labels": {"x/y": "1"}}, "os": "linux"});
        let b = json!({"config": {"Env": ["A=2"], "Labels": {}, "User": "u"}, "os": "linux"});
        let places: Vec<String> = documents(&a, &b).into_iter().map(|(at, ..)| at).collect();
        assert_eq!(places, ["/config/Env", "/config/Labels/x~1y", "/config/User"]);
        assert!(documents(&a, &a).is_empty());
    }
}
