//! Signal dispositions.

/// Signals that ask a process to end.
const ASKING: [libc::c_int; 3] = [libc::SIGHUP, libc::SIGINT, libc::SIGTERM];

/// Gives every signal its default action and unblocks all: what a program
/// expects of its maker. Rust ignores SIGPIPE, and engines leave others so.
///
/// `ignored` says which are ignored, a bit each from the lowest on: the program handles none. Where
/// that isn't known, all are set.
pub fn reset_all(ignored: Option<u64>) {
    reset(libc::SIG_DFL, ignored);
}

/// The same, but what asks to end does so also in the first process of a pid namespace; until it
/// executes.
///
/// KERNEL: pid_namespaces(7): only signals with a handler reach that one.
pub fn reset_all_and_end(ignored: Option<u64>) {
    extern "C" fn end(number: libc::c_int) {
        // SAFETY: _exit is async-signal-safe, and never returns.
        unsafe { libc::_exit(128 + number) }
    }
    reset(end as extern "C" fn(libc::c_int) as libc::sighandler_t, ignored);
}

/// A write to what nobody reads is an error, and not this process's end.
pub fn ignore_broken_pipes() {
    // SAFETY: ignoring a signal runs no code.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Has this process told of its children's ends, whatever its maker did.
///
/// KERNEL: signal(7): execve(2) leaves SIGCHLD ignored where it was; wait(2): the ends of children are
/// nobody's to learn then.
pub fn hear_of_children() {
    // SAFETY: the default runs no code.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Takes the next of these signals, which must be blocked, waiting for it; its number.
pub fn next(of: &nix::sys::signal::SigSet) -> nix::Result<libc::c_int> {
    // SAFETY: the set lives through the call; who sent it isn't asked for.
    crate::check(unsafe { libc::sigwaitinfo(of.as_ref(), std::ptr::null_mut()) }.into())
        .map(|number| number as libc::c_int)
}

fn reset(asking: libc::sighandler_t, ignored: Option<u64>) {
    let concerned = |number: libc::c_int| ignored.is_none_or(|set| set >> (number - 1) & 1 != 0);
    for number in 1..=libc::SIGRTMAX() {
        let asks = asking != libc::SIG_DFL && ASKING.contains(&number);
        if !asks && !concerned(number) {
            continue;
        }
        let action = if ASKING.contains(&number) { asking } else { libc::SIG_DFL };
        // SAFETY: the action is the default or a function that calls _exit alone; the two
        // signals that can't be set answer EINVAL.
        unsafe { libc::signal(number, action) };
    }
    // KERNEL: signal(7): the C library keeps 32 and 33 to itself, refuses to set them, and has its
    // posix_spawn(3) ignore them in the child, whose own child would never get them back.
    for number in (32..34).filter(|number| concerned(*number)) {
        // SAFETY: the kernel's struct sigaction, all zero, is the default action; 8 is the size of
        // its mask.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                number,
                [0_u64; 4].as_ptr(),
                std::ptr::null::<u64>(),
                8,
            );
        }
    }
    let empty = nix::sys::signal::SigSet::empty();
    let _ = empty.thread_set_mask();
}
