//! Linux system calls that nix lacks, behind safe functions.
//!
//! This is the only crate of the workspace that may be `unsafe`; each block
//! says in `// SAFETY:` why it is sound. One file a family of calls; every
//! function is one call (or one prctl), returns [`nix::Result`] and decides
//! nothing.
#![allow(unsafe_code)]

pub mod bpf;
pub mod caps;
pub mod close;
pub mod dir;
pub mod disk;
pub mod ended;
pub mod fd;
pub mod keys;
pub mod memory;
pub mod mount;
pub mod net;
pub mod notify;
pub mod pattern;
pub mod process;
pub mod rights;
pub mod sched;
pub mod seccomp;
pub mod signal;
pub mod space;
pub mod start;
pub mod tty;
pub mod xattr;

use nix::errno::Errno;

/// Turns a raw system call's answer into nix's `Result`.
fn check(answer: libc::c_long) -> nix::Result<libc::c_long> {
    Errno::result(answer)
}
