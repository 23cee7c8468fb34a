//! The one stream of a copy: written by one thread, unpacked by another, never whole in memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use dhow_image::layer::{
    Applied, Entries, Journal, Limits, Owner, RootDir, Tree, compress, extract, tree,
};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sched::{CloneFlags, setns, unshare};

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::making::of_image;
use crate::output::human::short_size as size;

const BUFFER: usize = 256 << 10;
/// Between two looks at the progress bar.
const GLANCE: Duration = Duration::from_millis(75);

/// What is copied.
pub struct Source {
    /// The directory it is in, or is.
    pub root: RootDir,
    /// Its name there; empty if it is the directory.
    pub base: Vec<u8>,
    /// The name that the path it was found at ends in.
    pub own_name: Vec<u8>,
    /// What it is called in the stream.
    pub name: Vec<u8>,
    /// It is a directory.
    pub is_dir: bool,
}

impl Source {
    fn tree(&self, holes: bool) -> Tree<'_> {
        Tree { root: &self.root, base: &self.base, name: &self.name, holes }
    }
}

/// Where it comes.
pub struct Into {
    /// The directory.
    pub root: RootDir,
    /// Whose it becomes.
    pub owner: Owner,
    /// The mount namespace that it is seen in, if not ours.
    pub namespace: Option<OwnedFd>,
}

impl Into {
    /// Unpacks `from`; the calling thread stays in the destination's namespace.
    fn extract(
        &self,
        entries: &mut Entries<impl BufRead>,
        journal: Journal,
    ) -> dhow_image::Result<Applied> {
        if let Some(namespace) = &self.namespace {
            let entered = unshare(CloneFlags::CLONE_FS)
                .and_then(|()| setns(namespace, CloneFlags::CLONE_NEWNS));
            entered.map_err(|e| dhow_image::Error::io("enter", self.root.path(), e.into()))?;
        }
        extract(&self.root, entries, self.owner, journal)
    }
}

/// How a conflict in the destination is worded.
pub struct Words {
    /// Stands before the path in it.
    pub before: Option<PathBuf>,
    /// What the destination is called.
    pub place: PathBuf,
}

impl Words {
    /// docker's words, which scripts match.
    fn error(&self, error: dhow_image::Error) -> Error {
        let dhow_image::Error::Overwrite { path, directory } = error else {
            return of_image(error);
        };
        let below = super::path::shown(&path);
        let path = self
            .before
            .as_ref()
            .map_or_else(|| below.clone(), |before| before.join(&below).display().to_string());
        let (there, new) =
            if directory { ("directory", "non-directory") } else { ("non-directory", "directory") };
        let place = self.place.display();
        Error::usage(format!("cannot overwrite {there} \"{path}\" with {new} \"{place}\""))
    }
}

/// Copies, and answers with the bytes that a plain tar of it has.
pub fn copy(host: &Host, from: &Source, to: Into, words: &Words, meter: &Meter) -> Result<u64> {
    let cannot = |e: io::Error| Error::engine(format!("make a pipe: {e}"));
    let (reader, writer) = io::pipe().map_err(cannot)?;
    // The kernel's default makes the two sides wait for each other more often.
    let _ = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(1 << 20));
    let journal = journal(host)?;
    let (packed, extracted) = thread::scope(|scope| {
        let worker = scope.spawn(move || {
            let mut entries =
                Entries::new(BufReader::with_capacity(BUFFER, reader), limits()).literal();
            to.extract(&mut entries, journal)
        });
        let out = Counted { to: writer, meter, count: 0, shown: Instant::now() };
        let packed = tree(&from.tree(true), BufWriter::with_capacity(BUFFER, out));
        (packed, worker.join())
    });
    let extracted = extracted.map_err(|_| Error::engine("unpack the copy: a thread died"))?;
    match (packed, extracted) {
        // Who unpacks has stopped first, and knows why.
        (Err(dhow_image::Error::Io { source, .. }), Err(error))
            if source.kind() == io::ErrorKind::BrokenPipe =>
        {
            Err(words.error(error))
        }
        (Err(error), _) => Err(of_image(error)),
        (_, Err(error)) => Err(words.error(error)),
        (Ok(packed), Ok(_)) => Ok(packed.plain),
    }
}

/// Entries are counted, for a container could go on making files; bytes are not.
fn limits() -> Limits {
    Limits { bytes: u64::MAX >> 1, ..Limits::default() }
}

fn journal(host: &Host) -> Result<Journal> {
    let scratch = host.paths.root.join("tmp");
    crate::store::make_dir(&scratch)?;
    Ok(Journal::new(&scratch))
}

/// Writes a tar to stdout, without formats that only some read. Whoever reads may leave early.
pub fn to_stdout(from: &Source) -> Result<Exit> {
    let out = BufWriter::with_capacity(BUFFER, io::stdout().lock());
    match tree(&from.tree(false), out) {
        Err(dhow_image::Error::Io { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => {
            Ok(Exit::signal(libc::SIGPIPE))
        }
        done => done.map(|_| Exit::OK).map_err(of_image),
    }
}

/// Unpacks a tar from stdin, plain or compressed by gzip or zstd.
pub fn from_stdin(host: &Host, to: Into, words: &Words) -> Result<()> {
    let cannot = |e: io::Error| Error::engine(format!("read stdin: {e}"));
    let stdin: File = io::stdin().as_fd().try_clone_to_owned().map_err(cannot)?.into();
    let journal = journal(host)?;
    let unpacked = thread::scope(|scope| {
        let worker = scope.spawn(move || {
            let (_, plain) = compress::inflate(stdin)?;
            let mut entries =
                Entries::new(BufReader::with_capacity(BUFFER, plain), limits()).literal();
            let done = to.extract(&mut entries, journal);
            if done.is_ok() {
                drain(entries.into_inner());
            }
            done
        });
        worker.join()
    });
    let unpacked = unpacked.map_err(|_| Error::engine("unpack stdin: a thread died"))?;
    unpacked.map(drop).map_err(|e| words.error(e))
}

/// A tar's padding: who writes it shall not be told that nobody reads.
fn drain(mut rest: impl BufRead) {
    let mut buffer = vec![0; BUFFER];
    while matches!(rest.read(&mut buffer), Ok(n) if n > 0) {}
}

/// What is said of a copy: how far it is, on a terminal, and what it came to.
pub struct Meter {
    quiet: bool,
    title: &'static str,
    terminal: bool,
}

impl Meter {
    /// Says nothing at all if `quiet`.
    pub fn new(title: &'static str, quiet: bool) -> Self {
        let terminal = !quiet && io::stderr().is_terminal();
        if terminal {
            eprint!("\x1b[?25l{title}{}", size(0));
        }
        Self { quiet, title, terminal }
    }

    fn show(&self, bytes: u64) {
        eprint!("\r\x1b[K{}{}", self.title, size(bytes));
    }

    /// docker's last words, with the size of a plain tar.
    pub fn done(&self, bytes: u64, target: &str) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
        if !self.quiet {
            eprintln!("Successfully copied {} to {target}", size(bytes));
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if self.terminal {
            eprint!("\x1b[?25h");
        }
    }
}

/// Shows a meter how much went through.
struct Counted<'a, W> {
    to: W,
    meter: &'a Meter,
    count: u64,
    shown: Instant,
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.to.write(buf)?;
        self.count += n as u64;
        if self.meter.terminal && self.shown.elapsed() >= GLANCE {
            self.meter.show(self.count);
            self.shown = Instant::now();
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
