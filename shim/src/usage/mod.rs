//! What a container's processes are and use: its cgroups, read from outside.
//!
//! Nothing of the container is executed and none of its files is read: cgroups and /proc alone.

mod groups;
pub mod processes;
mod sample;

pub use groups::Groups;
pub use sample::{Sample, cpu_percent};
