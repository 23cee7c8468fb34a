//! One file a verb: what was typed in, an exit code out.

pub mod create;
pub mod delete;
pub mod kill;
pub mod plan;
pub mod run;
pub mod start;
pub mod state;

pub mod launch;

use crate::log::Log;
use crate::state::Store;

/// The global flags, resolved.
#[derive(Debug)]
pub struct World {
    /// `--root`.
    pub store: Store,
    /// `--log`, `--log-format`, `--debug`.
    pub log: Log,
    /// `--systemd-cgroup`.
    pub systemd: bool,
    /// `--rootless`, decided.
    pub rootless: bool,
    /// Descriptors from socket activation, sd_listen_fds(3).
    pub listen: u32,
}
