//! docker's answers, recorded, and dhow's beside them.
//!
//! `tests/docker/*.cases` are shell scripts that call `docker`. [`record`] plays them on a dockerd
//! and keeps what came in `tests/docker/recorded`; [`compare`] plays them again with dhow under the
//! name of docker. What a run alone decides (ids, times, paths) is taken out of both first.

mod cases;
mod compare;
mod normal;
mod play;
mod shape;

pub use cases::{Case, Group, groups};
pub use compare::{Outcome, compare};
pub use play::{Answer, record, recorded};
