//! Where a build's files come from, and its Dockerfile with them.

use std::io::Read;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat};

use super::copy::{Files, Memory, Owners};
use super::fetch::Fetch;
use super::ignore::{self, Ignore};
use crate::error::{Error, Result};
use crate::layer::RootDir;
use crate::layer::at::kind;
use crate::reference::Reference;

/// No Dockerfile is larger.
const MAX_DOCKERFILE: u64 = 16 << 20;
const DOCKERFILE: &str = "Dockerfile";
const IGNORE: &str = ".dockerignore";

/// What a context is asked for by.
pub struct Asked<'a> {
    /// As typed: a directory, `-`, or a URL.
    pub place: &'a str,
    /// `--file`, as typed; `-` is stdin.
    pub file: Option<&'a str>,
    /// The program's stdin.
    pub stdin: Option<&'a mut (dyn Read + Send)>,
    /// How what is elsewhere is fetched.
    pub fetch: Fetch<'a>,
    /// Where files' digests are remembered.
    pub memory: Option<&'a Path>,
}

/// A Dockerfile, not read yet as what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// What errors call it: its path as typed, or its name.
    pub name: String,
    /// Its bytes.
    pub text: Vec<u8>,
}

/// Files for a build.
#[derive(Debug)]
pub struct Context {
    root: RootDir,
    ignore: Ignore,
    memory: Option<Memory>,
    title: String,
    dockerfile: Option<Text>,
}

/// What a `--build-context` names.
#[derive(Debug)]
pub enum Named {
    /// Files.
    Files(Context),
    /// `docker-image://REF`
    Image(Reference),
    /// `oci-layout://DIR[:TAG][@DIGEST]`: the directory, and the rest as typed.
    Layout(PathBuf, String),
}

/// Opens the context of a build.
pub fn open(asked: Asked<'_>) -> Result<Context> {
    if asked.place == "-" || super::fetch::is_url(asked.place) {
        return Err(Error::unsupported(format!("context {}", asked.place), "give a directory"));
    }
    directory(asked)
}

/// Opens what a `--build-context NAME=WHAT` names.
pub fn named(name: &str, what: &str, _: Fetch<'_>, memory: Option<&Path>) -> Result<Named> {
    if let Some(reference) = what.strip_prefix("docker-image://") {
        return Reference::parse_normal(reference).map(Named::Image);
    }
    if let Some(rest) = what.strip_prefix("oci-layout://") {
        let at = rest.find('@').unwrap_or(rest.len());
        let tag = rest[..at].rfind(':').filter(|colon| !rest[*colon..at].contains('/'));
        let (dir, of) = rest.split_at(tag.unwrap_or(at));
        return Ok(Named::Layout(dir.into(), of.to_owned()));
    }
    let title = format!("the context {name}");
    if super::fetch::is_url(what) {
        return Err(Error::unsupported(
            format!("--build-context {name}={what}"),
            "give a directory",
        ));
    }
    let root = RootDir::open(what)?;
    let ignore = ignored(&root, IGNORE)?.unwrap_or_default();
    let memory = remembered(&root, memory)?;
    Ok(Named::Files(Context { root, ignore, memory, title, dockerfile: None }))
}

impl Context {
    /// Its files, as copies and mounts take them.
    pub fn files(&self) -> Files<'_> {
        Files {
            root: &self.root,
            ignore: Some(&self.ignore),
            memory: self.memory.as_ref(),
            owners: Owners::Root,
            title: &self.title,
        }
    }

    /// What of it isn't there.
    pub fn ignore(&self) -> &Ignore {
        &self.ignore
    }

    /// The Dockerfile; a named context has none.
    pub fn dockerfile(&self) -> Option<&Text> {
        self.dockerfile.as_ref()
    }

    /// Keeps what was learned of its files for the next build.
    pub fn remember(&self) -> Result<()> {
        self.memory.as_ref().map_or(Ok(()), Memory::save)
    }
}

fn directory(asked: Asked<'_>) -> Result<Context> {
    let root = RootDir::open(asked.place)?;
    let memory = remembered(&root, asked.memory)?;
    let (dockerfile, ignore) = match asked.file {
        Some("-") => {
            let Some(stdin) = asked.stdin else {
                return Err(Error::usage("--file", "-", "there is no stdin to read it from"));
            };
            (Text { name: "-".into(), text: read(stdin, "stdin")? }, None)
        }
        // DIFFERS: none: as buildx has it, relative to where one is, not to the context.
        Some(path) => {
            let whole = Path::new(path);
            let name = whole
                .file_name()
                .and_then(|n| n.to_str())
                .ok_or_else(|| Error::usage("--file", path, "it names no file"))?;
            let dir = whole.parent().filter(|p| !p.as_os_str().is_empty());
            let dir = RootDir::open(dir.unwrap_or(Path::new(".")))?;
            (text(&dir, name, path)?, ignored(&dir, &format!("{name}{IGNORE}"))?)
        }
        None => {
            let found = default(&root)?;
            let own = ignored(&root, &format!("{}{IGNORE}", found.name))?;
            (found, own)
        }
    };
    let ignore = match ignore {
        Some(ignore) => ignore,
        None => ignored(&root, IGNORE)?.unwrap_or_default(),
    };
    let title = "the build context".to_owned();
    Ok(Context { root, ignore, memory, title, dockerfile: Some(dockerfile) })
}

/// The context's own Dockerfile.
fn default(root: &RootDir) -> Result<Text> {
    match text(root, DOCKERFILE, DOCKERFILE) {
        Err(e) if e.is_not_found() => {}
        done => return done,
    }
    let small = DOCKERFILE.to_lowercase();
    text(root, &small, &small).map_err(|e| {
        if !e.is_not_found() {
            return e;
        }
        let hint = format!("{} has none; name it by --file", root.path().display());
        Error::NotFound { what: "file", name: DOCKERFILE.into(), hint }
    })
}

fn remembered(root: &RootDir, dir: Option<&Path>) -> Result<Option<Memory>> {
    let stat = fstat(root).map_err(|e| root.error("read", b"", e))?;
    Ok(dir.map(|dir| Memory::of_directory(dir, &stat)))
}

/// A Dockerfile in a directory; `shown` is what errors call it.
fn text(dir: &RootDir, name: &str, shown: &str) -> Result<Text> {
    let Some(text) = small(dir, name, shown, MAX_DOCKERFILE)? else {
        let hint = format!("it is not in {}", dir.path().display());
        return Err(Error::NotFound { what: "file", name: shown.to_owned(), hint });
    };
    Ok(Text { name: shown.to_owned(), text })
}

/// The patterns of a file, if it is there.
fn ignored(dir: &RootDir, name: &str) -> Result<Option<Ignore>> {
    let text = small(dir, name, name, ignore::MAX)?;
    text.map(|text| Ignore::parse(&text, name)).transpose()
}

/// A small file of a directory; links in it must stay in it.
fn small(dir: &RootDir, name: &str, shown: &str, max: u64) -> Result<Option<Vec<u8>>> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = match dir.open_beneath(name.as_bytes(), flags) {
        Ok(file) => file,
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
        // KERNEL: openat2(2): RESOLVE_BENEATH.
        Err(Errno::EXDEV) => {
            let why = format!("it is a link that leads out of {}", dir.path().display());
            return Err(Error::invalid(shown, why));
        }
        Err(e) => return Err(dir.error("open", name.as_bytes(), e)),
    };
    let stat = fstat(&file).map_err(|e| dir.error("read", name.as_bytes(), e))?;
    if kind(&stat) != SFlag::S_IFREG {
        return Err(Error::invalid(shown, "it is no regular file"));
    }
    bounded(std::fs::File::from(file), shown, max).map(Some)
}

fn read(from: impl Read, shown: &str) -> Result<Vec<u8>> {
    bounded(from, shown, MAX_DOCKERFILE)
}

fn bounded(from: impl Read, shown: &str, max: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(max + 1).read_to_end(&mut bytes).map_err(Error::at("read", shown))?;
    if bytes.len() as u64 > max {
        return Err(Error::invalid(shown, format!("it is larger than {} MiB", max >> 20)));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
