//! Mount points that a runtime made in a container's root: gone when it has ended, unless
//! something is in them by then.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat, futimens};
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::layer::RootDir;
use crate::layer::at::{kind, open_dir, stat_at};
use crate::layer::name::join;

/// What was not there before.
#[derive(Debug, Default)]
pub(super) struct Stubs(Vec<Stub>);

#[derive(Debug)]
struct Stub {
    /// The deepest directory that was there.
    above: OwnedFd,
    /// What lacked below it, the highest first.
    names: Vec<Vec<u8>>,
}

impl Stubs {
    /// Which of these places (clean paths) aren't there yet. What can't be looked at is left alone.
    pub fn before(root: &RootDir, places: &[Vec<u8>]) -> Self {
        Self(places.iter().filter_map(|place| lacking(root, place).ok().flatten()).collect())
    }

    /// Takes away those that were made and have nothing in them, and their directories likewise.
    pub fn clear(self) {
        // Deeper ones first: what holds another's mount point is empty only then.
        for stub in self.0.iter().rev() {
            let _ = stub.clear();
        }
        for stub in &self.0 {
            let _ = stub.clear();
        }
    }
}

fn lacking(root: &RootDir, place: &[u8]) -> nix::Result<Option<Stub>> {
    let parts: Vec<&[u8]> = place.split(|&b| b == b'/').collect();
    let (mut path, mut above) = (Vec::new(), root.open_inside(b"", OFlag::O_PATH)?);
    for (at, part) in parts.iter().enumerate() {
        path = join(&path, part);
        match root.open_inside(&path, OFlag::O_PATH) {
            Ok(next) => above = next,
            Err(Errno::ENOENT) => {
                let stat = fstat(&above)?;
                if kind(&stat) != SFlag::S_IFDIR || stat_at(&above, part).is_ok() {
                    return Ok(None); // behind a link that leads nowhere
                }
                let names = parts[at..].iter().map(|part| part.to_vec()).collect();
                return Ok(Some(Stub { above, names }));
            }
            Err(e) => return Err(e),
        }
    }
    Ok(None)
}

impl Stub {
    fn clear(&self) -> nix::Result<()> {
        for many in (1..=self.names.len()).rev() {
            let (last, way) = self.names[..many].split_last().ok_or(Errno::ENOENT)?;
            let way = way.iter().fold(Vec::new(), |path, part| join(&path, part));
            let dir = match open_dir(self.above.as_fd(), &way) {
                Err(Errno::ENOENT) => continue,
                dir => dir?,
            };
            match remove_empty(&dir, last) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// The directory looks as if nothing had been removed just now.
fn remove_empty(dir: &OwnedFd, base: &[u8]) -> nix::Result<()> {
    let flag = match stat_at(dir, base)? {
        stat if kind(&stat) == SFlag::S_IFDIR => UnlinkatFlags::RemoveDir,
        stat if kind(&stat) == SFlag::S_IFREG && stat.st_size == 0 => UnlinkatFlags::NoRemoveDir,
        _ => return Err(Errno::ENOTEMPTY),
    };
    let before = fstat(dir)?;
    unlinkat(dir, base, flag)?;
    let accessed = TimeSpec::new(before.st_atime, before.st_atime_nsec);
    let modified = TimeSpec::new(before.st_mtime, before.st_mtime_nsec);
    futimens(dir, &accessed, &modified)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_was_made_goes_and_what_is_used_stays() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for there in ["etc", "run"] {
            fs::create_dir(at(there)).unwrap();
        }
        fs::write(at("etc/hosts"), "").unwrap();
        symlink("/run", at("var")).unwrap();
        let places = ["etc/hosts", "etc/resolv.conf", "mnt/a/b", "mnt/c", "var/lock/x", "used/d"];
        let root = RootDir::open(dir.path()).unwrap();
        let stubs = Stubs::before(&root, &places.map(|p| p.as_bytes().to_vec()));
        for made in ["mnt/a/b", "mnt/c", "run/lock/x", "used/d"] {
            fs::create_dir_all(at(made)).unwrap();
        }
        fs::write(at("etc/resolv.conf"), "").unwrap();
        fs::write(at("used/d/file"), "").unwrap();
        stubs.clear();
        assert!(at("etc/hosts").exists() && !at("etc/resolv.conf").exists());
        assert!(!at("mnt").exists() && !at("run/lock").exists() && at("run").exists());
        assert!(at("used/d/file").exists());
    }
}
