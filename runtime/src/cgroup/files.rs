//! Reading and writing cgroup files, and making and removing groups.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use dhow_kernel::fd::Loose;
use nix::errno::Errno;

/// Writes a value in one write(2), as the kernel wants it.
///
/// Not `fs::write`: it would create, and cgroupfs then answers EACCES for a
/// file that isn't there.
pub(super) fn write(dir: &str, file: &str, value: &str) -> nix::Result<()> {
    let mut file =
        OpenOptions::new().write(true).open(format!("{dir}/{file}")).map_err(|e| errno(&e))?;
    let done = file.write_all(value.as_bytes()).map_err(|e| errno(&e));
    drop(Loose::from(OwnedFd::from(file)));
    done
}

/// Writes several lines, each in one write(2); with the line that failed.
pub(super) fn write_lines<'a>(
    dir: &str,
    file: &str,
    lines: &'a [String],
) -> Result<(), (Errno, &'a str)> {
    let Some(first) = lines.first() else { return Ok(()) };
    let mut file = OpenOptions::new()
        .write(true)
        .open(format!("{dir}/{file}"))
        .map_err(|e| (errno(&e), first.as_str()))?;
    for line in lines {
        file.write_all(line.as_bytes()).map_err(|e| (errno(&e), line.as_str()))?;
    }
    drop(Loose::from(OwnedFd::from(file)));
    Ok(())
}

/// Reads a file without its last newline.
pub(super) fn read(dir: &str, file: &str) -> nix::Result<String> {
    let mut text = crate::whole::text(format!("{dir}/{file}")).map_err(|e| errno(&e))?;
    text.truncate(text.trim_end().len());
    Ok(text)
}

/// The same of a file that says one thing, by a command that soon is done.
///
/// KERNEL: kernfs shows a file that isn't a list as one record.
pub(super) fn value(dir: &str, file: &str) -> nix::Result<String> {
    let bytes = crate::whole::record(format!("{dir}/{file}")).map_err(|e| errno(&e))?;
    Ok(String::from_utf8_lossy(bytes.trim_ascii_end()).into_owned())
}

/// The errno of an error of std.
pub(super) fn errno(e: &std::io::Error) -> Errno {
    Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO))
}

/// Makes a group and the parents it lacks; what was made goes to `made`,
/// parents first. False when the group was there.
pub(super) fn make(dir: &str, made: &mut Vec<String>) -> Result<bool, (Errno, String)> {
    match fs::create_dir(dir).map_err(|e| errno(&e)) {
        Ok(()) => {
            made.push(dir.to_owned());
            Ok(true)
        }
        Err(Errno::EEXIST) => Ok(false),
        Err(Errno::ENOENT) => {
            let Some((parent, _)) = dir.rsplit_once('/').filter(|(parent, _)| !parent.is_empty())
            else {
                return Err((Errno::ENOENT, dir.to_owned()));
            };
            make(parent, made)?;
            make(dir, made)
        }
        Err(errno) => Err((errno, dir.to_owned())),
    }
}

/// Removes a group that has none below it.
pub(super) fn unmake(dir: &str) -> crate::error::Result<()> {
    fs::remove_dir(dir).map_err(|e| crate::error::Error::io("rmdir", dir, &e))
}

/// Whether an errno says that we may not.
pub(super) fn is_denied(errno: Errno) -> bool {
    matches!(errno, Errno::EPERM | Errno::EACCES | Errno::EROFS)
}

/// The pids in a group, without its children's.
pub(super) fn procs(dir: &Path) -> nix::Result<Vec<i32>> {
    let read = |file: &str| crate::whole::text(dir.join(file)).map_err(|e| errno(&e));
    let text = match read("cgroup.procs") {
        // KERNEL: cgroup-v2.rst §Threads: a threaded group has no processes.
        Err(Errno::EOPNOTSUPP) => read("cgroup.threads")?,
        other => other?,
    };
    Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
}

/// The groups directly below. The kernel takes any bytes for a group's name, and a container
/// may have made it.
pub(super) fn children(dir: &Path) -> nix::Result<Vec<PathBuf>> {
    let mut children = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| errno(&e))? {
        let entry = entry.map_err(|e| errno(&e))?;
        if entry.file_type().map_err(|e| errno(&e))?.is_dir() {
            children.push(entry.path());
        }
    }
    Ok(children)
}
