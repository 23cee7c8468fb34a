//! Descriptors that a caller left open.

use crate::check;

/// Closes every descriptor from `first` up.
///
/// For the first lines of a program: what Rust owns must not be among them.
pub fn close_from(first: u32) -> nix::Result<()> {
    range(first, u32::MAX)
}

/// Closes every descriptor from `first` up but those in `kept`.
///
/// For a process that only waits and then executes a program or ends: what Rust owns of the
/// others is never dropped.
pub fn close_but(first: u32, kept: &mut [u32]) -> nix::Result<()> {
    kept.sort_unstable();
    let mut next = first;
    for &fd in kept.iter().filter(|&&fd| fd >= first) {
        if fd > next {
            range(next, fd - 1)?;
        }
        next = fd + 1;
    }
    range(next, u32::MAX)
}

fn range(first: u32, last: u32) -> nix::Result<()> {
    // SAFETY: no pointers; the callers own no descriptor of that range that they use again.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}
