//! One lock for each network namespace: all worlds in it change its devices, rules and leases one
//! at a time.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};

use crate::error::{Error, Result};

/// KERNEL: whoever can open a file can flock(2) it, and anybody can open a namespace's own: a user
/// without rights would stop all networks. Of all settings that each network namespace has this one
/// is its root's alone to open.
const OWN: &str = "/proc/sys/net/ipv4/tcp_fastopen_key";

/// For users without rights, who make no devices: they only keep records.
const ANYBODYS: &str = "/proc/self/ns/net";

/// The right to change what containers share in this network namespace; held until dropped.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code)] Flock<File>);

impl Lock {
    /// Waits for it.
    ///
    /// KERNEL: such a file's inode is the same for all of the namespace who look at the same
    /// `/proc`, and flock(2) counts by inode; the lock goes with its holder.
    pub fn take() -> Result<Self> {
        let mut path = Path::new(OWN);
        let mut opened = File::open(path);
        if opened.as_ref().is_err_and(|e| e.kind() == ErrorKind::PermissionDenied) {
            path = Path::new(ANYBODYS);
            opened = File::open(path);
        }
        let mut file = opened.map_err(|e| Error::io("open", path, e))?;
        loop {
            file = match Flock::lock(file, FlockArg::LockExclusive) {
                Ok(lock) => return Ok(Self(lock)),
                Err((file, nix::errno::Errno::EINTR)) => file,
                Err((_, e)) => return Err(Error::io("lock", path, e.desc())),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use nix::sched::{CloneFlags, unshare};

    use super::*;

    fn try_lock() -> bool {
        Flock::lock(File::open(OWN).unwrap(), FlockArg::LockExclusiveNonblock).is_ok()
    }

    #[test]
    fn it_is_one_for_each_namespace() {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let lock = Lock::take().unwrap();
        assert!(!thread::spawn(try_lock).join().unwrap());
        let elsewhere = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            try_lock()
        };
        assert!(thread::spawn(elsewhere).join().unwrap());
        drop(lock);
        assert!(try_lock());
    }

    #[test]
    fn nobody_without_rights_can_hold_it() {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(OWN).unwrap().permissions().mode() & 0o777, 0o600);
        let _held = Flock::lock(File::open(ANYBODYS).unwrap(), FlockArg::LockExclusive).unwrap();
        let (done, wait) = mpsc::channel();
        thread::spawn(move || done.send(Lock::take().is_ok()));
        assert_eq!(wait.recv_timeout(Duration::from_secs(10)), Ok(true));
    }
}
