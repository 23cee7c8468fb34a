//! `--tmpfs`.

use super::target;
use crate::error::{Error, Result};

/// Words that stand alone, with the one each takes back.
const SWITCHES: [(&str, &str); 21] = [
    ("ro", "rw"),
    ("rw", "ro"),
    ("suid", "nosuid"),
    ("nosuid", "suid"),
    ("dev", "nodev"),
    ("nodev", "dev"),
    ("exec", "noexec"),
    ("noexec", "exec"),
    ("sync", "async"),
    ("async", "sync"),
    ("dirsync", ""),
    ("mand", "nomand"),
    ("nomand", "mand"),
    ("atime", "noatime"),
    ("noatime", "atime"),
    ("diratime", "nodiratime"),
    ("nodiratime", "diratime"),
    ("relatime", "norelatime"),
    ("norelatime", "relatime"),
    ("strictatime", "nostrictatime"),
    ("nostrictatime", "strictatime"),
];
const PROPAGATION: [&str; 10] = [
    "bind",
    "rbind",
    "unbindable",
    "runbindable",
    "private",
    "rprivate",
    "shared",
    "rshared",
    "slave",
    "rslave",
];
const VALUES: [&str; 7] = ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"];

/// `PATH[:OPTIONS]` → path, options as typed.
pub fn tmpfs(text: &str) -> Result<(String, String)> {
    let (path, typed) = text.split_once(':').unwrap_or((text, ""));
    let bad = |why: String| Error::conflict(format!("--tmpfs {text}: {why}"));
    let path = target(path).map_err(bad)?;
    options(typed).map_err(bad)?;
    Ok((path, typed.to_owned()))
}

/// docker's defaults and what was typed, the last word on a thing being the one that counts.
pub fn options(typed: &str) -> Result<Vec<&str>, String> {
    let mut all = vec!["noexec", "nosuid", "nodev", "rprivate"];
    for option in typed.split(',').filter(|o| !o.is_empty() && *o != "defaults") {
        let key = option.split_once('=').map(|(key, _)| key);
        if let Some((_, opposite)) = SWITCHES.iter().find(|(word, _)| *word == option) {
            all.retain(|o| o != opposite && *o != option);
        } else if PROPAGATION.contains(&option) {
            all.retain(|o| !PROPAGATION.contains(o));
        } else if let Some(key) = key.filter(|key| VALUES.contains(key)) {
            all.retain(|o| o.split_once('=').is_none_or(|(k, _)| k != key));
        } else {
            return Err(format!("invalid tmpfs option \"{}\"", key.unwrap_or(option)));
        }
        all.push(option);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typed_option_replaces_its_opposite() {
        assert_eq!(options("").unwrap(), ["noexec", "nosuid", "nodev", "rprivate"]);
        assert_eq!(
            options("exec,size=1m,size=2m,slave").unwrap(),
            ["nosuid", "nodev", "exec", "size=2m", "slave"]
        );
        assert!(options("what").unwrap_err().contains("invalid tmpfs option"));
        assert!(options("size").is_err() && options("what=1").is_err());
    }

    #[test]
    fn a_tmpfs_has_a_place() {
        assert_eq!(tmpfs("/a/:size=1m").unwrap(), ("/a".into(), "size=1m".into()));
        for bad in ["", "/", "rel", "/a:what", "/..", "/a:remount"] {
            assert!(tmpfs(bad).is_err(), "{bad}");
        }
    }
}
