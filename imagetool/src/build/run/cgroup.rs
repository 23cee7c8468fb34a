//! A container's cgroups, when its runtime can't remove them any more.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

use crate::error::{Error, Result};

const TOP: &str = "/sys/fs/cgroup";
/// Who was killed is gone in moments; whoever isn't after so many looks is stuck in the kernel.
const LOOKS: usize = 50;
const MOMENT: u8 = 100;

/// `linux.cgroupsPath` of a container: a name of its own below `parent`.
///
/// # Errors
///
/// When the parent climbs.
pub(super) fn path(parent: &str, id: &str) -> Result<String> {
    if parent.split('/').any(|part| part == "..") || parent.contains('\0') {
        return Err(Error::usage("cgroup parent", parent, "it must not climb with .."));
    }
    let parent = parent.trim_matches('/');
    let between = if parent.is_empty() { "" } else { "/" };
    Ok(format!("{between}{parent}/dhow-build-{id}"))
}

/// Ends who is in it, and removes it, in all hierarchies. What isn't there is fine.
pub(super) fn remove(path: &str) {
    for top in tops() {
        let dir = top.join(path.trim_start_matches('/'));
        if dir != top && dir.is_dir() {
            remove_dir(&dir);
        }
    }
}

fn tops() -> Vec<PathBuf> {
    let top = Path::new(TOP);
    if top.join("cgroup.controllers").exists() {
        return vec![top.to_owned()];
    }
    fs::read_dir(top).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn remove_dir(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_dir(&entry.path());
        }
    }
    for _ in 0..LOOKS {
        let dying = kill(dir);
        if dying.is_empty() && fs::remove_dir(dir).is_ok() || !dir.exists() {
            return;
        }
        for process in &dying {
            let _ = poll(
                &mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)],
                PollTimeout::from(MOMENT),
            );
        }
    }
}

/// Kills all in one cgroup; handles on them.
fn kill(dir: &Path) -> Vec<OwnedFd> {
    let procs = dir.join("cgroup.procs");
    let list = fs::read_to_string(&procs).unwrap_or_default();
    let pids = list.lines().filter_map(|line| line.parse().ok());
    let opened = pids.filter_map(|pid| {
        let process = dhow_kernel::process::pidfd_open(Pid::from_raw(pid)).ok()?;
        Some((pid, process))
    });
    let opened: Vec<(i32, OwnedFd)> = opened.collect();
    // Once more: a pid may be another process's by the time it is opened.
    let list = fs::read_to_string(&procs).unwrap_or_default();
    let still: Vec<i32> = list.lines().filter_map(|line| line.parse().ok()).collect();
    let here = opened.into_iter().filter(|(pid, _)| still.contains(pid));
    let mut killed = Vec::new();
    for (_, process) in here {
        let _ = dhow_kernel::process::pidfd_signal(process.as_fd(), libc::SIGKILL);
        killed.push(process);
    }
    killed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_do_not_climb() {
        assert_eq!(path("", "x").unwrap(), "/dhow-build-x");
        assert_eq!(path("/a/b/", "x").unwrap(), "/a/b/dhow-build-x");
        assert!(path("a/../..", "x").is_err());
    }
}
