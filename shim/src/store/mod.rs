//! What dhow keeps on disk: container records, names, volumes, networks.
//!
//! Everything is born in `tmp/` or under a temporary name, then renamed into
//! place; locks are `flock`s on files that are never removed.

mod containers;
mod discard;
mod file;
mod networks;
mod tail;
mod volumes;

pub use containers::{Container, Containers, bare_name, check_name as check_container_name};
pub use discard::{discard, discard_volumes, holders, in_use, size_of, volumes_in_use};
pub use file::{Lock, Sync, make_dir, write_atomic};
pub use networks::{
    Networks, allows_rules, check_name as check_network_name, pick as pick_network,
};
pub use tail::{Tail, compressed, rotated};
pub use volumes::{ANONYMOUS, Volume, VolumeSpec, Volumes, check_name as check_volume_name};

/// docker's rule for names of containers and volumes: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`; here 255 at most.
fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
    let rest = bytes.all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    first && rest && (2..=255).contains(&name.len())
}
