//! Environment and labels: flags, files, and what the image says.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// `--env-file` lines, then `-e`; `KEY` alone takes the caller's value, and
/// stays a bare `KEY` when the caller has none (it then unsets the image's).
pub fn collect(
    files: &[String],
    flags: &[String],
    caller: impl Fn(&str) -> Option<String>,
) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for file in files {
        all.extend(lines("--env-file", file)?);
    }
    for flag in flags {
        if flag.is_empty() || flag.starts_with('=') {
            let why = format!("invalid environment variable: {flag}");
            return Err(Error::argument("-e, --env", flag, &why));
        }
        all.push(flag.clone());
    }
    let files = all.len() - flags.len();
    let settled = all.into_iter().enumerate().filter_map(|(n, entry)| {
        if entry.contains('=') {
            return Some(entry);
        }
        match caller(&entry) {
            Some(value) => Some(format!("{entry}={value}")),
            // As docker: a bare name that the caller lacks unsets the image's, but not from a file.
            None => (n >= files).then_some(entry),
        }
    });
    Ok(settled.collect())
}

/// Lines of a file of `KEY=VALUE`: no comments, no empty lines, leading blanks cut.
fn lines(flag: &str, file: &str) -> Result<Vec<String>> {
    let bad = |why: String| Error::usage(format!("{flag}: invalid env file ({file}): {why}"));
    let bytes = std::fs::read(file).map_err(|e| {
        Error::usage(format!("{flag}: open {file}: {}", crate::options::rights::plain(&e)))
    })?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let mut all = Vec::new();
    for (n, line) in bytes.split(|b| *b == b'\n').enumerate() {
        let line = std::str::from_utf8(line)
            .map_err(|_| bad(format!("invalid utf8 bytes at line {}", n + 1)))?;
        let line = line.strip_suffix('\r').unwrap_or(line).trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key = line.split('=').next().unwrap_or_default();
        if key.is_empty() {
            return Err(bad(format!("no variable name on line '{line}'")));
        }
        if key.contains([' ', '\t']) {
            return Err(bad(format!("variable '{key}' contains whitespaces")));
        }
        if line.contains('\0') {
            return Err(bad(format!("a zero byte on line {}", n + 1)));
        }
        all.push(line.to_owned());
    }
    Ok(all)
}

/// docker's order: the user's, then the image's that the user did not name.
/// An image's entry without `=` would read the host's environment: dropped.
pub fn merge(user: Vec<String>, image: &[String]) -> Vec<String> {
    let mut merged = user;
    for entry in image {
        let Some((key, _)) = entry.split_once('=') else { continue };
        if !key.is_empty() && !merged.iter().any(|e| key_of(e) == key) {
            merged.push(entry.clone());
        }
    }
    merged
}

/// What the process gets: PATH, HOSTNAME, TERM first, then the container's own;
/// the last value of a key wins and keeps the first's place.
pub fn process(hostname: &str, tty: bool, config: &[String]) -> Vec<String> {
    const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let mut env = vec![PATH.to_owned(), format!("HOSTNAME={hostname}")];
    if tty {
        env.push("TERM=xterm".to_owned());
    }
    for entry in config {
        let place = env.iter().position(|e| key_of(e) == key_of(entry));
        match (place, entry.contains('=')) {
            (Some(at), true) => env[at].clone_from(entry),
            (Some(at), false) => drop(env.remove(at)),
            (None, true) => env.push(entry.clone()),
            (None, false) => {}
        }
    }
    env
}

fn key_of(entry: &str) -> &str {
    entry.split('=').next().unwrap_or(entry)
}

/// `--label-file` lines, then `--label`; `KEY` alone has an empty value.
pub fn labels(files: &[String], flags: &[String]) -> Result<BTreeMap<String, String>> {
    let mut all = Vec::new();
    for file in files {
        // As docker: a bare key of a file says nothing.
        all.extend(lines("--label-file", file)?.into_iter().filter(|line| line.contains('=')));
    }
    if let Some(bad) = flags.iter().find(|f| f.is_empty() || f.starts_with('=')) {
        let why = format!("invalid label '{bad}': empty name");
        return Err(Error::argument("-l, --label", bad, &why));
    }
    all.extend(flags.iter().cloned());
    pairs("--label", &all)
}

/// `KEY=VALUE` flags as a map.
pub fn pairs(flag: &str, entries: &[String]) -> Result<BTreeMap<String, String>> {
    let mut map = BTreeMap::new();
    for entry in entries {
        let (key, value) = entry.split_once('=').unwrap_or((entry, ""));
        if key.is_empty() {
            let why = "the empty string is not permitted as a key";
            return Err(Error::argument(flag, entry, why));
        }
        map.insert(key.to_owned(), value.to_owned());
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn a_bare_key_takes_the_callers_value_or_unsets_the_images() {
        let caller = |k: &str| (k == "HAVE").then(|| "1".to_owned());
        let env = collect(&[], &strings(&["HAVE", "LACK", "A=b=c"]), caller).unwrap();
        assert_eq!(env, strings(&["HAVE=1", "LACK", "A=b=c"]));
        let merged = merge(env, &strings(&["LACK=image", "PATH=/x"]));
        let process = process("h", true, &merged);
        assert_eq!(process, strings(&["PATH=/x", "HOSTNAME=h", "TERM=xterm", "HAVE=1", "A=b=c"]));
        assert!(collect(&[], &strings(&["=x"]), |_| None).is_err());
    }

    #[test]
    fn image_entries_without_equals_never_reach_the_hosts_environment() {
        assert_eq!(merge(vec![], &strings(&["SECRET", "=x", "A=1"])), strings(&["A=1"]));
    }

    #[test]
    fn files_skip_comments_and_refuse_blanks_in_keys() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("env");
        std::fs::write(&file, "# no\n\n  A=1 2\nB\n").unwrap();
        let name = file.to_str().unwrap().to_owned();
        assert_eq!(
            collect(std::slice::from_ref(&name), &[], |_| None).unwrap(),
            strings(&["A=1 2"])
        );
        std::fs::write(&file, "A B=1\n").unwrap();
        assert!(collect(&[name], &[], |_| None).is_err());
    }

    #[test]
    fn labels_may_lack_a_value() {
        let map = labels(&[], &strings(&["a=b", "c", "a=d"])).unwrap();
        assert_eq!(map["a"], "d");
        assert_eq!(map["c"], "");
    }
}
