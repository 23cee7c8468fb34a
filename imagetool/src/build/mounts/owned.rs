//! A context's files are root's, as they are in BuildKit's copy of it: shown by a mount that exchanges
//! their owner's ids and root's. Of several owners, the one of the mount's source is meant.

use std::fmt::Write;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use dhow_kernel::mount::{Attributes, IDMAP, Tree, open_tree, set_attributes};
use dhow_kernel::process::{idle, pidfd_signal, reap};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, SFlag, fstat};

use super::Attached;
use crate::build::run::attach;
use crate::error::Result;
use crate::layer::at::{io_at, kind};
use crate::store::make_dir;

/// As many ids as there are. SPEC: user_namespaces(7): 2^32 - 1 is none.
const ALL: u32 = u32::MAX;

/// The same file or directory, shown by a mount at `place`/shown. Where the file system can't, or
/// nothing has to be done, it stays as it is.
pub(super) fn by_root(source: OwnedFd, place: &Path) -> Result<(OwnedFd, Option<Attached>)> {
    let path = place.join("shown");
    let fail = |e: Errno| io_at("mount at", &path, e);
    let stat = fstat(&source).map_err(fail)?;
    if (stat.st_uid, stat.st_gid) == (0, 0) {
        return Ok((source, None));
    }
    let tree = open_tree(source.as_fd(), c"", Tree::CloneRecursive).map_err(fail)?;
    // KERNEL: mount_setattr(2): EINVAL of file systems that don't know of it, or of a mount that is
    // mapped already; EPERM where we are root of a user namespace alone.
    let Ok(users) = exchanged(stat.st_uid, stat.st_gid) else { return Ok((source, None)) };
    let userns_fd = users.as_raw_fd().cast_unsigned().into();
    let attributes = Attributes { set: IDMAP, userns_fd, ..Attributes::default() };
    if set_attributes(tree.as_fd(), &attributes, true).is_err() {
        return Ok((source, None));
    }
    make_dir(place)?;
    attach(&tree, kind(&stat) == SFlag::S_IFDIR, &path)?;
    Ok((tree, Some(Attached(path))))
}

/// A user namespace in which these ids and root's are exchanged.
fn exchanged(uid: u32, gid: u32) -> nix::Result<OwnedFd> {
    let (pid, handle) = idle(libc::CLONE_NEWUSER as u64)?;
    let write = |file: &str, id| {
        let text = fs::write(format!("/proc/{pid}/{file}"), lines(id));
        text.map_err(|e| e.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
    };
    let space = || {
        write("uid_map", uid)?;
        write("gid_map", gid)?;
        let path = format!("/proc/{pid}/ns/user");
        open(path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
    };
    let made = space();
    let _ = pidfd_signal(handle.as_fd(), libc::SIGKILL);
    while let Ok(None) = reap(handle.as_fd()) {
        let mut fds = [PollFd::new(handle.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut fds, PollTimeout::NONE);
    }
    made
}

/// A map of all ids, in which one and 0 are exchanged.
fn lines(id: u32) -> String {
    let parts = match id {
        0 => vec![(0, 0, ALL)],
        id => vec![(0, id, 1), (1, 1, id - 1), (id, 0, 1), (id + 1, id + 1, ALL - id - 1)],
    };
    parts.into_iter().filter(|(_, _, count)| *count > 0).fold(
        String::new(),
        |mut text, (inside, outside, count)| {
            let _ = writeln!(text, "{inside} {outside} {count}");
            text
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ids_are_mapped_once() {
        assert_eq!(lines(0), "0 0 4294967295\n");
        assert_eq!(lines(1), "0 1 1\n1 0 1\n2 2 4294967293\n");
        assert_eq!(lines(1000), "0 1000 1\n1 1 999\n1000 0 1\n1001 1001 4294966294\n");
        assert_eq!(lines(ALL - 1), "0 4294967294 1\n1 1 4294967293\n4294967294 0 1\n");
    }
}
