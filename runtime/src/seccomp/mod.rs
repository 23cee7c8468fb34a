//! Compiles `linux.seccomp` of config.json into a classic BPF program.
//!
//! [`config`](Seccomp) is what was written; [`compile`] judges it, resolves
//! names against [`syscalls`], sorts the rules of each architecture by call
//! number, and [`emit`] lays them out as a balanced tree of ranges. Loading
//! the program, and handing the listener's fd to the agent, is the caller's.
//!
//! Every architecture of the spec has its table; x86's and ARM's are code, the
//! others are read at need, and only built in for machines of their families.
//!
//! Why not the `seccompiler` crate (0.5): it has one matching action a filter
//! (docker's `clone3 → ENOSYS` can't be said), one architecture a filter (no
//! i386, x32, arm), no NOTIFY, no flags but TSYNC, numbers instead of names,
//! and it tests the calls one after another: 1,568 instructions for docker's
//! profile on x86_64 alone, where this compiler's tree for x86_64, i386 and
//! x32 takes 349, all of which the kernel checks and translates at every
//! start. For what it can say it is an oracle of our tests. Why not
//! libseccomp: it takes longer to compile docker's profile than the whole rest
//! of a container's start (10 to 17 ms; here it is 0.06).
//!
//! Compared by hand with libseccomp 2.5.4 on docker's default profile, for all
//! numbers below 560 of the three architectures with 40 choices of arguments
//! each: the answers differ only for calls younger than that library, and
//! where the ENOSYS rule above the youngest named call (runc's) speaks.

mod action;
mod arch;
mod compile;
mod config;
mod emit;
mod error;
mod judge;
pub mod notify;
mod summary;
mod syscalls;
#[cfg(test)]
mod tests;

pub use action::{ACTIONS, FLAGS, OPERATORS, supported_flags};
pub use arch::{Arch, NAMES as ARCHITECTURES};
pub use compile::{Filter, Listener, all_known, compile, debug};
pub use config::{Arg, Seccomp, Syscall, Text};
pub use error::{Error, Reason};
