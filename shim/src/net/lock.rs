//! One lock for each network namespace: all worlds in it change its devices, rules and leases one
//! at a time.

use std::fs::File;
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};

use crate::error::{Error, Result};

const OWN: &str = "/proc/self/ns/net";

/// The right to change what containers share in this network namespace; held until dropped.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code)] Flock<File>);

impl Lock {
    /// Waits for it.
    ///
    /// KERNEL: a namespace's inode is the same for all who look at it, and flock(2) counts by
    /// inode; the lock goes with its holder.
    pub fn take() -> Result<Self> {
        let path = Path::new(OWN);
        let mut file = File::open(path).map_err(|e| Error::io("open", path, e))?;
        loop {
            file = match Flock::lock(file, FlockArg::LockExclusive) {
                Ok(lock) => return Ok(Self(lock)),
                Err((file, nix::errno::Errno::EINTR)) => file,
                Err((_, e)) => return Err(Error::io("lock", path, e.desc())),
            };
        }
    }
}
