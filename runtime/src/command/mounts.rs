//! `mounts`: adds mounts to a running container, and removes them again. crun's verb.
//!
//! DIFFERS: crun removes whatever is mounted at a destination, also what config.json had mounted
//! there or masked; here only what `mounts add` has added.

use std::fs;
use std::path::Path;

use super::World;
use crate::amend;
use crate::error::{Error, Result};
use crate::log::Level;
use crate::state::Status;
use crate::validate::mount::{self, Around, Ids, Kind, Links, Mount};
use crate::validate::spec::{self, Spec};
use crate::validate::{self};

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// `add`.
    Add,
    /// `remove`.
    Remove,
}

impl std::str::FromStr for Change {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "add" => Ok(Self::Add),
            "remove" => Ok(Self::Remove),
            _ => Err("one of add and remove".to_owned()),
        }
    }
}

/// Changes them as `file` says, a JSON list as config.json's `mounts`.
pub fn mounts(change: Change, id: &str, file: &Path, world: &World) -> Result<()> {
    let text =
        fs::read_to_string(file).map_err(|e| Error::io("open", file.to_string_lossy(), &e))?;
    let list: Vec<spec::Mount<'_>> =
        serde_json::from_str(&text).map_err(|e| Error::rule(format!("{}: {e}", file.display())))?;
    let (held, mut record) = world.store.hold(id)?;
    if !matches!(held.dir.status(&record)?, Status::Created | Status::Running | Status::Paused) {
        return Err(Error::rule("container not running"));
    }
    let trace = &world.log.trace;
    let before = record.clone();
    match change {
        Change::Add => {
            let config = held.dir.config()?;
            let config: Spec<'_> = validate::parse(&config)?;
            let around = Around {
                bundle: &before.bundle,
                rootfs: &before.rootfs,
                label: &config.linux.mount_label,
                users: None,
            };
            let mut warnings = Vec::new();
            let list = list.iter().enumerate().map(|(n, m)| {
                mount::read(n, m, &around, &mut warnings).and_then(|m| fit(m, &before.rootfs))
            });
            let list = list.collect::<Result<Vec<_>>>()?;
            for warning in &warnings {
                world.log.line(Level::Warning, warning);
            }
            trace.step("mounts", || {
                amend::add(&before, &list, |ids| {
                    record.added = before.added.iter().chain(ids).copied().collect();
                    held.dir.record(&record)
                })
            })
        }
        Change::Remove => {
            let targets = list.iter().enumerate();
            let targets = targets.map(|(n, m)| mount::target(n, m, &before.rootfs));
            let targets = targets.collect::<Result<Vec<_>>>()?;
            trace.step("mounts", || {
                amend::remove(&before, &targets, |ids| {
                    record.added.retain(|id| !ids.contains(id));
                    held.dir.record(&record)
                })
            })
        }
    }
}

/// Refuses what a running container can't be given.
fn fit(m: Mount, rootfs: &str) -> Result<Mount> {
    let refused = |field: &str, why: &str| {
        Err(Error::unsupported(format!("/mounts/{}/{field}", m.index), why))
    };
    if m.target.is_empty() {
        return refused("destination", "the root of a running container stays");
    }
    if m.ids != Ids::Same {
        return refused("options", "a mount with ids of its own is for config.json");
    }
    if m.links == Links::Copied {
        return refused("options", "copy-symlink makes a link and no mount");
    }
    match &m.kind {
        // What is below its root the container may change meanwhile, into a link that leads out.
        Kind::Bind { source, .. } if Path::new(&*source.to_string_lossy()).starts_with(rootfs) => {
            refused("source", "it is in the container's own root")
        }
        Kind::Bind { .. } => Ok(m),
        Kind::New { fstype, .. } if fstype.as_c_str() == c"tmpfs" => Ok(m),
        // A new procfs, sysfs or mqueue would show the host's processes, network, queues.
        _ => refused("type", "a running container is given binds and tmpfs"),
    }
}
