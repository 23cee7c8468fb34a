//! Which store is meant: `[DRIVER@ROOT+RUNROOT:OPTIONS]NAME`, or what storage.conf says.
//!
//! SPEC: containers-transports(5), containers-storage.conf(5).

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// Its directory.
    pub root: PathBuf,
    /// Its driver; without one, whichever has images there.
    pub driver: Option<String>,
}

impl Default for Storage {
    fn default() -> Self {
        Self { root: "/var/lib/containers/storage".into(), driver: None }
    }
}

impl Storage {
    /// What a storage.conf says, upon what holds without it; `home` is set if the user isn't root.
    /// Of TOML no more is read than the three lines that matter here.
    #[must_use]
    pub fn with(mut self, conf: &str, home: Option<&Path>) -> Self {
        let mut table = "";
        for line in conf.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[') {
                table = name.split(']').next().unwrap_or_default().trim();
                continue;
            }
            let Some((key, value)) = line.split_once('=').filter(|_| table == "storage") else {
                continue;
            };
            let Some(value) = unquoted(value.trim()) else { continue };
            match (key.trim(), home) {
                ("driver", _) => self.driver = Some(value.to_owned()).filter(|v| !v.is_empty()),
                ("graphroot", None) if !value.is_empty() => self.root = value.into(),
                ("rootless_storage_path", Some(home)) if !value.is_empty() => {
                    self.root = value.replace("$HOME", &home.to_string_lossy()).into();
                }
                _ => {}
            }
        }
        self
    }
}

fn unquoted(value: &str) -> Option<&str> {
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    value[1..].split(quote).next()
}

/// Splits what comes after `containers-storage:`.
pub(super) fn parse<'a>(text: &'a str, usual: &Storage) -> Result<(Storage, &'a str)> {
    let bad = |why: &str| Error::usage("place", format!("containers-storage:{text}"), why);
    let Some(rest) = text.strip_prefix('[') else {
        return if text.is_empty() {
            Err(bad("the name lacks"))
        } else {
            Ok((usual.clone(), text))
        };
    };
    let (store, name) = rest.split_once(']').ok_or_else(|| bad("the store has no ]"))?;
    if name.is_empty() {
        return Err(bad("the name lacks"));
    }
    let (driver, place) = match store.split_once('@') {
        Some(("", _)) => return Err(bad("before @ comes the driver")),
        Some((driver, place)) => (Some(driver.to_owned()), place),
        None => (None, store),
    };
    // Where it mounts, and how, is of no matter to who only reads.
    let place = place.split([':', '+']).next().unwrap_or_default();
    if !place.starts_with('/') {
        return Err(bad("the store's path must be absolute"));
    }
    Ok((Storage { root: place.into(), driver }, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stores_are_read_as_skopeo_reads_them() {
        let usual = Storage::default();
        let of = |text: &str| {
            parse(text, &usual).map(|(s, name)| {
                (s.driver.unwrap_or_default(), s.root.display().to_string(), name.to_owned())
            })
        };
        let is = |d: &str, r: &str, n: &str| (d.to_owned(), r.to_owned(), n.to_owned());
        assert_eq!(of("x:1").unwrap(), is("", "/var/lib/containers/storage", "x:1"));
        assert_eq!(of("[/r]x").unwrap(), is("", "/r", "x"));
        assert_eq!(of("[vfs@/r+/run]x:1@abc").unwrap(), is("vfs", "/r", "x:1@abc"));
        assert_eq!(of("[overlay@/r+/run:a=b,c]@abc").unwrap(), is("overlay", "/r", "@abc"));
        for bad in ["", "[", "[/r]", "[r]x", "[@/r]x", "[overlay@]x", "[]x"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn storage_conf_says_where() {
        let conf = "[storage]\ndriver = \"overlay\"\n graphroot='/g' # x\nrootless_storage_path=\"$HOME/s\"\n[storage.options]\ngraphroot = \"/no\"";
        let root = Storage::default().with(conf, None);
        assert_eq!((root.root, root.driver.as_deref()), ("/g".into(), Some("overlay")));
        let user = Storage::default().with(conf, Some(Path::new("/home/u")));
        assert_eq!(user.root, Path::new("/home/u/s"));
        assert_eq!(Storage::default().with("driver = 1\n", None), Storage::default());
    }

    proptest! {
        #[test]
        fn parsing_never_panics(s in "\\PC{0,40}") {
            let _ = parse(&s, &Storage::default());
            let _ = Storage::default().with(&format!("[storage]\ndriver={s}"), None);
        }
    }
}
