//! One layer on its way from a stream into a directory of its own.

use std::fs::{self, DirBuilder};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::digest::{Algorithm, DiffId, Digest};
use crate::error::{Error, Result};
use crate::layer::verify::{Plain, explain, pipeline, plain_pipeline};
use crate::layer::{Applied, Entries, Journal, Limits, RootDir, Sink, apply, seal};
use crate::manifest::Compression;
use crate::store::{Early, Lease};

/// A layer about to be unpacked. Dropped, it leaves nothing.
#[derive(Debug)]
pub struct Unpacking {
    dir: Scratch,
    scratch: PathBuf,
    /// What the plain tar must hash to, if that is known.
    diff_id: Option<DiffId>,
    limits: Limits,
    hollow: bool,
    early: Option<Arc<Early>>,
}

/// A layer unpacked and verified, not visible yet. Dropped, it leaves nothing.
#[derive(Debug)]
pub struct Unpacked {
    pub(super) dir: Scratch,
    pub(super) diff_id: DiffId,
    pub(super) journal: Journal,
    /// Has to end well before this is visible.
    pub(super) early: Option<Arc<Early>>,
    /// What it came to.
    pub applied: Applied,
}

impl Unpacked {
    /// The digest of its plain tar.
    pub fn diff_id(&self) -> &DiffId {
        &self.diff_id
    }
}

impl Unpacking {
    pub(super) fn start(lease: &Lease, diff_id: &DiffId, media_type: &str) -> Result<Self> {
        if Compression::of_layer(media_type).is_none() {
            return Err(Error::unsupported(
                format!("a layer of type {media_type:?}"),
                "this is no image that can be unpacked",
            ));
        }
        Self::new(lease, Some(diff_id.clone()))
    }

    pub(super) fn new(lease: &Lease, diff_id: Option<DiffId>) -> Result<Self> {
        let dir = Scratch::new(lease.dir())?;
        let scratch = lease.dir().to_owned();
        let limits = Limits::default();
        Ok(Self { dir, scratch, diff_id, limits, hollow: false, early: None })
    }

    /// Other limits than the default ones.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Files get their length and no content: a layer to compare with, not to keep.
    #[must_use]
    pub(crate) fn hollow(mut self, hollow: bool) -> Self {
        self.hollow = hollow;
        self
    }

    /// Its files go to disk while they come: for who keeps the layer, and syncs in the end.
    #[must_use]
    pub(crate) fn early(mut self, lease: &Lease) -> Self {
        self.early = Some(Arc::clone(lease.early()));
        self
    }

    /// Inflates, verifies and unpacks `packed`, which checks its own digest and size as it
    /// is read to its end. This thread reads and inflates, another makes the files.
    pub fn run(self, packed: impl Read) -> Result<Unpacked> {
        let early = self.early.clone();
        self.work(Counted { packed, early }, false)
    }

    /// The same for a tar that isn't compressed, even if its first name looks so.
    pub(super) fn run_plain(self, tar: impl Read) -> Result<Unpacked> {
        self.work(tar, true)
    }

    fn work(self, from: impl Read, plain: bool) -> Result<Unpacked> {
        let files = self.dir.path.join("fs");
        DirBuilder::new().mode(0o755).create(&files).map_err(Error::at("create", &files))?;
        let root = RootDir::open(&files)?;
        let mut journal = Journal::new(&self.scratch);
        let (limits, hollow, want) = (self.limits, self.hollow, self.diff_id.as_ref());
        let work = |plain: Plain| {
            let mut entries = Entries::new(plain, limits).hollow(hollow);
            let applied = apply(&root, &mut entries, Sink::Overlay, &mut journal)?;
            seal(&root, &journal, Sink::Overlay)?;
            let mut plain = entries.into_inner();
            match want {
                Some(want) => plain.drain_and_check(want).map(|_| (applied, want.clone())),
                None => plain.drain().map(|(got, _)| (applied, got)),
            }
        };
        let algorithm = want.map_or(Algorithm::Sha256, Digest::algorithm);
        let done = if plain {
            plain_pipeline(from, algorithm, limits.bytes, work)
        } else {
            pipeline(from, algorithm, limits.bytes, work)
        };
        let (applied, diff_id) = match (done, want) {
            (Err(e), Some(want)) => return Err(explain(want, e)),
            (done, _) => done?,
        };
        Ok(Unpacked { dir: self.dir, diff_id, journal, early: self.early, applied })
    }
}

/// Takes note of what is read.
struct Counted<R> {
    packed: R,
    early: Option<Arc<Early>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.packed.read(buf)?;
        if let Some(early) = &self.early {
            early.came(n as u64);
        }
        Ok(n)
    }
}

/// A directory that goes with its value, unless it has been moved away.
#[derive(Debug)]
pub(super) struct Scratch {
    pub path: PathBuf,
}

impl Scratch {
    fn new(parent: &Path) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("layer-")
            .tempdir_in(parent)
            .map_err(Error::at("create a directory in", parent))?;
        Ok(Self { path: dir.keep() })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What can't be removed goes with the lease.
        let _ = fs::remove_dir_all(&self.path);
    }
}
