//! A manifest's text. Foreign input: every line is checked, and so is their number.

use std::collections::BTreeMap;
use std::io::{BufRead, Read};

use super::keys::{Values, canonical, prefix};
use super::vis::unvis;
use crate::error::{Error, Result};
use crate::layer::name::{Name, join, split};

/// Go's scanner takes no longer lines.
const MAX_LINE: usize = 1 << 20;
const MAX_ENTRIES: usize = 1 << 24;

/// What a manifest says, by path; the root's is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Every path with its values.
    pub entries: BTreeMap<Vec<u8>, Values>,
}

impl Manifest {
    /// Reads a manifest; `what` names it in errors.
    pub fn read(from: &mut dyn BufRead, what: &str) -> Result<Self> {
        let mut reading = Reading { set: Values::new(), dirs: Vec::new(), this: Self::default() };
        let mut line = Vec::new();
        let mut number = 0;
        loop {
            let n = from
                .take(MAX_LINE as u64 + 1)
                .read_until(b'\n', &mut line)
                .map_err(|e| Error::from_io("read", what, e))?;
            if n == 0 && line.is_empty() {
                return Ok(reading.this);
            }
            number += 1;
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            if line.len() >= MAX_LINE || reading.this.entries.len() >= MAX_ENTRIES {
                return Err(Error::invalid(what, format!("it is too large at line {number}")));
            }
            if line.last() == Some(&b'\\') && n > 0 && !line.starts_with(b"#") {
                line.pop();
                continue;
            }
            reading
                .line(&line)
                .map_err(|why| Error::invalid(what, format!("line {number}: {why}")))?;
            line.clear();
        }
    }

    /// The keywords that it uses.
    pub fn keywords(&self) -> Result<Vec<&'static str>> {
        let mut names: Vec<&str> = Vec::new();
        for key in self.entries.values().flat_map(BTreeMap::keys) {
            let name = prefix(key);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names.into_iter().map(canonical).collect()
    }

    /// What lies in each directory.
    pub fn by_directory(self) -> BTreeMap<Vec<u8>, Vec<(Vec<u8>, Values)>> {
        let mut all: BTreeMap<Vec<u8>, Vec<(Vec<u8>, Values)>> = BTreeMap::new();
        for (path, values) in self.entries {
            if !path.is_empty() {
                let (dir, base) = split(&path);
                all.entry(dir.to_vec()).or_default().push((base.to_vec(), values));
            }
        }
        for names in all.values_mut() {
            names.sort_by(|a, b| a.0.cmp(&b.0));
        }
        all
    }
}

struct Reading {
    set: Values,
    /// The directory that names are in now.
    dirs: Vec<Vec<u8>>,
    this: Manifest,
}

impl Reading {
    fn line(&mut self, line: &[u8]) -> Result<(), String> {
        let mut words = line.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty());
        let Some(first) = words.next() else { return Ok(()) };
        match first {
            _ if first.starts_with(b"#") => Ok(()),
            b".." => {
                self.dirs.pop();
                Ok(())
            }
            b"/set" => {
                for (key, value) in words.map(word) {
                    self.set.insert(key, value);
                }
                Ok(())
            }
            b"/unset" => {
                self.set.clear();
                Ok(())
            }
            _ if first.starts_with(b"/") => Err("it is no command of mtree".into()),
            _ => self.entry(first, words.map(word)),
        }
    }

    fn entry(
        &mut self,
        name: &[u8],
        words: impl Iterator<Item = (String, String)>,
    ) -> Result<(), String> {
        let text = unvis(name).ok_or("the name is badly encoded")?;
        let full = name.contains(&b'/');
        let own: Values = words.collect();
        let directory = own.get("type").is_some_and(|t| t == "dir");
        let clean = Name::clean(&text).map_err(|e| e.to_string())?;
        let path = match self.dirs.last() {
            Some(dir) if !full => join(dir, clean.as_bytes()),
            _ => clean.as_bytes().to_vec(),
        };
        let path = path.strip_suffix(b"/").unwrap_or(&path).to_vec();
        if directory && !full {
            self.dirs.push(path.clone());
        }
        let mut values = self.set.clone();
        values.extend(own);
        self.this.entries.insert(path, values);
        Ok(())
    }
}

/// `keyword=value`; the keyword by its one name, if it is known.
fn word(text: &[u8]) -> (String, String) {
    let text = String::from_utf8_lossy(text);
    let (key, value) = text.split_once('=').unwrap_or((&text, ""));
    let name = prefix(key);
    let known = canonical(name).unwrap_or(name);
    (format!("{known}{}", &key[name.len()..]), value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "#mtree v2\n/set type=file uid=0 mode=0644\n. type=dir mode=0755\n    a\\040b size=3 \\\n sha256=ff\n\n# sub\nsub type=dir\n    x uid=5\n..\nlast xattrs.user.x=eA==\n..\nsub/y size=1\n";

    #[test]
    fn lines_become_paths_with_values() {
        let m = Manifest::read(&mut TEXT.as_bytes(), "m").unwrap();
        let paths: Vec<&[u8]> = m.entries.keys().map(Vec::as_slice).collect();
        assert_eq!(paths, [&b""[..], b"a b", b"last", b"sub", b"sub/x", b"sub/y"]);
        assert_eq!(m.entries[&b"a b"[..]]["sha256digest"], "ff");
        assert_eq!(m.entries[&b"sub/x"[..]]["uid"], "5");
        assert_eq!(m.entries[&b"last"[..]]["xattr.user.x"], "eA==");
        assert_eq!(m.keywords().unwrap(), ["mode", "type", "uid", "sha256digest", "size", "xattr"]);
        assert!(Manifest::read(&mut &b"a\\9 type=file\n"[..], "m").is_err());
        assert!(Manifest::read(&mut &b"../x type=file\n"[..], "m").is_err());
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Manifest::read(&mut &text[..], "m");
        }
    }
}
