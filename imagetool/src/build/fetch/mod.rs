//! What a build takes from elsewhere: files by URL, repositories by git.

mod address;
mod git;
#[cfg(test)]
pub(super) mod tests;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tempfile::TempDir;

pub use address::Address;

use super::cancel::Cancel;
use super::copy::Asked;
use crate::digest::{Algorithm, Digest, Hashing};
use crate::error::{Error, Result};
use crate::layer::RootDir;
use crate::registry::{Settings, download_with_time, url::shown};

/// How things are fetched.
#[derive(Clone, Copy, Debug)]
pub struct Fetch<'a> {
    /// Proxies, roots of trust, patience.
    pub settings: &'a Settings,
    /// Where what is fetched is kept until nobody needs it; directories are made in it.
    pub scratch: &'a Path,
    /// Where programs are looked for: `git`.
    pub search: &'a [PathBuf],
    /// The agent that `git` may ask, for repositories by ssh.
    pub agent: Option<&'a Path>,
    /// Ends it.
    pub cancel: &'a Cancel,
}

/// Something fetched.
#[derive(Debug)]
pub(super) struct Fetched {
    /// The directory that it is in.
    pub root: RootDir,
    /// Its name there; empty for all there is.
    pub name: Vec<u8>,
    /// It is to be unpacked, if it is an archive.
    pub unpack: bool,
    /// What stands for it in a key, if not its content: a commit.
    pub key: Option<Digest>,
    /// Goes with it.
    pub dir: TempDir,
}

/// Whether a source is a URL.
pub(super) fn is_url(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://")
}

impl Fetch<'_> {
    /// Fetches a source of an ADD; `None` if it is a path.
    pub(super) fn source(&self, asked: &Asked<'_>, source: &str) -> Result<Option<Fetched>> {
        let what = asked.what;
        let address = Address::parse(source, false);
        if address.is_none() && !is_url(source) {
            return match &what.checksum {
                Some(sum) => {
                    Err(Error::usage("--checksum", sum, "it is for URLs and repositories only"))
                }
                None => Ok(None),
            };
        }
        let shown = shown(source);
        if !asked.add {
            return Err(Error::usage("source", shown, "COPY takes what is here; ADD fetches"));
        }
        if what.checksum.is_some() && what.sources.len() != 1 {
            let why = "it is for one source only";
            return Err(Error::usage("--checksum", what.checksum.clone().unwrap_or_default(), why));
        }
        let Some(address) = address else {
            let sum = what.checksum.as_deref().map(str::parse::<Digest>).transpose()?;
            return self.file(source, sum.as_ref(), what.unpack.unwrap_or(false)).map(Some);
        };
        let mut address = address?;
        address.checksum = match (address.checksum, &what.checksum) {
            (Some(one), Some(other)) if one != other.to_ascii_lowercase() => {
                return Err(Error::usage("--checksum", other, "the address says another"));
            }
            (one, other) => one.or_else(|| other.as_ref().map(|sum| sum.to_ascii_lowercase())),
        };
        let keep = match (what.keep_git_dir, address.keep) {
            (Some(one), Some(other)) if one != other => {
                return Err(Error::usage("--keep-git-dir", shown, "the address says otherwise"));
            }
            (one, other) => one.or(other).unwrap_or(false),
        };
        self.repository(&address, keep).map(Some)
    }

    /// A repository's files.
    pub(super) fn repository(&self, address: &Address, keep: bool) -> Result<Fetched> {
        let dir = self.dir()?;
        let git::Checkout { root, commit } = git::checkout(self, address, dir.path(), keep)?;
        let submodules = address.submodules.unwrap_or(true);
        let words = format!("git {commit} {} {keep} {submodules}", address.subdir);
        let key = Some(Digest::of(words.as_bytes()));
        Ok(Fetched { root, name: Vec::new(), unpack: false, key, dir })
    }

    /// A file by its URL, named by it.
    pub(super) fn file(&self, url: &str, want: Option<&Digest>, unpack: bool) -> Result<Fetched> {
        let dir = self.dir()?;
        let name = name_of(url);
        let path = dir.path().join(&name);
        let fail = |e| Error::from_io("write", &path, e);
        let algorithm = want.map_or(Algorithm::Sha256, Digest::algorithm);
        let download = download_with_time(self.settings, url)?;
        let mut body = Hashing::new(download.body, algorithm);
        let mut file = File::create_new(&path).map_err(fail)?;
        io::copy(&mut body, &mut file).map_err(fail)?;
        let (_, got, _) = body.finish();
        if let Some(want) = want.filter(|want| **want != got) {
            return Err(Error::Digest { what: shown(url), want: want.clone(), got });
        }
        // As docker has it: root's alone, and of 1970 if the server doesn't know.
        file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(fail)?;
        let time = download.modified.map_or(SystemTime::UNIX_EPOCH, SystemTime::from);
        file.set_modified(time).map_err(fail)?;
        let root = RootDir::open(dir.path())?;
        Ok(Fetched { root, name: name.into_bytes(), unpack, key: None, dir })
    }

    /// A new directory.
    pub(super) fn dir(&self) -> Result<TempDir> {
        crate::leftovers::dir_in(self.scratch, "fetch-")
    }
}

/// What a file of a URL is called.
fn name_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let path = rest.split_once('/').map_or("", |(_, path)| path);
    let path = address::decoded(path);
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let odd = matches!(last, "" | "." | "..") || last.len() > 255 || last.contains('\0');
    // BuildKit's name for what has none.
    if odd { "__unnamed__".to_owned() } else { last.to_owned() }
}
