//! Signal dispositions.

/// Gives every signal its default action and unblocks all: what a program
/// expects of its maker. Rust ignores SIGPIPE, and engines leave others so.
pub fn reset_all() {
    for number in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL runs no code of ours; the two that can't be set answer EINVAL.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    let empty = nix::sys::signal::SigSet::empty();
    let _ = empty.thread_set_mask();
}
