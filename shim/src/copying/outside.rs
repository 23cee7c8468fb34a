//! The host's end of a copy: its paths mean what they mean to whoever typed them.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use dhow_image::layer::{Owner, RootDir};
use dhow_kernel::mount::{Tree, open_tree};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::path;
use super::rules::Target;
use super::stream::{Into, Source, Words};
use crate::error::{Error, Result};
use crate::reach;

/// Links that one destination may lead over.
const MOST_LINKS: usize = 10;

fn of(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

fn absolute(typed: &[u8]) -> Result<Vec<u8>> {
    let here = std::env::current_dir().map_err(|e| Error::io("find", ".".as_ref(), e))?;
    Ok(path::absolute(here.as_os_str().as_bytes(), typed))
}

/// As docker words what the system said.
fn said(call: &str, path: &Path, error: &io::Error) -> Error {
    let why = error.raw_os_error().map_or_else(
        || error.to_string(),
        |code| nix::errno::Errno::from_raw(code).desc().to_lowercase(),
    );
    Error::usage(format!("{call} {}: {why}", path.display()))
}

/// What is to be copied from the host.
pub fn source(typed: &[u8], follow: bool) -> Result<Source> {
    let full = absolute(typed)?;
    let at = of(&full);
    let lstat = |p: &Path| fs::symlink_metadata(p).map_err(|e| said("lstat", at, &e));
    let mut real = at.to_owned();
    let mut meta = lstat(at)?;
    if follow && meta.is_symlink() {
        real = fs::canonicalize(at).map_err(|e| said("lstat", at, &e))?;
        meta = lstat(&real)?;
    }
    let name = path::base(&full).to_vec();
    let bytes = real.into_os_string().into_vec();
    let (dir, base) = if meta.is_dir() { (bytes.clone(), Vec::new()) } else { path::split(&bytes) };
    let root = unarmed(opened(of(&dir))?);
    Ok(Source { root, base, own_name: name.clone(), name, is_dir: meta.is_dir() })
}

fn opened(dir: &Path) -> Result<RootDir> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let fd: OwnedFd = open(dir, flags, Mode::empty())
        .map_err(|e| Error::usage(format!("open {}: {}", dir.display(), e.desc())))?;
    Ok(RootDir::from_fd(fd, dir))
}

/// The same directory with nothing in it that opens as a device: a container may share it, and
/// put one where a file was a moment ago. Who may not mount reads it as it is.
fn unarmed(dir: RootDir) -> RootDir {
    let copy = open_tree(dir.as_fd(), c"", Tree::CloneRecursive)
        .and_then(|copy| reach::harmless(copy.as_fd(), true, true).map(|()| copy));
    match copy {
        Ok(copy) => RootDir::from_fd(copy, dir.path()),
        Err(_) => dir,
    }
}

/// Where a copy on the host shall be.
pub fn target(typed: &[u8]) -> Result<Target> {
    let full = absolute(typed)?;
    valid(&full)?;
    let original = of(&full).to_owned();
    let mut at = full;
    for _ in 0..=MOST_LINKS {
        match fs::symlink_metadata(of(&at)) {
            Ok(meta) if meta.is_symlink() => {
                let text = fs::read_link(of(&at)).map_err(|e| said("readlink", of(&at), &e))?;
                let text = text.into_os_string().into_vec();
                at = path::absolute(&path::split(&at).0, &text);
            }
            Ok(meta) => return Ok(Target { path: at, exists: true, is_dir: meta.is_dir() }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return absent(at),
            Err(e) => return Err(said("lstat", of(&at), &e)),
        }
    }
    Err(Error::usage(format!("too many symlinks in {}", original.display())))
}

/// It lacks, and its parent must not.
fn absent(path: Vec<u8>) -> Result<Target> {
    let (parent, _) = path::split(&path);
    let meta = fs::metadata(of(&parent)).map_err(|e| said("stat", of(&parent), &e))?;
    if !meta.is_dir() {
        return Err(Error::usage("not a directory"));
    }
    Ok(Target { path, exists: false, is_dir: false })
}

/// docker's `ValidateOutputPath`.
fn valid(full: &[u8]) -> Result<()> {
    let (dir, _) = path::split(&path::clean(full));
    if fs::metadata(of(&dir)).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
        let dir = of(&dir).display().to_string();
        return Err(Error::usage(format!(
            "invalid output path: directory {dir:?} does not exist; make it first"
        )));
    }
    match fs::metadata(of(full)) {
        Ok(meta) if meta.is_dir() || meta.is_file() => Ok(()),
        Ok(meta) => {
            let path = of(full).display().to_string();
            let what = "must be a directory or a regular file";
            Err(Error::usage(format!(
                "invalid output path: {path:?} {what}: got {}",
                kind_of(&meta)
            )))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(said("stat", of(full), &e)),
    }
}

fn kind_of(meta: &Metadata) -> &'static str {
    let kind = meta.file_type();
    if kind.is_char_device() || kind.is_block_device() { "a device" } else { "an irregular file" }
}

/// The host's directory that a copy comes into; its files are ours, as docker's client makes them.
pub fn directory(dir: &[u8]) -> Result<Into> {
    Ok(Into { root: opened(of(dir))?, owner: Owner::Maker, namespace: None })
}

/// How conflicts in a directory of the host are worded: with full paths.
pub fn words(dir: &[u8]) -> Words {
    let place: PathBuf = of(&path::clean(dir)).to_owned();
    Words { before: Some(place.clone()), place }
}
