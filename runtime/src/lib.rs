//! dhow-runtime: an OCI bundle in, a container out.
//!
//! `runtime/README.md` walks the life of a container in order; each step is
//! one module here.

mod amend;
pub mod cgroup;
pub mod check;
pub mod command;
pub mod criu;
pub mod dbus;
pub mod error;
pub mod foreground;
pub mod hooks;
pub mod init;
pub mod join;
pub mod lifecycle;
pub mod log;
mod netlink;
pub mod notify;
mod null;
pub mod plan;
pub mod resctrl;
pub mod sealed;
pub mod seccomp;
pub mod signal;
pub mod state;
pub mod trace;
pub mod validate;
mod whole;
