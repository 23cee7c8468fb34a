//! What a build takes from elsewhere: files by URL, repositories by git.

use std::path::{Path, PathBuf};

use super::copy::Asked;
use crate::error::{Error, Result};
use crate::layer::RootDir;
use crate::registry::Settings;

/// How things are fetched.
#[derive(Clone, Copy, Debug)]
pub struct Fetch<'a> {
    /// Proxies, roots of trust, patience.
    pub settings: &'a Settings,
    /// Where what is fetched is kept until the build ends; directories are made in it.
    pub scratch: &'a Path,
    /// Where programs are looked for: `git`.
    pub search: &'a [PathBuf],
    /// The agent that `git` may ask, for repositories by ssh.
    pub agent: Option<&'a Path>,
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
}

/// Whether a source is a URL.
pub(super) fn is_url(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://")
}

impl Fetch<'_> {
    #[expect(clippy::unused_self)]
    /// Fetches a source of an ADD; `None` if it is a path.
    pub(super) fn source(&self, asked: &Asked<'_>, source: &str) -> Result<Option<Fetched>> {
        let remote = is_url(source) || source.starts_with("git@");
        if remote && !asked.add {
            return Err(Error::usage(
                "source",
                source,
                "only ADD fetches; COPY takes what is here",
            ));
        }
        if remote {
            return Err(Error::unsupported(format!("ADD {source}"), "fetch it before the build"));
        }
        Ok(None)
    }
}
