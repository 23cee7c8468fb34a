//! Namespaces by descriptor.

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::check;

/// NS_GET_NSTYPE (linux/nsfs.h).
const GET_TYPE: libc::c_ulong = 0xb703;

/// The CLONE_NEW* of the namespace that `fd` refers to; ENOTTY when it is none.
pub fn kind(fd: BorrowedFd<'_>) -> nix::Result<u64> {
    // SAFETY: this request takes no argument.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), GET_TYPE as _) }.into()).map(|kind| kind as u64)
}
