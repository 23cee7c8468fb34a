//! Entering groups from within.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::OwnedFd;

use nix::errno::Errno;

use super::files;
use crate::error::{Error, Result};

/// The ways into v1 groups, opened on the host, gone through by the process they are for.
///
/// KERNEL: kernel/cgroup/cgroup.c cgroup_procs_write_start(): moving a process stops every fork
/// and exit of the machine first, which waits 3 to 14 ms for an RCU grace period; a thread that
/// moves itself ("0" to `tasks`) waits for nothing. v2's way is `CLONE_INTO_CGROUP`.
#[derive(Debug, Default)]
pub struct Doors(Vec<(String, File)>);

impl Doors {
    /// Opens those of the groups with these directories.
    pub(super) fn open<'a>(dirs: impl Iterator<Item = &'a str>) -> Result<Self> {
        let door = |dir: &str| {
            let path = format!("{dir}/tasks");
            match OpenOptions::new().write(true).open(&path) {
                Ok(file) => Ok((path, file)),
                Err(e) => Err(Error::system("open", path, files::errno(&e))),
            }
        };
        dirs.map(door).collect::<Result<_>>().map(Self)
    }

    /// Moves the calling process, which must have one thread; with the file that refused. Gives
    /// the doors back: they are to be closed before anything of the container's is looked at.
    pub fn enter(self) -> std::result::Result<Vec<OwnedFd>, (Errno, String)> {
        let mut through = Vec::with_capacity(self.0.len());
        for (path, mut file) in self.0 {
            file.write_all(b"0").map_err(|e| (files::errno(&e), path))?;
            through.push(file.into());
        }
        Ok(through)
    }

    /// Their descriptors, in a process that doesn't go through.
    pub fn into_fds(self) -> impl Iterator<Item = OwnedFd> {
        self.0.into_iter().map(|(_, file)| file.into())
    }
}
