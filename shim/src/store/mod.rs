//! What dhow keeps on disk: container records, names, volumes.
//!
//! Everything is born in `tmp/` or under a temporary name, then renamed into
//! place; locks are `flock`s on files that are never removed.

mod containers;
mod file;
mod volumes;

pub use containers::{Container, Containers};
pub use file::{Lock, Sync, make_dir, write_atomic};
pub use volumes::{Volume, Volumes};
