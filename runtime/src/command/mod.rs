//! One file a verb: what was typed in, an exit code out.

pub mod check;
pub mod checkpoint;
pub mod create;
pub mod delete;
pub mod events;
pub mod exec;
pub mod features;
pub mod kill;
pub mod list;
pub mod mounts;
pub mod pause;
pub mod plan;
pub mod ps;
pub mod restore;
pub mod resume;
pub mod run;
pub mod several;
pub mod spec;
pub mod start;
pub mod state;
pub mod update;

pub mod launch;

use crate::cgroup;
use crate::log::Log;
use crate::state::Store;

/// The global flags, resolved.
#[derive(Debug)]
pub struct World {
    /// `--root`.
    pub store: Store,
    /// Whether `--root` was given.
    pub chosen: bool,
    /// `--log`, `--log-format`, `--debug`.
    pub log: Log,
    /// `--systemd-cgroup`, `--cgroup-manager`.
    pub manager: cgroup::Manager,
    /// Where systemd listens: the system's, or a user's.
    pub systemd: cgroup::Addresses,
    /// `--rootless`, decided.
    pub rootless: bool,
    /// Descriptors from socket activation, sd_listen_fds(3).
    pub listen: u32,
    /// Where a service manager wants to hear that a container is ready, sd_notify(3).
    pub notify: Option<String>,
}
