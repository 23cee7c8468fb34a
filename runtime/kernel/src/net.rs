//! The loopback interface.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::check;

/// Brings `lo` of the current network namespace up. The socket that did it is of that namespace, and
/// keeps it: it is to be closed, unless this process is to execute a program.
pub fn loopback_up() -> nix::Result<OwnedFd> {
    // SAFETY: no pointers; the descriptor is new.
    let socket = unsafe {
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
        OwnedFd::from_raw_fd(check(libc::socket(libc::AF_INET, kind, 0).into())? as i32)
    };
    // SAFETY: ifreq is plain data, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the pointer is to a live ifreq, as SIOCSIFFLAGS wants.
    check(
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }.into(),
    )?;
    Ok(socket)
}
