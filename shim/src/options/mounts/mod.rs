//! `-v`, `--mount`, `--tmpfs`, `--storage-opt`: text → typed mounts.

mod spec;
mod tmpfs;
mod volume;

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::options::size;

pub use spec::mount;
pub use tmpfs::{options as tmpfs_options, tmpfs};
pub use volume::{Volume, from, volume};

/// How mounts are seen on the other side of a bind.
const PROPAGATION: [&str; 6] = ["rprivate", "private", "rslave", "slave", "rshared", "shared"];

/// Lexically: no `.`, no `//`, `..` taken back.
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    format!("/{}", parts.join("/"))
}

/// docker's two questions to a path in the container.
fn target(path: &str) -> Result<String, String> {
    if clean(path) == "/" && path.starts_with('/') {
        return Err("invalid specification: destination can't be '/'".to_owned());
    }
    if !path.starts_with('/') {
        return Err(format!("invalid mount path: '{path}' mount path must be absolute"));
    }
    Ok(clean(path))
}

/// A path that stays below where it starts, as Go's `filepath.IsLocal`.
fn is_local(path: &str) -> bool {
    let mut depth = 0_i32;
    for part in path.split('/') {
        depth += match part {
            "" | "." => 0,
            ".." => -1,
            _ => 1,
        };
        if depth < 0 {
            return false;
        }
    }
    !path.is_empty() && !path.starts_with('/')
}

/// There is one driver of volumes.
pub fn local_driver(flag: &str, name: &str) -> Result<()> {
    if matches!(name, "" | "local") {
        return Ok(());
    }
    Err(Error::conflict(format!(
        "error looking up volume plugin {name}: plugin \"{name}\" not found; {flag} has local alone, dhow has no plugins"
    )))
}

/// `--storage-opt`: `size=SIZE`, and no more.
pub fn storage(entries: &[String]) -> Result<BTreeMap<String, String>> {
    let mut map = BTreeMap::new();
    for entry in entries {
        let (key, value) =
            entry.split_once('=').ok_or_else(|| Error::usage("invalid storage option"))?;
        if !key.eq_ignore_ascii_case("size") {
            return Err(Error::conflict(format!(
                "--storage-opt: Unknown option {key}; an overlay takes size alone"
            )));
        }
        if size::bytes("--storage-opt size", value)? <= 0 {
            return Err(Error::conflict("--storage-opt size: a number above 0 is needed"));
        }
        map.insert("size".to_owned(), value.to_owned());
    }
    Ok(map)
}

/// One line of CSV: a field in double quotes may hold commas, `""` is a quote.
pub fn csv(text: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut chars = text.char_indices().peekable();
    let mut quoted = false;
    let bad =
        |column: usize, why: &str| Err(format!("parse error on line 1, column {column}: {why}"));
    while let Some((at, c)) = chars.next() {
        let Some(field) = fields.last_mut() else { continue };
        match c {
            '"' if quoted && chars.next_if(|(_, next)| *next == '"').is_some() => field.push('"'),
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => quoted = true,
            '"' => return bad(at + 1, "bare \" in non-quoted field"),
            ',' if !quoted => fields.push(String::new()),
            other => field.push(other),
        }
    }
    if quoted {
        return bad(text.len() + 1, "extraneous or missing \" in quoted-field");
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn paths_that_lead_up_are_not_local() {
        for good in ["a", "a/b", "a/../b", "./a"] {
            assert!(is_local(good), "{good}");
        }
        for bad in ["", "/a", "..", "a/../../b", "../a"] {
            assert!(!is_local(bad), "{bad}");
        }
    }

    #[test]
    fn storage_options() {
        assert_eq!(storage(&["size=1g".into()]).unwrap()["size"], "1g");
        for bad in ["size", "size=x", "size=0", "what=1"] {
            assert!(storage(&[bad.into()]).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = volume(&text, Path::new("/here"));
            let _ = mount(&text, Path::new("/"));
            let _ = tmpfs(&text);
            let _ = from(&text);
        }
    }
}
