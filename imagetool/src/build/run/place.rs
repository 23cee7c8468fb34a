//! RUN/build/ID: what is of one container while it runs, and what is left of one whose build was
//! killed.
//!
//! ```text
//! lock       held as long as the build lives
//! runtime    how the container can be deleted: the runtime's words, its cgroup
//! state/     the runtime's --root
//! config.json log hosts resolv.conf stdin
//! m/N        where a mount's source is mounted, for the runtime to find it by a path that nobody else changes
//! ```

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use dhow_kernel::mount::{Tree, move_mount, open_tree};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::{Mode, SFlag, fstat};
use serde::{Deserialize, Serialize};

use super::cgroup;
use super::oci::Call;
use super::spec::Source;
use crate::error::{Error, Result};
use crate::layer::at::{io_at, kind};
use crate::store::make_dir;

/// How a container's runtime was called.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Called {
    /// The program.
    pub program: PathBuf,
    /// What stands before its verb.
    pub arguments: Vec<String>,
    /// `linux.cgroupsPath`
    pub cgroup: String,
}

/// A container's directory; it goes when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    dir: PathBuf,
    mounted: Vec<PathBuf>,
    _lock: File,
}

impl Place {
    /// Makes `home`/`id`.
    pub fn make(home: &Path, id: &str, called: &Called) -> Result<Self> {
        make_dir(home)?;
        let _still = lock(home)?;
        let dir = home.join(id);
        fs::create_dir(&dir).map_err(Error::at("create", &dir))?;
        let lock = take(&dir)?;
        let place = Self { dir, mounted: Vec::new(), _lock: lock };
        let json = serde_json::to_vec(called).map_err(|e| Error::invalid("runtime", e))?;
        place.write("runtime", &json)?;
        make_dir(&place.dir.join("m"))?;
        Ok(place)
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Writes a file of the build's own.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, bytes).map_err(Error::at("write", &path))?;
        Ok(path)
    }

    /// Writes a file that containers may read, whoever their user is.
    pub fn show(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.write(name, bytes)?;
        // The umask has no say in it.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))
            .map_err(Error::at("set the mode of", &path))?;
        Ok(path)
    }

    /// Gives what was opened a path, with all that is mounted below it.
    ///
    /// KERNEL: a runtime can't bind /proc/PID/fd/N itself: that is of a mount namespace other than its own.
    pub fn bind(&mut self, what: &OwnedFd) -> Result<Source> {
        let path = self.dir.join("m").join(self.mounted.len().to_string());
        let fail = |e: Errno| io_at("mount at", &path, e);
        let tree = open_tree(what.as_fd(), c"", Tree::CloneRecursive).map_err(fail)?;
        let stat = fstat(what).map_err(fail)?;
        let is_dir = kind(&stat) == SFlag::S_IFDIR;
        attach(&tree, is_dir, &path)?;
        self.mounted.push(path.clone());
        Ok(if is_dir { Source::Directory(path) } else { Source::File(path) })
    }
}

/// Mounts what was cloned at `path`, which is made for it.
pub(in crate::build) fn attach(tree: &OwnedFd, is_dir: bool, path: &Path) -> Result<()> {
    if is_dir {
        make_dir(path)?;
    } else {
        File::create(path).map_err(Error::at("create", path))?;
    }
    let fail = |e: Errno| io_at("mount at", path, e);
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let at = open(path, flags, Mode::empty()).map_err(fail)?;
    move_mount(tree.as_fd(), at.as_fd()).map_err(fail)
}

impl Drop for Place {
    fn drop(&mut self) {
        for path in self.mounted.iter().rev() {
            let _ = umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
        }
        clear(&self.dir);
    }
}

/// Removes a place's directory, but never what is mounted in it.
fn clear(dir: &Path) {
    for entry in fs::read_dir(dir.join("m")).into_iter().flatten().flatten() {
        // One by one, and no directory that isn't empty: one that is mounted is somebody's files.
        let path = entry.path();
        let _ = fs::remove_dir(&path).or_else(|_| fs::remove_file(&path));
    }
    if fs::remove_dir(dir.join("m")).is_ok() || !dir.join("m").exists() {
        let _ = fs::remove_dir_all(dir);
    }
}

/// Deletes what killed builds left in `home`: containers, cgroups, directories. Those of builds
/// that live are left alone.
///
/// # Errors
///
/// When the directory can't be read. What can't be deleted now is tried by the next one.
pub fn sweep(home: &Path) -> Result<()> {
    if !home.exists() {
        return Ok(());
    }
    let _still = lock(home)?;
    for entry in fs::read_dir(home).map_err(Error::at("read", home))?.flatten() {
        let dir = entry.path();
        let Ok(Some(_dead)) = dead(&dir) else { continue };
        let id = entry.file_name().to_string_lossy().into_owned();
        let told = fs::read(dir.join("runtime")).ok();
        if let Some(called) = told.and_then(|text| serde_json::from_slice::<Called>(&text).ok()) {
            delete(&dir, &id, &called);
        }
        clear(&dir);
    }
    Ok(())
}

/// Ends and deletes a container by all means, whatever its runtime was about.
pub(super) fn delete(dir: &Path, id: &str, called: &Called) {
    let state = dir.join("state");
    end_runtime(&state);
    let call = Call { called, dir, id };
    if state.join(id).exists() {
        let _ = call.quietly(&["delete", "--force"], &[]);
    }
    cgroup::remove(&called.cgroup);
}

/// Kills the runtimes that are at work with this `--root`: nobody waits for them any more.
fn end_runtime(state: &Path) {
    let word = state.as_os_str().as_encoded_bytes();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let named = || {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            line.split(|&b| b == 0).any(|argument| argument == word)
        };
        if !named() {
            continue;
        }
        let pid = nix::unistd::Pid::from_raw(pid);
        if let Ok(process) = dhow_kernel::process::pidfd_open(pid)
            && named()
        {
            let _ = dhow_kernel::process::pidfd_signal(process.as_fd(), libc::SIGKILL);
        }
    }
}

/// The lock of a place, if its build is dead.
fn dead(dir: &Path) -> Result<Option<File>> {
    let path = dir.join("lock");
    let file = File::options().append(true).create(true).open(&path);
    let file = file.map_err(Error::at("open", &path))?;
    Ok(file.try_lock().is_ok().then_some(file))
}

fn take(dir: &Path) -> Result<File> {
    let name = dir.display().to_string();
    dead(dir)?.ok_or(Error::InUse { what: "directory", name, by: "another build".into() })
}

/// Who makes places, and who sweeps them, does so one at a time.
fn lock(home: &Path) -> Result<File> {
    let path = home.join("lock");
    let file = File::options().append(true).create(true).open(&path);
    let file = file.map_err(Error::at("open", &path))?;
    file.lock().map_err(Error::at("lock", &path))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_may_read_what_is_shown_to_them() {
        let home = tempfile::tempdir().unwrap();
        let called =
            Called { program: PathBuf::new(), arguments: Vec::new(), cgroup: String::new() };
        let place = Place::make(home.path(), "id", &called).unwrap();
        // As a strict umask leaves it, which is one for all threads.
        let path = place.write("hosts", b"").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(place.show("hosts", b"::1 localhost\n").unwrap(), path);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o644);
        drop(place);
        assert!(!home.path().join("id").exists());
    }
}
