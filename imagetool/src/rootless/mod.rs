//! An ordinary user as root in a user namespace of their own.
//!
//! ```text
//! enter ─▶ space: the namespace of RUN's living containers, or a new one ─▶ ids: subuid(5)
//! ```
//!
//! A command of a user who isn't root enters it before it does anything else, and is root from
//! then on, as far as that goes: over files of the user and of the user's ranges of ids, and over
//! mounts of its own. Without ranges, or without newuidmap(1), there is one id only, and all files
//! are its own.

mod ids;
mod places;
mod space;
mod spec;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::layer::IdMap;

pub use places::Dirs;
pub use spec::{adapt, fit_user};

/// What an ordinary user is in the namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inside {
    /// The user outside.
    pub uid: u32,
    /// The user's group outside.
    pub gid: u32,
    /// Users: inside and outside.
    pub uids: IdMap,
    /// Groups.
    pub gids: IdMap,
}

/// We are inside, and so are all who come from us. The lock is held as long as we live.
static INSIDE: OnceLock<(Inside, File)> = OnceLock::new();

/// Enters the user namespace of the world whose RUN is `run`; for root who may mount, nothing is
/// done: in a container without privileges root is as an ordinary user. `path` is where helpers are
/// searched.
///
/// KERNEL: unshare(2): only a process of one thread may.
pub fn enter(run: &Path, path: Option<&OsStr>) -> Result<()> {
    search_in(path);
    let is_root = nix::unistd::geteuid().is_root();
    if INSIDE.get().is_some() || is_root && has_capability("CAP_SYS_ADMIN") {
        return Ok(());
    }
    match space::enter(run) {
        Ok(entered) => drop(INSIDE.set(entered)),
        // What needs no mounts is root's all the same.
        Err(_) if is_root => {}
        Err(e) => return Err(e),
    }
    Ok(())
}

/// Where helpers are searched; `/usr/bin` always is.
static PATHS: OnceLock<OsString> = OnceLock::new();

/// Says where helpers are searched.
pub fn search_in(path: Option<&OsStr>) {
    if let Some(path) = path {
        let _ = PATHS.set(path.to_owned());
    }
}

/// A helper's path, if the machine has it.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let dirs = PATHS.get().map(|path| std::env::split_paths(path)).into_iter().flatten();
    let mut all = dirs.chain(["/usr/bin".into()]).map(|dir: PathBuf| dir.join(name));
    all.find(|path| path.is_absolute() && path.is_file())
}

/// Whether we have a right just now.
fn has_capability(name: &str) -> bool {
    let bit = dhow_kernel::caps::NAMES.iter().position(|known| *known == name);
    let sets = dhow_kernel::caps::get();
    bit.is_some_and(|bit| sets.is_ok_and(|sets| sets.effective & (1 << bit) != 0))
}

/// A program that was begun inside, and knows it, goes on there.
pub fn stay(inside: Inside, run: &Path) -> Result<()> {
    let lock = space::stay(run)?;
    INSIDE
        .set((inside, lock))
        .map_err(|_| Error::Conflict("a user namespace was entered twice".into()))
}

/// Whether this process is root in a user namespace only: ours, or one that a container is in.
pub fn is_confined() -> bool {
    /// KERNEL: include/linux/proc_ns.h, PROC_USER_INIT_INO: the number of the first one.
    const FIRST: u64 = 0xEFFF_FFFD;
    static CONFINED: OnceLock<bool> = OnceLock::new();
    let other = || std::fs::metadata("/proc/self/ns/user").is_ok_and(|m| m.ino() != FIRST);
    inside().is_some() || *CONFINED.get_or_init(other)
}

/// Whether this process is the machine's root, and no user who is root in a namespace only.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root() && !is_confined()
}

/// Whether this process has one id only: no file can be anybody else's.
pub fn is_single() -> bool {
    static SINGLE: OnceLock<bool> = OnceLock::new();
    let count = |map: &IdMap| map.0.iter().map(|range| u64::from(range.size)).sum::<u64>();
    match inside() {
        Some(inside) => count(&inside.uids) < 2,
        None => *SINGLE.get_or_init(|| space::map("uid_map").is_ok_and(|map| count(&map) < 2)),
    }
}

/// The user that a confined process is outside; nothing for the machine's root.
pub fn owner() -> Option<u32> {
    if !is_confined() {
        return None;
    }
    match inside() {
        Some(inside) => Some(inside.uid),
        None => space::map("uid_map").ok()?.outside(0),
    }
}

/// What this process is, if it is inside.
pub fn inside() -> Option<&'static Inside> {
    INSIDE.get().map(|(inside, _)| inside)
}
