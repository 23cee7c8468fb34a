//! mtree(8) manifests in go-mtree's form, for who works with umoci's bundles.

mod keys;
mod manifest;
mod vis;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::sys::stat::FileStat;

use super::walk::Walk;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::layer::at::is_dir;
use crate::layer::name::{join, show};
use crate::layer::{Closed, RootDir};
pub(super) use keys::Subject;
pub use keys::{UMOCI, Values, canonical, prefix};
pub use manifest::Manifest;
pub use vis::vis;

/// Where a bundle has the manifest of its root.
pub fn path_in(bundle: &Path, image: &Digest) -> PathBuf {
    bundle.join(format!("{}_{}.mtree", image.algorithm().name(), image.hex()))
}

/// Writes the manifest of a root into its bundle, with umoci's keywords and the modes that the
/// directories will have. No name of this machine, no time but the files': it is reproducible.
pub(super) fn write(root: &RootDir, bundle: &Path, image: &Digest, closed: &Closed) -> Result<()> {
    let path = path_in(bundle, image);
    let fail = |e| Error::io("write", &path, e);
    let file = File::create(&path).map_err(Error::at("create", &path))?;
    let mut out = BufWriter::with_capacity(256 << 10, file);
    let head =
        format!("#      keywords: {}\n\n/set type=file nlink=1 uid=0 gid=0\n", UMOCI.join(","));
    out.write_all(head.as_bytes()).map_err(fail)?;
    let mut walk = Walk::new(root, closed.clone())?;
    let done = each(&mut walk, &mut |step| {
        let line = match step {
            Step::Up => "..\n".to_owned(),
            Step::At { path, subject } => {
                let values = subject.values(&UMOCI).map_err(|e| root.error("read", path, e))?;
                line(path, subject, &values)
            }
        };
        out.write_all(line.as_bytes()).map_err(fail)
    });
    // What is closed is closed by whoever has opened it.
    std::mem::take(&mut walk.closed);
    done?;
    out.flush().map_err(fail)
}

fn line(path: &[u8], subject: &Subject<'_>, values: &Values) -> String {
    let set = [("type", "file"), ("nlink", "1"), ("uid", "0"), ("gid", "0")];
    let mut line = String::new();
    let directory = is_dir(subject.stat);
    if directory {
        let shown = if path.is_empty() { b".".as_slice() } else { path };
        line = ["\n# ", &vis(shown), "\n"].concat();
    } else {
        line.push_str("    ");
    }
    line.push_str(&vis(subject.base));
    for (key, value) in values {
        if !set.contains(&(key.as_str(), value.as_str())) {
            line.extend([" ", key, "=", value]);
        }
    }
    line.push('\n');
    line
}

/// A step of a walk in mtree's order: of a directory's names, directories come last.
pub(super) enum Step<'a> {
    At { path: &'a [u8], subject: &'a Subject<'a> },
    Up,
}

/// Walks a root.
pub(super) fn each(
    walk: &mut Walk<'_>,
    take: &mut dyn FnMut(Step<'_>) -> Result<()>,
) -> Result<()> {
    let (dir, _) = walk.list(b"")?;
    let stat = walk.top()?;
    take(Step::At { path: b"", subject: &Subject { dir: &dir, base: b".", stat: &stat } })?;
    drop(dir);
    below(walk, b"", take)
}

fn below(
    walk: &mut Walk<'_>,
    path: &[u8],
    take: &mut dyn FnMut(Step<'_>) -> Result<()>,
) -> Result<()> {
    let (dir, names) = walk.list(path)?;
    let mut dirs: Vec<(Vec<u8>, FileStat)> = Vec::new();
    for base in names.iter() {
        let whole = join(path, base);
        let stat = walk.stat(&dir, base, &whole)?;
        if is_dir(&stat) {
            dirs.push((base.to_vec(), stat));
        } else {
            take(Step::At { path: &whole, subject: &Subject { dir: &dir, base, stat: &stat } })?;
        }
    }
    drop((dir, names));
    for (base, stat) in dirs {
        let whole = join(path, &base);
        let dir: OwnedFd = walk.list(path)?.0;
        take(Step::At { path: &whole, subject: &Subject { dir: &dir, base: &base, stat: &stat } })?;
        drop(dir);
        below(walk, &whole, take)?;
    }
    take(Step::Up)
}

/// How a root differs from a manifest, a line each, in go-mtree's words; `keywords` are canonical.
pub fn check(root: &RootDir, manifest: &Manifest, keywords: &[&str]) -> Result<Vec<String>> {
    let mut seen: BTreeSet<Vec<u8>> = BTreeSet::new();
    let mut lines = Vec::new();
    let mut walk = Walk::new(root, Closed::default())?;
    each(&mut walk, &mut |step| {
        let Step::At { path, subject } = step else { return Ok(()) };
        let shown = if path.is_empty() { show(b".") } else { show(path) };
        match manifest.entries.get(path) {
            None => lines.push(format!("{shown}: unexpected path")),
            Some(old) => {
                let new = subject.values(keywords).map_err(|e| root.error("read", path, e))?;
                if let Some((key, want, got)) = differ(old, new, keywords) {
                    lines.push(format!("{shown}: keyword {key:?}: expected {want}; got {got}"));
                }
            }
        }
        seen.insert(path.to_vec());
        Ok(())
    })?;
    walk.close()?;
    for path in manifest.entries.keys().filter(|path| !seen.contains(*path)) {
        lines.push(format!("{}: missing path", show(if path.is_empty() { b"." } else { path })));
    }
    Ok(lines)
}

/// The first of `keywords` that differs, and both its values.
pub(super) fn differ(
    old: &Values,
    mut new: Values,
    keywords: &[&str],
) -> Option<(String, String, String)> {
    let mut old = old.clone();
    // A time cut to seconds is compared with one that is cut the same way.
    let cut = |v: &Values| v.contains_key("tar_time");
    let whole = |v: &Values| v.contains_key("time");
    if (cut(&old) || cut(&new)) && (whole(&old) || whole(&new)) {
        for values in [&mut old, &mut new] {
            if let Some(time) = values.remove("time")
                && !values.contains_key("tar_time")
            {
                let secs = time.split('.').next().unwrap_or_default();
                values.insert("tar_time".into(), format!("{secs}.000000000"));
            }
        }
    }
    let asked = |key: &str| {
        let name = prefix(key);
        keywords.contains(&name)
            || (matches!(name, "time" | "tar_time")
                && keywords.iter().any(|k| matches!(*k, "time" | "tar_time")))
    };
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).filter(|k| asked(k)).collect();
    let empty = String::new();
    keys.into_iter().find_map(|key| {
        let (a, b) = (old.get(key), new.get(key));
        let text = |v: Option<&String>| v.unwrap_or(&empty).clone();
        (a != b).then(|| (key.clone(), text(a), text(b)))
    })
}
