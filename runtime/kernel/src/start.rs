//! A program's first instructions and its `main`, without what costs and isn't needed.
//!
//! A start of the C library asks the processor about itself, which on a virtual machine takes a
//! third of a millisecond, and of Rust's library some twenty calls. A program that executes itself
//! again at once pays both for nothing: [`is_read_only`] says what `dhow_start`, before either,
//! has done about it. The build script of the program makes that its entry point.

use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set before `main`, read after.
static READ_ONLY: AtomicBool = AtomicBool::new(false);

/// Whether this program has been found to run from a mount that is read-only for ever.
///
/// Where the entry point is the usual one, or the copy couldn't be made, that is false, and the
/// caller looks for itself.
pub fn is_read_only() -> bool {
    READ_ONLY.load(Ordering::Relaxed)
}

#[cfg(target_arch = "x86_64")]
mod early {
    use std::arch::{asm, global_asm};
    use std::ptr;
    use std::sync::atomic::Ordering;

    // KERNEL: execve(2), the System V ABI: the stack begins with argc, argv and the environment,
    // and is aligned; rdx is the C library's to see.
    global_asm!(
        ".globl dhow_start",
        "dhow_start:",
        "xor ebp, ebp",
        "mov r12, rdx",
        "mov rdi, rsp",
        "call {seal}",
        "mov rdx, r12",
        "jmp _start",
        seal = sym seal,
    );

    /// `struct mount_attr` with MOUNT_ATTR_RDONLY set.
    static READ_ONLY_ATTRIBUTES: [u64; 4] = [1, 0, 0, 0];
    static SELF: [u8; 15] = *b"/proc/self/exe\0";
    static EMPTY: [u8; 1] = [0];

    /// ST_RDONLY of statfs(2)'s `f_flags`, and which of its words that is.
    const READ_ONLY_FLAG: u64 = 1;
    const FLAGS: usize = 10;

    /// Executes the program again from a copy of its mount that is read-only, if it is one of the
    /// verbs that enter containers and doesn't run from such a mount yet. Whatever fails is left
    /// to `main`, which says why.
    ///
    /// Nothing of the C library may be called: it isn't there yet, thread-local storage and the
    /// choice of a memcpy included. Volatile reads keep the compiler from making calls of loops.
    extern "C" fn seal(stack: *const u64) {
        // SAFETY: the kernel gives argc, and as many pointers to strings that end in NUL.
        let argc = unsafe { ptr::read_volatile(stack) };
        let argv = stack.wrapping_add(1);
        let mut enters = false;
        let mut at = 1;
        while at < argc {
            // SAFETY: `at` is below argc.
            let word = unsafe { ptr::read_volatile(argv.wrapping_add(at as usize)) } as *const u8;
            enters |= is(word, b"run") || is(word, b"exec") || is(word, b"create");
            at += 1;
        }
        if !enters {
            return;
        }
        // Not zeroed: that may be a call.
        let mut told = std::mem::MaybeUninit::<[u64; 16]>::uninit();
        if call(libc::SYS_statfs, [SELF.as_ptr() as u64, told.as_mut_ptr() as u64, 0, 0, 0]) != 0 {
            return;
        }
        // SAFETY: the kernel has written it.
        let flags = unsafe { ptr::read_volatile(told.as_ptr().cast::<u64>().wrapping_add(FLAGS)) };
        if flags & READ_ONLY_FLAG != 0 && is_nobodys(told.as_mut_ptr().cast()) {
            super::READ_ONLY.store(true, Ordering::Relaxed);
            return;
        }
        let here = libc::AT_FDCWD as u64;
        let copy = u64::from(libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC);
        let tree = call(libc::SYS_open_tree, [here, SELF.as_ptr() as u64, copy, 0, 0]);
        if tree < 0 {
            return;
        }
        // The lowest free number: there is a standard descriptor missing, which is for `main` to mend.
        let whole = tree > 2;
        let (tree, empty) = (tree as u64, EMPTY.as_ptr() as u64);
        let itself = libc::AT_EMPTY_PATH as u64;
        let attributes = READ_ONLY_ATTRIBUTES.as_ptr() as u64;
        if whole && call(libc::SYS_mount_setattr, [tree, empty, itself, attributes, 32]) == 0 {
            let envp = argv.wrapping_add(argc as usize + 1) as u64;
            call(libc::SYS_execveat, [tree, empty, argv as u64, envp, itself]);
        }
        call(libc::SYS_close, [tree, 0, 0, 0, 0]);
    }

    /// Whether the mount that this runs from is in no namespace, as the copy's: then nobody can make
    /// it writable again, and the file's path there has no name in it. `buffer` is for two bytes.
    ///
    /// A container keeps the file of a mount of the host's until that one is.
    fn is_nobodys(buffer: *mut u8) -> bool {
        call(libc::SYS_readlink, [SELF.as_ptr() as u64, buffer as u64, 2, 0, 0]) == 1
    }

    fn is(word: *const u8, wanted: &[u8]) -> bool {
        let mut at = 0;
        while at < wanted.len() {
            // SAFETY: what was read so far is no NUL, so the string goes on.
            let byte = unsafe { ptr::read_volatile(word.wrapping_add(at)) };
            if byte != wanted[at] {
                return false;
            }
            at += 1;
        }
        // SAFETY: as above.
        unsafe { ptr::read_volatile(word.wrapping_add(at)) == 0 }
    }

    fn call(number: libc::c_long, args: [u64; 5]) -> i64 {
        let answer: i64;
        // SAFETY: the callers' pointers are to live memory of the size that the call takes.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") number => answer,
                in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
                in("r10") args[3], in("r8") args[4],
                lateout("rcx") _, lateout("r11") _,
            );
        }
        answer
    }
}

/// Runs `main` as Rust's own start does, in what of it is needed: standard descriptors that are
/// closed are /dev/null's, so that no file of ours gets their numbers. SIGPIPE is `main`'s to
/// [`ignore`](crate::signal::ignore_broken_pipes) or block.
///
/// For [`program`].
pub fn run(main: impl FnOnce() -> u8) -> c_int {
    // Who has executed us from such a mount has seen to it before: ours is, and nobody else does.
    let missing = (!is_read_only()).then(closed);
    for fd in missing.into_iter().flatten() {
        // SAFETY: the path is static; the lowest free number is the closed one.
        if unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) } != fd {
            std::process::abort();
        }
    }
    c_int::from(main())
}

/// Of the three standard descriptors those that aren't open.
fn closed() -> impl Iterator<Item = c_int> {
    let of = |fd| libc::pollfd { fd, events: 0, revents: 0 };
    let mut all = [of(0), of(1), of(2)];
    // SAFETY: the array lives through the call.
    let answer = unsafe { libc::poll(all.as_mut_ptr(), 3, 0) };
    all.into_iter().filter(move |fd| answer > 0 && fd.revents & libc::POLLNVAL != 0).map(|p| p.fd)
}

/// Makes a function that gives an exit code the program's `main`.
///
/// What it has written to `std::io::stdout` it must have flushed.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        #[cfg(not(test))]
        #[unsafe(no_mangle)]
        extern "C" fn main() -> ::std::ffi::c_int {
            $crate::start::run($main)
        }

        // A test's harness has a start of its own.
        #[cfg(test)]
        fn main() {
            let _: u8 = $main();
        }
    };
}
