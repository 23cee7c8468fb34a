//! [`Plan`](crate::plan::Plan) → execve: the parent's half, the child's half, one file a phase.

pub mod child;
pub mod fault;
pub mod parent;
pub mod procfs;
pub mod protocol;
pub mod root;

mod bare;
pub(crate) mod birth;
pub(crate) mod capabilities;
mod cgroup;
pub(crate) mod console;
mod copy_up;
pub(crate) mod credentials;
mod devices;
pub(crate) mod exec;
pub(crate) mod mask;
mod mounted;
pub(crate) mod mounts;
pub(crate) mod namespaces;
mod pids;
mod pivot;
pub(crate) mod schedule;
pub(crate) mod session;
mod system;
