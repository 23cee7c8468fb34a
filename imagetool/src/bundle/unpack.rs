//! `unpack`: an image becomes a bundle, a directory with `rootfs/` and `config.json`.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use super::config::{Options, config};
use super::user;
use crate::digest::DiffId;
use crate::error::{Error, Result};
use crate::layer::verify::{Plain, ahead};
use crate::layer::{Entries, Journal, Limits, RootDir, Sink, apply, seal};
use crate::manifest::Descriptor;
use crate::snapshot::pairs;
use crate::store::{Store, Stored};

/// Makes a bundle at `to`, which must not be there, or be an empty directory. It is made
/// beside it and renamed: whoever looks sees no bundle, or all of it.
///
/// Returns what could not be kept (attributes that the file system doesn't hold).
pub fn unpack(store: &Store, image: &Stored, to: &Path, options: &Options) -> Result<Vec<String>> {
    refuse_full(to)?;
    let layers = pairs(store, image)?;
    let image_config = image.config(store)?;
    let name = to
        .file_name()
        .ok_or_else(|| Error::usage("bundle", to.display().to_string(), "it has no name"))?;
    let parent = match to.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    fs::create_dir_all(&parent).map_err(Error::at("create", &parent))?;
    let mut prefix = OsString::from(".dhow-unpack-");
    prefix.push(name);
    prefix.push(".");
    sweep(&parent, &prefix);
    let tmp = tempfile::Builder::new()
        .prefix(&prefix)
        .tempdir_in(&parent)
        .map_err(Error::at("create a directory in", &parent))?;
    let alive = File::open(tmp.path()).map_err(Error::at("open", tmp.path()))?;
    alive.try_lock().map_err(|e| Error::io("lock", tmp.path(), e.into()))?;
    let rootfs = tmp.path().join("rootfs");
    DirBuilder::new().mode(0o755).create(&rootfs).map_err(Error::at("create", &rootfs))?;
    let root = RootDir::open(&rootfs)?;
    let lost = fill(store, &layers, &root, tmp.path())?;
    let user = user::resolve(&root, &image_config.config.user)?;
    let spec = config(&image_config, &user, options)?;
    write_config(&tmp.path().join("config.json"), &spec)?;
    // Kept until now for its removal on failure; its mode is for us alone.
    let made = tmp.keep();
    fs::rename(&made, to).map_err(|e| {
        let _ = fs::remove_dir_all(&made);
        Error::io("create", to, e)
    })?;
    Ok(lost)
}

fn refuse_full(to: &Path) -> Result<()> {
    match fs::read_dir(to).map(Iterator::count) {
        Ok(0) => Ok(()),
        Ok(_) => {
            Err(Error::usage("bundle", to.display().to_string(), "it exists and is not empty"))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::io("open", to, e)),
    }
}

/// Removes what a killed `unpack` to the same place has left: it holds its lock no more.
fn sweep(parent: &Path, prefix: &OsStr) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.filter_map(Result::ok) {
        let ours = entry.file_name().as_bytes().starts_with(prefix.as_bytes())
            && entry.file_type().is_ok_and(|t| t.is_dir());
        if ours && File::open(entry.path()).is_ok_and(|dir| dir.try_lock().is_ok()) {
            // What can't be removed now is tried again next time.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn write_config(path: &Path, spec: &oci_spec::runtime::Spec) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(spec).map_err(|e| Error::invalid("config.json", e))?;
    text.push(b'\n');
    let mut file = File::create_new(path).map_err(Error::at("create", path))?;
    file.write_all(&text).map_err(Error::at("write", path))
}

/// Applies the layers in order, while the next ones are read, inflated and buffered ahead
/// on threads of their own.
fn fill(
    store: &Store,
    layers: &[(Descriptor, DiffId)],
    root: &RootDir,
    scratch: &Path,
) -> Result<Vec<String>> {
    let limits = Limits::default();
    let at_once = thread::available_parallelism().map_or(1, usize::from) + 1;
    thread::scope(|scope| {
        let mut waiting: VecDeque<Plain> = VecDeque::new();
        let mut rest = layers.iter();
        let mut lost = Vec::new();
        for (i, (_, diff_id)) in layers.iter().enumerate() {
            while waiting.len() < at_once
                && let Some((blob, diff_id)) = rest.next()
            {
                let packed = store.open_verified(blob)?;
                waiting.push_back(ahead(scope, packed, diff_id.algorithm(), limits.bytes)?);
            }
            let Some(plain) = waiting.pop_front() else { break };
            let sink = Sink::Plain { first: i == 0 };
            // On a thread of its own for the umask.
            let applied = scope.spawn(move || one(plain, root, scratch, sink, diff_id));
            lost.extend(applied.join().unwrap_or_else(|panic| resume_unwind(panic))?);
        }
        Ok(lost)
    })
}

fn one(
    plain: Plain,
    root: &RootDir,
    scratch: &Path,
    sink: Sink,
    want: &DiffId,
) -> Result<Vec<String>> {
    let mut journal = Journal::new(scratch);
    let mut entries = Entries::new(plain, Limits::default());
    let run = || {
        let applied = apply(root, &mut entries, sink, &mut journal)?;
        seal(root, &journal, sink)?;
        entries.into_inner().drain_and_check(want)?;
        Ok(applied.lost)
    };
    run().map_err(|e| crate::layer::verify::explain(want, e))
}
