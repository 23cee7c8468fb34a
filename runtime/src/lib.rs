//! dhow-runtime: an OCI bundle in, a container out.
//!
//! `runtime/README.md` walks the life of a container in order; each step is
//! one module here.

pub mod cgroup;
pub mod error;
pub mod log;
mod null;
pub mod seccomp;
