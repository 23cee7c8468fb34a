//! The agent's side of a seccomp listener: what a filter asks, and the answer (seccomp_unotify(2)).

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::check;

/// `struct seccomp_notif`: a call that waits for an answer.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Question {
    /// What the answer has to carry.
    pub id: u64,
    /// Who calls, as seen here.
    pub pid: u32,
    /// None are defined.
    pub flags: u32,
    /// The call's number.
    pub nr: i32,
    /// AUDIT_ARCH_* it was made by.
    pub arch: u32,
    /// Where it was made.
    pub instruction_pointer: u64,
    /// Its arguments.
    pub args: [u64; 6],
}

#[repr(C)]
struct Response {
    id: u64,
    val: i64,
    error: i32,
    flags: u32,
}

/// What becomes of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It fails with this errno.
    Fail(i32),
    /// It isn't made, and returns this.
    Return(i64),
    /// It is made.
    Continue,
}

// KERNEL: linux/seccomp.h: _IOWR('!', 0, struct seccomp_notif), _IOWR('!', 1, … _resp).
const RECEIVE: libc::c_ulong = 0xc050_2100;
const SEND: libc::c_ulong = 0xc018_2101;
const FLAG_CONTINUE: u32 = 1;

/// Waits for a call; ENOENT when its maker is gone again.
pub fn receive(listener: BorrowedFd<'_>) -> nix::Result<Question> {
    let mut question = Question::default();
    // SAFETY: the pointer is to a live value of the kernel's layout, zeroed as it wants it.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE as _, &raw mut question) }.into())?;
    Ok(question)
}

/// Answers one; ENOENT when its maker is gone.
pub fn answer(listener: BorrowedFd<'_>, id: u64, answer: Answer) -> nix::Result<()> {
    let (val, error, flags) = match answer {
        Answer::Fail(errno) => (0, -errno, 0),
        Answer::Return(value) => (value, 0, 0),
        Answer::Continue => (0, 0, FLAG_CONTINUE),
    };
    let response = Response { id, val, error, flags };
    // SAFETY: the pointer is to a live value of the kernel's layout.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), SEND as _, &raw const response) }.into())
        .map(drop)
}
