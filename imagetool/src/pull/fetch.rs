//! One blob on its way from the registry to the disk, read by whoever unpacks it.
//!
//! Its bytes lie in `ROOT/tmp/partial/ALGORITHM-HEX`. A pull that was interrupted leaves
//! them; the next one hashes them again, and asks the registry for the rest only.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::stopped;
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};
use crate::manifest::Descriptor;
use crate::pieces::Pieces;
use crate::progress::Progress;
use crate::registry::{BlobReader, Client};
use crate::store::{Early, Lease, make_dir};

/// A blob being fetched. Reading it to the end leaves it whole and verified on disk.
pub(super) struct Fetch<'a> {
    client: &'a Client,
    blob: &'a Descriptor,
    progress: &'a dyn Progress,
    stop: &'a AtomicBool,
    file: File,
    path: PathBuf,
    /// So many bytes were there before; they are read from the file.
    had: u64,
    at: u64,
    hasher: Hasher,
    body: Option<BlobReader<'a>>,
}

/// A whole blob not yet visible. Its file stays locked as long as this lives.
pub(super) struct Kept {
    pub(super) digest: Digest,
    file: File,
    path: PathBuf,
}

impl Kept {
    /// Hands the file to the lease, to become a blob.
    pub(super) fn adopt(&self, lease: &Lease) {
        lease.adopt(self.path.clone(), self.digest.clone());
    }

    /// The bytes, from the start.
    pub(super) fn reader(&mut self) -> Result<File> {
        self.file.seek(SeekFrom::Start(0)).map_err(Error::at("read", &self.path))?;
        self.file.try_clone().map_err(Error::at("read", &self.path))
    }
}

impl<'a> Fetch<'a> {
    pub(super) fn new(
        client: &'a Client,
        claims: &Claims,
        blob: &'a Descriptor,
        progress: &'a dyn Progress,
        stop: &'a AtomicBool,
    ) -> Result<Self> {
        let what = || Error::invalid(format!("blob {}", blob.digest), "it is not claimed");
        let (file, path) = claims.take(&blob.digest).ok_or_else(what)?;
        let mut had = file.metadata().map_err(Error::at("read", &path))?.len();
        if had > blob.size {
            file.set_len(0).map_err(Error::at("truncate", &path))?;
            had = 0;
        }
        let hasher = Hasher::new(blob.digest.algorithm());
        let body = None;
        let mut new = Self { client, blob, progress, stop, file, path, had, at: 0, hasher, body };
        if blob.size == 0 {
            new.check()?;
        }
        Ok(new)
    }

    /// Lets the file leave the page cache as it goes to disk.
    pub(super) fn passes(&self, early: &Early) {
        early.passes(&self.path);
    }

    /// After a failed try: whether bytes of an earlier pull may be to blame. Then all is
    /// set back to the start.
    pub(super) fn restart<T>(&mut self, tried: &Result<T>) -> bool {
        let damaged = matches!(tried, Err(Error::Digest { .. } | Error::Invalid { .. }));
        if self.had == 0 || !damaged || self.file.set_len(0).is_err() {
            return false;
        }
        (self.had, self.at, self.body) = (0, 0, None);
        self.hasher = Hasher::new(self.blob.digest.algorithm());
        self.file.seek(SeekFrom::Start(0)).is_ok()
    }

    /// After a failure for good: what the next pull can't use goes.
    pub(super) fn failed(&self, e: Error) -> Error {
        let resumable =
            matches!(e, Error::Network { .. } | Error::Registry { .. } | Error::Unreachable { .. });
        if !resumable {
            let _ = fs::remove_file(&self.path);
            return e;
        }
        match e {
            Error::Network { request, why } if self.at > 0 => {
                Error::Network { request, why: format!("{why}; pull again to go on from there") }
            }
            other => other,
        }
    }

    pub(super) fn keep(self) -> Kept {
        Kept { digest: self.blob.digest.clone(), file: self.file, path: self.path }
    }

    fn check(&mut self) -> Result<()> {
        let got = self.hasher.clone().finish();
        if got == self.blob.digest {
            return Ok(());
        }
        let what = format!("blob {}", self.blob.digest);
        Err(Error::Digest { what, want: self.blob.digest.clone(), got })
    }

    /// Bytes of the earlier pull first, then the registry's, which are kept.
    fn step(&mut self, buf: &mut [u8]) -> Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(stopped());
        }
        let failed = |e| Error::from_io("read", &self.path, e);
        if self.at < self.had {
            let max = usize::try_from(self.had - self.at).unwrap_or(usize::MAX).min(buf.len());
            let n = self.file.read(&mut buf[..max]).map_err(failed)?;
            if n == 0 {
                return Err(Error::invalid(self.path.display().to_string(), "it shrank"));
            }
            return Ok(n);
        }
        if self.body.is_none() {
            self.body = Some(self.client.blob(self.blob, self.at)?);
        }
        let Some(body) = self.body.as_mut() else { return Ok(0) };
        let n = body.read(buf).map_err(|e| Error::from_io("read", &self.path, e))?;
        Pieces(&mut self.file).write_all(&buf[..n]).map_err(Error::at("write", &self.path))?;
        Ok(n)
    }
}

impl Read for Fetch<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.at == self.blob.size || buf.is_empty() {
            return Ok(0);
        }
        let n = self.step(buf).map_err(Error::into_io)?;
        self.hasher.update(&buf[..n]);
        self.at += n as u64;
        self.progress.advance(self.blob.digest.short(), n as u64);
        if self.at == self.blob.size {
            self.check().map_err(Error::into_io)?;
        }
        Ok(n)
    }
}

/// Removes what an earlier pull or this one left of a blob, unless another is at work on it.
pub(super) fn discard(lease: &Lease, digest: &Digest) {
    let path = path_of(lease, digest);
    if File::open(&path).is_ok_and(|f| f.try_lock().is_ok() && same(&f, &path)) {
        // The next pull goes on with it, or the sweep of old ones takes it.
        let _ = fs::remove_file(&path);
    }
}

fn path_of(lease: &Lease, digest: &Digest) -> PathBuf {
    let name = format!("{}-{}", digest.algorithm().name(), digest.hex());
    lease.store().tmp().join("partial").join(name)
}

/// The partial files of the blobs that lack, each locked.
#[derive(Default)]
pub(super) struct Claims(Mutex<HashMap<Digest, (File, PathBuf)>>);

impl Claims {
    /// Claims what lacks. Where another pull is at work on a blob, it is waited for: its lock
    /// ends with it, however it ends, and what it got is then there, or gone on with.
    ///
    /// Nobody waits while he holds something, so nobody waits for ever.
    pub(super) fn of(lease: &Lease, blobs: &[Descriptor], progress: &dyn Progress) -> Result<Self> {
        make_dir(&lease.store().tmp().join("partial"))?;
        let mut digests: Vec<&Digest> = blobs.iter().map(|b| &b.digest).collect();
        digests.sort();
        digests.dedup();
        let mut told = HashSet::new();
        loop {
            let mut held = HashMap::new();
            let mut busy = None;
            for digest in &digests {
                match claim(lease, digest)? {
                    Claim::Have => {}
                    Claim::Mine(file, path) => drop(held.insert((*digest).clone(), (file, path))),
                    Claim::Busy(file, path) => {
                        busy = Some((digest, file, path));
                        break;
                    }
                }
            }
            let Some((digest, file, path)) = busy else { return Ok(Self(Mutex::new(held))) };
            drop(held);
            if told.insert(digest) {
                progress.message(&format!("{}: Waiting", digest.short()));
            }
            file.lock().map_err(Error::at("lock", path))?;
        }
    }

    /// Lets go of what nobody has taken.
    pub(super) fn clear(&self) {
        let left =
            std::mem::take(&mut *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        for (file, path) in left.into_values() {
            if file.metadata().is_ok_and(|m| m.len() == 0) {
                let _ = fs::remove_file(path);
            }
        }
    }

    fn take(&self, digest: &Digest) -> Option<(File, PathBuf)> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(digest)
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        self.clear();
    }
}

enum Claim {
    /// The blob is there.
    Have,
    /// Its partial file is ours.
    Mine(File, PathBuf),
    /// It is another's.
    Busy(File, PathBuf),
}

fn claim(lease: &Lease, digest: &Digest) -> Result<Claim> {
    let path = path_of(lease, digest);
    loop {
        if lease.store().has_blob(digest) {
            return Ok(Claim::Have);
        }
        let file = open_at(&path)?;
        if file.try_lock().is_err() {
            return Ok(Claim::Busy(file, path));
        }
        // It may have become a blob between the look and the lock: then this one is of no use.
        if !same(&file, &path) {
            continue;
        }
        if !lease.store().has_blob(digest) {
            return Ok(Claim::Mine(file, path));
        }
        let _ = fs::remove_file(&path);
    }
}

/// Whether the path still leads to the file: it may have become a blob before we locked it.
fn same(file: &File, path: &Path) -> bool {
    let (Ok(a), Ok(b)) = (file.metadata(), fs::metadata(path)) else { return false };
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

fn open_at(path: &Path) -> Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(Error::at("open", path))
}
