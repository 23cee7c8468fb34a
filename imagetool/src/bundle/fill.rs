//! Layers, one upon the other, become one root.

use std::collections::VecDeque;
use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, lchown};
use std::panic::resume_unwind;
use std::path::Path;
use std::thread;

use super::image::Image;
use crate::digest::DiffId;
use crate::error::{Error, Result};
use crate::layer::verify::{Plain, ahead, explain};
use crate::layer::{
    Closed, Entries, Journal, Limits, Manner, RootDir, Sink, Sums, apply_as, seal_with,
};
use crate::source::Source;

/// A root that has been filled.
pub(super) struct Filled {
    pub root: RootDir,
    /// What could not be kept, and what stands for something else, a line each.
    pub lost: Vec<String>,
    pub sums: Sums,
    pub closed: Closed,
}

/// Applies an image's layers in order to a new directory at `rootfs`, while the next ones are
/// read, inflated and buffered ahead on threads of their own. Nothing is kept elsewhere but a
/// journal in `scratch`.
///
/// With `manner.rootless`, directories stay open to their owner until `closed` is closed.
pub(super) fn fill(
    source: &dyn Source,
    image: &Image,
    rootfs: &Path,
    scratch: &Path,
    manner: &Manner,
) -> Result<Filled> {
    if !rootfs.is_dir() {
        DirBuilder::new().mode(0o755).create(rootfs).map_err(Error::at("create", rootfs))?;
    }
    let root = RootDir::open(rootfs)?;
    own(rootfs, manner)?;
    let mut filled = Filled {
        root,
        lost: Vec::new(),
        sums: Sums::new(seed(scratch)),
        closed: Closed::default(),
    };
    let layers = image.layers()?;
    let limits = Limits::default();
    let at_once = thread::available_parallelism().map_or(1, usize::from) + 1;
    let mut devices = 0;
    thread::scope(|scope| {
        let mut waiting: VecDeque<Plain> = VecDeque::new();
        let mut rest = layers.iter();
        for (i, (_, diff_id)) in layers.iter().enumerate() {
            while waiting.len() < at_once
                && let Some((blob, diff_id)) = rest.next()
            {
                let packed = source.blob(blob)?;
                waiting.push_back(ahead(scope, packed, diff_id.algorithm(), limits.bytes)?);
            }
            let Some(plain) = waiting.pop_front() else { break };
            let sink = Sink::Plain { first: i == 0 };
            let filled = &mut filled;
            // On a thread of its own for the umask.
            let applied = thread::scope(|alone| {
                alone.spawn(|| one(plain, filled, scratch, sink, manner, diff_id)).join()
            });
            devices += applied.unwrap_or_else(|panic| resume_unwind(panic))?;
        }
        Ok::<_, Error>(())
    })?;
    if devices > 0 {
        filled.lost.push(format!(
            "{devices} devices (only root makes them; empty files stand in their place)"
        ));
    }
    Ok(filled)
}

fn one(
    plain: Plain,
    filled: &mut Filled,
    scratch: &Path,
    sink: Sink,
    manner: &Manner,
    want: &DiffId,
) -> Result<u64> {
    let mut journal = Journal::new(scratch).with_sums(std::mem::take(&mut filled.sums));
    let mut entries = Entries::new(plain, Limits::default());
    let mut run = || {
        let root = &filled.root;
        let applied = apply_as(root, &mut entries, sink, &mut journal, manner)?;
        seal_with(root, &journal, sink, manner.rootless.then_some(&mut filled.closed))?;
        Ok(applied)
    };
    let applied = run().map_err(|e| explain(want, e))?;
    entries.into_inner().drain_and_check(want).map_err(|e| explain(want, e))?;
    filled.sums = journal.into_sums().unwrap_or_default();
    filled.lost.extend(applied.lost);
    Ok(applied.devices)
}

/// The root is the image's root's until a layer says otherwise.
fn own(rootfs: &Path, manner: &Manner) -> Result<()> {
    if manner.rootless {
        return Ok(());
    }
    let lacks = |what| Error::usage("id map", what, "it has no place for 0, which owns the root");
    let uid = manner.uids.outside(0).ok_or_else(|| lacks("--uid-map"))?;
    let gid = manner.gids.outside(0).ok_or_else(|| lacks("--gid-map"))?;
    if (uid, gid) != (0, 0) || !(manner.uids.0.is_empty() && manner.gids.0.is_empty()) {
        lchown(rootfs, Some(uid), Some(gid)).map_err(Error::at("change the owner of", rootfs))?;
    }
    Ok(())
}

/// A number that those who write into the root can't foresee.
fn seed(scratch: &Path) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(scratch)
}
