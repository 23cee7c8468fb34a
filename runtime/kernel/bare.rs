//! A program without a C library: its start, its end, and five system calls.
//!
//! This file is no part of the crate: `shim/hello/main.rs` and `shim/init/main.rs`
//! include it, and `shim/build.rs` compiles each into a program that dhow carries
//! along. It lies here because unsafe code lies only under `runtime/kernel`.
#![allow(unsafe_code, dead_code)]

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicUsize, Ordering};

// The kernel enters with argc at the stack pointer and no return address; the
// psABIs want 16-byte alignment at a call.
#[cfg(target_arch = "x86_64")]
global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {entry}",
    "ud2",
    entry = sym entry
);
#[cfg(target_arch = "aarch64")]
global_asm!(
    ".globl _start",
    "_start:",
    "mov x29, #0",
    "mov x30, #0",
    "mov x0, sp",
    "bl {entry}",
    "brk #1",
    entry = sym entry
);

extern "C" fn entry(stack: usize) -> ! {
    STACK.store(stack, Ordering::Relaxed);
    exit(crate::run())
}

/// Where the kernel put argc, then argv and a zero, then the environment and a zero.
pub static STACK: AtomicUsize = AtomicUsize::new(0);

#[cfg(target_arch = "x86_64")]
mod number {
    pub const READ: usize = 0;
    pub const WRITE: usize = 1;
    pub const CLOSE: usize = 3;
    pub const EXIT_GROUP: usize = 231;
    pub const OPENAT: usize = 257;
    pub const READLINKAT: usize = 267;
}
#[cfg(target_arch = "aarch64")]
mod number {
    pub const OPENAT: usize = 56;
    pub const CLOSE: usize = 57;
    pub const READ: usize = 63;
    pub const WRITE: usize = 64;
    pub const READLINKAT: usize = 78;
    pub const EXIT_GROUP: usize = 94;
}

/// A system call with up to four arguments.
///
/// # Safety
/// Pointers among the arguments must be valid for what the call does with them.
#[cfg(target_arch = "x86_64")]
pub unsafe fn call(number: usize, args: [usize; 4]) -> isize {
    let result: isize;
    // SAFETY: the syscall instruction changes rax, rcx and r11 alone; the caller vouches for pointers.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") args[0], in("rsi") args[1],
            in("rdx") args[2], in("r10") args[3], lateout("rcx") _, lateout("r11") _,
            options(nostack));
    }
    result
}

/// A system call with up to four arguments.
///
/// # Safety
/// Pointers among the arguments must be valid for what the call does with them.
#[cfg(target_arch = "aarch64")]
pub unsafe fn call(number: usize, args: [usize; 4]) -> isize {
    let result: isize;
    // SAFETY: svc changes x0 alone; the caller vouches for pointers.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") args[0] => result, in("x1") args[1],
            in("x2") args[2], in("x3") args[3], options(nostack));
    }
    result
}

const AT_FDCWD: usize = -100_isize as usize;

/// Ends the program.
pub fn exit(code: i32) -> ! {
    loop {
        // SAFETY: exit_group takes no pointer and does not return.
        unsafe { call(number::EXIT_GROUP, [code as usize, 0, 0, 0]) };
    }
}

/// Writes all of `bytes`; false when the reader is gone.
pub fn write(fd: i32, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let args = [fd as usize, bytes.as_ptr() as usize, bytes.len(), 0];
        // SAFETY: pointer and length are of a live slice, which the call only reads.
        match unsafe { call(number::WRITE, args) } {
            n if n > 0 => bytes = bytes.get(n as usize..).unwrap_or_default(),
            -4 => {} // EINTR
            _ => return false,
        }
    }
    true
}

/// Reads a file from its beginning, as much as fits.
pub fn read<'a>(path: &core::ffi::CStr, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    // SAFETY: the path is a live, zero-ended string; O_RDONLY|O_CLOEXEC is 0o2000000.
    let fd = unsafe { call(number::OPENAT, [AT_FDCWD, path.as_ptr() as usize, 0o2_000_000, 0]) };
    if fd < 0 {
        return None;
    }
    let mut filled = 0;
    while filled < buffer.len() {
        let rest = &mut buffer[filled..];
        // SAFETY: pointer and length are of a live slice that nobody else holds.
        let n = unsafe {
            call(number::READ, [fd as usize, rest.as_mut_ptr() as usize, rest.len(), 0])
        };
        match n {
            n if n > 0 => filled += n as usize,
            -4 => {} // EINTR
            _ => break,
        }
    }
    // SAFETY: the descriptor is ours and not used again.
    unsafe { call(number::CLOSE, [fd as usize, 0, 0, 0]) };
    buffer.get(..filled)
}

/// What a symbolic link says.
pub fn link<'a>(path: &core::ffi::CStr, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let args = [AT_FDCWD, path.as_ptr() as usize, buffer.as_mut_ptr() as usize, buffer.len()];
    // SAFETY: a live zero-ended string, and a live slice that nobody else holds with its length.
    let n = unsafe { call(number::READLINKAT, args) };
    if n < 0 { None } else { buffer.get(..n as usize) }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    write(2, b"dhow: internal error of an embedded program\n");
    exit(134)
}

// The compiler calls these; without a C library they are ours to give. Volatile
// accesses keep it from turning each loop back into a call of itself.

/// # Safety
/// C's rules for memcpy.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    for i in 0..n {
        // SAFETY: the caller gives two regions of n bytes.
        unsafe { to.add(i).write_volatile(from.add(i).read_volatile()) };
    }
    to
}

/// # Safety
/// C's rules for memmove.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    if (to as usize) <= from as usize {
        // SAFETY: the same regions; upwards is right when the target lies below.
        return unsafe { memcpy(to, from, n) };
    }
    for i in (0..n).rev() {
        // SAFETY: the caller gives two regions of n bytes; downwards is right when the target lies above.
        unsafe { to.add(i).write_volatile(from.add(i).read_volatile()) };
    }
    to
}

/// # Safety
/// C's rules for memset.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memset(to: *mut u8, byte: i32, n: usize) -> *mut u8 {
    for i in 0..n {
        // SAFETY: the caller gives a region of n bytes.
        unsafe { to.add(i).write_volatile(byte as u8) };
    }
    to
}

/// # Safety
/// C's rules for memcmp.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    for i in 0..n {
        // SAFETY: the caller gives two regions of n bytes.
        let (x, y) = unsafe { (a.add(i).read_volatile(), b.add(i).read_volatile()) };
        if x != y {
            return i32::from(x) - i32::from(y);
        }
    }
    0
}

/// # Safety
/// C's rules for bcmp.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    // SAFETY: the caller's promise is the same.
    unsafe { memcmp(a, b, n) }
}
