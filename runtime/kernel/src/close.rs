//! Descriptors that a caller left open.

use crate::check;

/// Closes every descriptor from `first` up.
///
/// For the first lines of a program: what Rust owns must not be among them.
pub fn close_from(first: u32) -> nix::Result<()> {
    // SAFETY: no pointers; the caller owns no descriptor of that range yet.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) }).map(drop)
}
