//! Session keyrings, keyctl(2).

use std::ffi::CStr;

use crate::check;

const JOIN_SESSION_KEYRING: libc::c_long = 1;
const SETPERM: libc::c_long = 5;

/// Gives the process a new session keyring called `name`; answers its serial.
pub fn join_session(name: &CStr) -> nix::Result<i32> {
    // SAFETY: `name` ends in NUL and lives through the call.
    check(unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, name.as_ptr()) })
        .map(|serial| serial as i32)
}

/// Sets a key's permission mask.
pub fn set_permissions(serial: i32, mask: u32) -> nix::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::syscall(libc::SYS_keyctl, SETPERM, serial, mask) }).map(drop)
}
