//! Descriptors that a caller left open.

use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};

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

/// Closes these, with one call for all that are next to each other.
pub fn all(fds: impl IntoIterator<Item = OwnedFd>) {
    let mut numbers: Vec<u32> =
        fds.into_iter().map(|fd| fd.into_raw_fd().cast_unsigned()).collect();
    numbers.sort_unstable();
    for run in numbers.chunk_by(|a, b| a + 1 == *b) {
        if range(run[0], run[run.len() - 1]).is_err() {
            for fd in run {
                // SAFETY: whoever owned it has given it up above.
                drop(unsafe { OwnedFd::from_raw_fd(fd.cast_signed()) });
            }
        }
    }
}

pub(crate) fn range(first: u32, last: u32) -> nix::Result<()> {
    // SAFETY: no pointers; the callers own no descriptor of that range, or none that they use again.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })?;
    crate::fd::forget(first, last);
    Ok(())
}
