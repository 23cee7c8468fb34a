//! What the embedded init needs beyond `bare.rs`: its arguments, processes and signals.
//!
//! No part of the crate either: `shim/init/main.rs` includes it.
#![allow(unsafe_code)]

use core::ffi::{CStr, c_char};
use core::sync::atomic::Ordering;

use crate::bare::{STACK, call};

#[cfg(target_arch = "x86_64")]
mod number {
    pub const SIGPROCMASK: usize = 14;
    pub const IOCTL: usize = 16;
    pub const CLONE: usize = 56;
    pub const EXECVE: usize = 59;
    pub const WAIT4: usize = 61;
    pub const KILL: usize = 62;
    pub const SETPGID: usize = 109;
    pub const SIGTIMEDWAIT: usize = 128;
}
#[cfg(target_arch = "aarch64")]
mod number {
    pub const IOCTL: usize = 29;
    pub const KILL: usize = 129;
    pub const SIGPROCMASK: usize = 135;
    pub const SIGTIMEDWAIT: usize = 137;
    pub const SETPGID: usize = 154;
    pub const CLONE: usize = 220;
    pub const EXECVE: usize = 221;
    pub const WAIT4: usize = 260;
}

/// The address of argument `n`'s pointer; argc and the pointers lie on the stack for ever.
fn slot(n: usize) -> *const *const c_char {
    let stack = STACK.load(Ordering::Relaxed) as *const *const c_char;
    // SAFETY: the kernel put argc there and at least so many pointers after it; callers
    // stay within argc, or stop at the zero that ends each list.
    unsafe { stack.add(1 + n) }
}

/// How many arguments there are, the program's name among them.
pub fn count() -> usize {
    // SAFETY: the first word on the stack is argc.
    unsafe { *(STACK.load(Ordering::Relaxed) as *const usize) }
}

/// Argument `n`.
pub fn argument(n: usize) -> Option<&'static CStr> {
    if n >= count() {
        return None;
    }
    // SAFETY: n is below argc, and the kernel's strings end with a zero and stay.
    Some(unsafe { CStr::from_ptr(*slot(n)) })
}

/// The value of a variable of the environment; `name` with its `=`.
pub fn variable(name: &[u8]) -> Option<&'static [u8]> {
    for n in count() + 1.. {
        // SAFETY: the list begins after argv's zero and is read up to its own.
        let entry = unsafe { *slot(n) };
        if entry.is_null() {
            return None;
        }
        // SAFETY: not zero, so one of the kernel's strings.
        let entry = unsafe { CStr::from_ptr(entry) }.to_bytes();
        if let Some(value) = entry.strip_prefix(name) {
            return Some(value);
        }
    }
    None
}

/// Becomes `path` with the arguments from `skip` on; what it says is why not.
pub fn execute(path: &CStr, skip: usize) -> i32 {
    let args = [path.as_ptr() as usize, slot(skip) as usize, slot(count() + 1) as usize, 0];
    // SAFETY: a live string, and two lists that end with a zero.
    let error = unsafe { call(number::EXECVE, args) };
    -error as i32
}

/// Makes a process like this one: 0 there, its pid here, negative when it can't be.
pub fn fork() -> i32 {
    const SIGCHLD: usize = 17;
    // SAFETY: no shared memory and no stack of its own: the child goes on with a copy of all.
    unsafe { call(number::CLONE, [SIGCHLD, 0, 0, 0]) as i32 }
}

/// A child that has ended and its status; nothing when there is none.
pub fn ended_child() -> Option<(i32, i32)> {
    const WNOHANG: usize = 1;
    let mut status = 0_i32;
    let args = [-1_isize as usize, &raw mut status as usize, WNOHANG, 0];
    // SAFETY: the status is live and ours.
    let pid = unsafe { call(number::WAIT4, args) };
    (pid > 0).then_some((pid as i32, status))
}

/// Holds back the signals in `set` (bit n-1 is signal n); what was held back before.
pub fn hold_back(set: u64) -> u64 {
    const SIG_SETMASK: usize = 2;
    let mut before = 0_u64;
    let args = [SIG_SETMASK, &raw const set as usize, &raw mut before as usize, 8];
    // SAFETY: both sets are live and 8 bytes long.
    unsafe { call(number::SIGPROCMASK, args) };
    before
}

/// Waits for one of the signals that are held back.
pub fn next_signal(set: u64) -> i32 {
    loop {
        let args = [&raw const set as usize, 0, 0, 8];
        // SAFETY: the set is live and 8 bytes long; no siginfo and no time are asked for.
        let signal = unsafe { call(number::SIGTIMEDWAIT, args) };
        if signal > 0 {
            return signal as i32;
        }
    }
}

/// Sends a signal.
pub fn send(pid: i32, signal: i32) {
    // SAFETY: no pointers.
    unsafe { call(number::KILL, [pid as usize, signal as usize, 0, 0]) };
}

/// Leads a process group of its own, in the foreground of the terminal if stdin is one.
pub fn lead_group(own: i32) {
    const TIOCSPGRP: usize = 0x5410;
    // SAFETY: no pointers; 0 means oneself.
    unsafe { call(number::SETPGID, [0, 0, 0, 0]) };
    // SAFETY: the number is live, and only read.
    unsafe { call(number::IOCTL, [0, TIOCSPGRP, &raw const own as usize, 0]) };
}

/// Our own pid, as this process's namespace counts.
pub fn own_pid() -> i32 {
    #[cfg(target_arch = "x86_64")]
    const GETPID: usize = 39;
    #[cfg(target_arch = "aarch64")]
    const GETPID: usize = 172;
    // SAFETY: no arguments.
    unsafe { call(GETPID, [0; 4]) as i32 }
}

/// # Safety
/// C's rules for strlen.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strlen(text: *const c_char) -> usize {
    let mut n = 0;
    // SAFETY: the caller gives a string that ends with a zero; nothing after that is read.
    while unsafe { text.add(n).read_volatile() } != 0 {
        n += 1;
    }
    n
}
