//! What a container's processes are and use: its cgroups, read from outside.
//!
//! Nothing of the container is executed and none of its files is read: cgroups and /proc alone.

mod groups;
mod kin;
pub mod processes;
mod sample;

use std::collections::BTreeSet;

pub use groups::Groups;
pub use sample::{Sample, cpu_percent};

/// The processes of the container `id`, whose first one is `pid`.
pub fn pids(pid: i32, id: &str) -> BTreeSet<i32> {
    Groups::of(pid, id).map_or_else(|| kin::of(pid), |groups| groups.pids())
}
