//! Overlays for one RUN: layers by their handles, in the build's own mount namespace.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use nix::sys::stat::{Mode, fchmod, fstat};
use nix::unistd::{Gid, Uid, fchown};

use super::Attached;
use crate::error::{Error, Result};
use crate::layer::RootDir;
use crate::overlay::Overlay;
use crate::store::make_dir;

/// Mounts directories on each other, the topmost first, at a new directory `place`/merged. What is
/// written goes to `upper` (its `upper` and `work` are made), or can't be.
pub(super) fn mount_at(
    place: &Path,
    lower: &[BorrowedFd<'_>],
    upper: Option<&Path>,
) -> Result<(Attached, RootDir)> {
    let target = place.join("merged");
    make_dir(&target)?;
    let mut own = None;
    if let Some(home) = upper {
        let (up, work) = (home.join("upper"), home.join("work"));
        let first = !up.exists();
        make_dir(&up)?;
        make_dir(&work)?;
        if first && let Some(below) = lower.first() {
            let made = RootDir::open(&up)?;
            like(made.as_fd(), *below).map_err(|e| made.error("create", b"", e))?;
        }
        own = Some((up, work));
    }
    let names: Vec<String> =
        lower.iter().map(|fd| format!("/proc/self/fd/{}", fd.as_raw_fd())).collect();
    let own = own.as_ref().map(|(up, work)| (up.as_path(), work.as_path()));
    let volatile = own.is_some();
    let overlay = Overlay { source: c"dhow-build", lower: &names, upper: own, volatile };
    overlay.mount(&target).map_err(|e| Error::io("mount an overlay on", &target, e.into()))?;
    let attached = Attached(target);
    let root = RootDir::open(&attached.0)?;
    Ok((attached, root))
}

/// A file or directory is whose another one is, with its mode.
pub(super) fn like(made: BorrowedFd<'_>, model: BorrowedFd<'_>) -> nix::Result<()> {
    let stat = fstat(model)?;
    fchown(made, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    fchmod(made, Mode::from_bits_truncate(stat.st_mode & 0o7777))
}

/// Forgets that an overlay was here whose writes may not all be on disk: it is mounted again.
pub(super) fn forgive(home: &Path) {
    let _ = fs::remove_dir_all(home.join("work/work/incompat"));
}
