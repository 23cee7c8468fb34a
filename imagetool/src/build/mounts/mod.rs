//! `RUN --mount`: what a RUN sees beside its root, and no layer keeps.
//!
//! Everything is opened once, below the place it is said to be in, and mounted by that handle:
//! who exchanges a link or a directory meanwhile changes nothing of what is mounted.
//! CVE: 2024-23651, 2024-23652 (sources exchanged by another stage), 2024-1753 and 2024-9675 (links
//! in sources and in ids of caches that led to the host).

mod agent;
mod bind;
mod cache;
mod mask;
mod overlay;
mod owned;
mod secret;

use std::any::Any;
use std::path::{Path, PathBuf};

use super::cancel::Cancel;
use super::copy::Files;
use super::dockerfile::{MountKind, RunMount};
use super::run::{Mount, Mounted};
use super::{Agent, Secret};
use crate::error::{Error, Result};
use crate::layer::name::Name;
use crate::store::make_dir;

pub use cache::{Cache, caches, remove_cache};

/// Hands what a mount comes from (the context if nothing is named) to whoever asked for it.
pub type Find<'a> =
    &'a dyn Fn(Option<&str>, &mut dyn FnMut(&Files<'_>) -> Result<()>) -> Result<()>;

/// What mounts are made of.
#[derive(Clone, Copy)]
pub struct Mounter<'a> {
    /// ROOT, where caches are.
    pub root: &'a Path,
    /// `--secret`
    pub secrets: &'a [Secret],
    /// `--ssh`
    pub agents: &'a [Agent],
    /// A directory for this RUN alone, on the disk of ROOT: made if it isn't there, removed by the caller.
    pub scratch: &'a Path,
    /// The RUN's working directory.
    pub cwd: &'a str,
    /// Its variables.
    pub env: &'a [String],
    /// Ends the wait for a cache that somebody else has.
    pub cancel: &'a Cancel,
}

/// Mounts that can be given to a container; what they stand on goes when this is dropped.
#[derive(Debug, Default)]
pub struct Settled {
    /// In the order of the flags.
    pub mounts: Vec<Mount>,
    /// `NAME=value`: secrets and the agent's socket, upon all other variables.
    pub env: Vec<String>,
    held: Vec<Box<dyn Held>>,
}

/// Something that must not go before the container's end.
trait Held: std::fmt::Debug + Send + Any {}
impl<T: std::fmt::Debug + Send + Any> Held for T {}

impl Drop for Settled {
    fn drop(&mut self) {
        // What was mounted last may stand on what was before it.
        while self.held.pop().is_some() {}
    }
}

impl Mounter<'_> {
    /// Opens and makes all that the mounts of a RUN come from.
    ///
    /// # Errors
    ///
    /// When a source isn't there, a required secret or agent wasn't given, or something can't be made.
    pub fn settle(&self, mounts: &[RunMount], find: Find<'_>) -> Result<Settled> {
        let mut all = Settled::default();
        if mounts.is_empty() {
            return Ok(all);
        }
        make_dir(self.scratch)?;
        // Before anything else is had: it may be a long wait for others who have them.
        let caches = self.caches(mounts, find)?;
        let mut vault = None;
        for (at, mount) in mounts.iter().enumerate() {
            let place = self.scratch.join(at.to_string());
            match mount.kind {
                MountKind::Bind => {
                    let target = self.target(mount)?;
                    find(mount.from.as_deref(), &mut |files| {
                        let bound = bind::bind(mount, files, &place)?;
                        all.held.push(Box::new(bound.held));
                        let readonly = !mount.writable;
                        let what = Mounted::Bind(bound.what);
                        all.mounts.push(Mount { target: target.clone(), what, readonly });
                        Ok(())
                    })?;
                }
                MountKind::Cache => {
                    let (target, readonly) = (self.target(mount)?, !mount.writable);
                    let what = Mounted::Bind(caches.show(at, mount)?);
                    all.mounts.push(Mount { target, what, readonly });
                }
                MountKind::Tmpfs => {
                    let what = Mounted::Tmpfs(mount.size.unwrap_or_default());
                    all.mounts.push(Mount { target: self.target(mount)?, what, readonly: false });
                }
                MountKind::Secret => self.secret(mount, &mut vault, &mut all)?,
                MountKind::Ssh => self.agent(mount, &place, &mut all)?,
            }
        }
        all.held.insert(0, Box::new(caches));
        if let Some(vault) = vault {
            all.held.insert(0, Box::new(vault)); // it goes last
        }
        Ok(all)
    }

    /// Where it is to be, from the root.
    fn target(&self, mount: &RunMount) -> Result<String> {
        absolute(self.cwd, mount.target.as_deref().unwrap_or_default())
    }
}

/// A target from the root; what is relative is so to the working directory.
fn absolute(cwd: &str, target: &str) -> Result<String> {
    let whole =
        if target.starts_with('/') { target.to_owned() } else { format!("/{cwd}/{target}") };
    let bad = |why: &str| Error::usage("mount target", target, why);
    if target.is_empty() {
        return Err(bad("it is empty"));
    }
    // As path.Clean: what climbs above the root stays there.
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        return Err(bad("the root itself can't be mounted upon"));
    }
    let clean = format!("/{}", parts.join("/"));
    Name::clean(clean.as_bytes()).map(|_| clean)
}

/// A directory that is unmounted when this is dropped.
#[derive(Debug)]
struct Attached(PathBuf);

impl Drop for Attached {
    fn drop(&mut self) {
        let flags = nix::mount::MntFlags::MNT_DETACH | nix::mount::MntFlags::UMOUNT_NOFOLLOW;
        // What can't be unmounted now goes with the build's mount namespace.
        let _ = nix::mount::umount2(&self.0, flags);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_from_the_root() {
        let of = |target: &str| absolute("/work", target).ok();
        assert_eq!(of("/a//b/./c").as_deref(), Some("/a/b/c"));
        assert_eq!(of("x").as_deref(), Some("/work/x"));
        assert_eq!(of("../../../x").as_deref(), Some("/x"));
        assert_eq!(of("."), Some("/work".into()));
        for bad in ["", "/", "..", "/a/.."] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
