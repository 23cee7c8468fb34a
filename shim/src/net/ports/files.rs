//! Descriptors: a proxy may need thousands, what runs in containers gets as many as before.

use std::sync::OnceLock;

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
