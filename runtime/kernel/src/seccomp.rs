//! seccomp(2).

use std::os::fd::{FromRawFd, OwnedFd};

use crate::check;

/// One classic BPF instruction, `struct sock_filter`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when true.
    pub jt: u8,
    /// Instructions to skip when false.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

#[repr(C)]
struct Program {
    len: u16,
    filter: *const Instruction,
}

/// SECCOMP_FILTER_FLAG_NEW_LISTENER.
pub const NEW_LISTENER: u64 = 1 << 3;

/// Loads a filter; with [`NEW_LISTENER`] in `flags` answers the notification descriptor.
///
/// EINVAL when the program is longer than the kernel's 4096 instructions.
pub fn set_filter(program: &[Instruction], flags: u64) -> nix::Result<Option<OwnedFd>> {
    let len = u16::try_from(program.len()).map_err(|_| nix::errno::Errno::EINVAL)?;
    let filter = Program { len, filter: program.as_ptr() };
    // SAFETY: pointer and length are of one live slice of the kernel's layout.
    let answer = check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const filter)
    })?;
    if flags & NEW_LISTENER == 0 {
        return Ok(None);
    }
    // SAFETY: with NEW_LISTENER the answer is a new descriptor.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(answer as i32) }))
}

/// Whether the kernel knows an action (SECCOMP_GET_ACTION_AVAIL).
pub fn action_available(action: u32) -> bool {
    // SAFETY: the pointer is to a live u32.
    unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) == 0
    }
}

/// Whether the kernel knows flags of [`set_filter`]'s.
///
/// KERNEL: kernel/seccomp.c judges the flags, EINVAL, before it looks for the program, EFAULT.
pub fn flags_available(flags: u64) -> bool {
    // SAFETY: a null program is refused, and nothing is loaded.
    let answer = check(unsafe {
        let none = std::ptr::null::<Program>();
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, none)
    });
    answer == Err(nix::errno::Errno::EFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_asked_for_without_loading_anything() {
        assert!(flags_available(0) && flags_available(NEW_LISTENER));
        assert!(!flags_available(1 << 30));
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        assert!(status.contains("Seccomp:\t0"), "{status}");
    }
}
