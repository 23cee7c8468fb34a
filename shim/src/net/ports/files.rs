//! Descriptors: a proxy may need thousands, what runs in containers gets as many as before. When no
//! more are to be had, whoever let clients in looks away for a while: they wait where the kernel keeps them.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

static ORIGINAL: OnceLock<(u64, u64)> = OnceLock::new();

/// What this process may open, as it was handed to it: soft, hard.
pub fn original_limit() -> (u64, u64) {
    *ORIGINAL.get_or_init(|| getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 4096)))
}

/// Opens no more than before, but up to the hard limit; false when there was no more to have.
pub fn raise() -> bool {
    let (soft, hard) = original_limit();
    let now = getrlimit(Resource::RLIMIT_NOFILE).map_or(soft, |limit| limit.0);
    now < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok()
}

/// When there were no descriptors for a client: until the next try.
pub const PAUSE: Duration = Duration::from_millis(500);

/// What a failed accept(2) means for who accepts: try again, come back when the listener is
/// readable, or not before this time, as it is readable all along.
pub fn after_accept(error: Errno) -> Next {
    match error {
        Errno::EAGAIN => Next::Wait,
        Errno::EINTR | Errno::ECONNABORTED => Next::Again,
        Errno::EMFILE if raise() => Next::Again,
        _ => Next::Pause(Instant::now() + PAUSE),
    }
}

/// What to do after accept(2) has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// At once.
    Again,
    /// When there is a client.
    Wait,
    /// At this time.
    Pause(Instant),
}
