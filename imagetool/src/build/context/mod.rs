//! Where a build's files come from, and its Dockerfile with them.

use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat};
use tempfile::TempDir;

use super::copy::{Files, Memory, Owners};
use super::fetch::{Address, Fetch, Fetched};
use super::ignore::{self, Ignore};
use crate::error::{Error, Result};
use crate::layer::at::kind;
use crate::layer::compress::inflate;
use crate::layer::entry::is_header;
use crate::layer::foreign::peel;
use crate::layer::{Entries, Journal, Limits, Owner, RootDir, extract};
use crate::reference::Reference;
use crate::registry::download;
use crate::registry::url::shown;

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
    /// Whether a repository's `.git` stays, whatever its address says.
    pub keep_git_dir: bool,
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
    /// Where what was fetched or unpacked lies.
    _dir: Option<TempDir>,
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
    let place = asked.place;
    let fetch = asked.fetch;
    if place == "-" {
        let Some(stdin) = asked.stdin.filter(|_| asked.file != Some("-")) else {
            let why = "stdin can't be both the context and the Dockerfile";
            return Err(Error::usage("--file", "-", why));
        };
        return stream(&fetch, stdin, "stdin", asked.file);
    }
    // A directory goes first, whatever it is called.
    if Path::new(place).is_dir() {
        return directory(asked);
    }
    if let Some(address) = Address::parse(place, true) {
        let address = address?;
        let keep = asked.keep_git_dir || address.keep == Some(true);
        let Fetched { root, dir, .. } = fetch.repository(&address, keep)?;
        return within(root, dir, asked.file, asked.stdin);
    }
    if super::fetch::is_url(place) {
        let body = download(fetch.settings, place)?;
        return stream(&fetch, body, &shown(place), asked.file);
    }
    directory(asked)
}

/// Opens what a `--build-context NAME=WHAT` names.
pub fn named(name: &str, what: &str, fetch: Fetch<'_>, memory: Option<&Path>) -> Result<Named> {
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
    let files = |root: RootDir, memory, dir| {
        let ignore = ignored(&root, IGNORE)?.unwrap_or_default();
        let title = title.clone();
        Ok(Named::Files(Context { root, ignore, memory, title, dockerfile: None, _dir: dir }))
    };
    if Path::new(what).is_dir() {
        let root = RootDir::open(what)?;
        let memory = remembered(&root, memory)?;
        return files(root, memory, None);
    }
    if let Some(address) = Address::parse(what, true) {
        let address = address?;
        let keep = address.keep == Some(true);
        let Fetched { root, dir, .. } = fetch.repository(&address, keep)?;
        return files(root, None, Some(dir));
    }
    if super::fetch::is_url(what) {
        let dir = fetch.dir()?;
        let root = RootDir::open(dir.path())?;
        let mut head = Head::new(download(fetch.settings, what)?)
            .map_err(|e| Error::from_io("read", what, e))?;
        if head.is_archive() {
            unpack(&root, head, &shown(what), fetch.scratch)?;
        } else {
            // BuildKit's name for it.
            let path = dir.path().join("context");
            let fail = |e| Error::from_io("write", &path, e);
            let mut file = std::fs::File::create_new(&path).map_err(fail)?;
            std::io::copy(&mut head, &mut file).map_err(fail)?;
            // As docker has what comes by URL, and whatever the umask is.
            file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(fail)?;
        }
        return files(root, None, Some(dir));
    }
    Err(Error::NotFound {
        what: "directory",
        name: what.to_owned(),
        hint: format!(
            "--build-context {name} takes a directory, a URL, a repository, docker-image://REF or oci-layout://DIR"
        ),
    })
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
            cancel: None,
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
    // DIFFERS: none: as buildx has it, relative to where one is, not to the context.
    let elsewhere = asked.file.filter(|file| *file != "-");
    let (dockerfile, own) = if let Some(path) = elsewhere {
        let whole = Path::new(path);
        let name = whole
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| Error::usage("--file", path, "it names no file"))?;
        let dir = whole.parent().filter(|parent| !parent.as_os_str().is_empty());
        let dir = RootDir::open(dir.unwrap_or(Path::new(".")))?;
        (text(&dir, name, path)?, ignored(&dir, &format!("{name}{IGNORE}"))?)
    } else {
        chosen(&root, asked.file, asked.stdin)?
    };
    finished(root, memory, None, dockerfile, own)
}

/// A context whose files were brought here: `file` is one of them.
fn within(
    root: RootDir,
    dir: TempDir,
    file: Option<&str>,
    stdin: Option<&mut (dyn Read + Send)>,
) -> Result<Context> {
    let (dockerfile, own) = chosen(&root, file, stdin)?;
    finished(root, None, Some(dir), dockerfile, own)
}

fn finished(
    root: RootDir,
    memory: Option<Memory>,
    dir: Option<TempDir>,
    dockerfile: Text,
    own: Option<Ignore>,
) -> Result<Context> {
    let ignore = match own {
        Some(own) => own,
        None => ignored(&root, IGNORE)?.unwrap_or_default(),
    };
    let title = "the build context".to_owned();
    Ok(Context { root, ignore, memory, title, dockerfile: Some(dockerfile), _dir: dir })
}

/// The Dockerfile out of a context or stdin, and the patterns that are its own.
fn chosen(
    root: &RootDir,
    file: Option<&str>,
    stdin: Option<&mut (dyn Read + Send)>,
) -> Result<(Text, Option<Ignore>)> {
    match file {
        Some("-") => {
            let Some(stdin) = stdin else {
                return Err(Error::usage("--file", "-", "there is no stdin to read it from"));
            };
            let text = bounded(stdin, "stdin", MAX_DOCKERFILE)?;
            Ok((Text { name: "-".into(), text }, None))
        }
        Some(path) => {
            let found = text(root, path, path)?;
            Ok((found, ignored(root, &format!("{path}{IGNORE}"))?))
        }
        None => {
            let found = default(root)?;
            let own = ignored(root, &format!("{}{IGNORE}", found.name))?;
            Ok((found, own))
        }
    }
}

/// A tar of a context, or a Dockerfile alone.
fn stream(
    fetch: &Fetch<'_>,
    from: impl Read + Send,
    shown: &str,
    file: Option<&str>,
) -> Result<Context> {
    let head = Head::new(from).map_err(|e| Error::from_io("read", shown, e))?;
    let dir = fetch.dir()?;
    let root = RootDir::open(dir.path())?;
    if head.is_archive() {
        unpack(&root, head, shown, fetch.scratch)?;
        return within(root, dir, file, None);
    }
    if let Some(file) = file {
        let why = format!("{shown} is a Dockerfile itself, not an archive that has one");
        return Err(Error::usage("--file", file, why));
    }
    let name = if shown == "stdin" { "-" } else { shown };
    let text = bounded(head, shown, MAX_DOCKERFILE)?;
    let dockerfile = Text { name: name.to_owned(), text };
    finished(root, None, Some(dir), dockerfile, Some(Ignore::default()))
}

/// A stream whose first bytes have been looked at.
struct Head<R> {
    head: std::io::Cursor<Vec<u8>>,
    rest: R,
}

impl<R: Read> Head<R> {
    fn new(mut rest: R) -> std::io::Result<Self> {
        let mut head = Vec::new();
        rest.by_ref().take(512).read_to_end(&mut head)?;
        Ok(Self { head: std::io::Cursor::new(head), rest })
    }

    /// By magic bytes, or by a tar's first block.
    fn is_archive(&self) -> bool {
        let head = self.head.get_ref();
        let magic: [&[u8]; 4] =
            [b"BZh", &[0x1f, 0x8b, 8], b"\xfd7zXZ\0", &[0x28, 0xb5, 0x2f, 0xfd]];
        let block: Option<&[u8; 512]> = head.as_slice().try_into().ok();
        magic.iter().any(|magic| head.starts_with(magic)) || block.is_some_and(is_header)
    }
}

impl<R: Read> Read for Head<R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        match self.head.read(buf)? {
            0 => self.rest.read(buf),
            n => Ok(n),
        }
    }
}

/// Unpacks an archive into a directory of ours. Who owns what there matters to nobody: it
/// becomes root's.
fn unpack(root: &RootDir, from: impl Read + Send, shown: &str, scratch: &Path) -> Result<()> {
    let work = || {
        let (_, plain) = peel(from).and_then(inflate)?;
        let plain = std::io::BufReader::with_capacity(256 << 10, plain);
        let mut entries = Entries::new(plain, Limits::default()).literal();
        extract(root, &mut entries, Owner::Maker, Journal::new(scratch)).map(drop)
    };
    // It needs a umask of its own.
    let done = thread::scope(|scope| scope.spawn(work).join());
    let done = done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    done.map_err(|e| match e {
        Error::Invalid { why, .. } => Error::invalid(format!("archive {shown}"), why),
        other => other,
    })
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
    // What it is is known before it is opened: opening alone can start a device.
    let file = match dir.open_beneath(name.as_bytes(), OFlag::O_PATH) {
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
    let file = std::fs::File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
        .map_err(Error::at("open", shown))?;
    bounded(file, shown, max).map(Some)
}

fn bounded(from: impl Read, shown: &str, max: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(max + 1).read_to_end(&mut bytes).map_err(|e| Error::from_io("read", shown, e))?;
    if bytes.len() as u64 > max {
        return Err(Error::invalid(shown, format!("it is larger than {} MiB", max >> 20)));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
