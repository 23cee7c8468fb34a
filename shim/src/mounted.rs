//! The mount table of this process, /proc/self/mountinfo (proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};

use crate::error::{Error, Result};

const TABLE: &str = "/proc/self/mountinfo";

/// The table as it is. Who mounts may name the place as it likes: it needn't be text.
pub fn table() -> Result<Vec<u8>> {
    std::fs::read(TABLE).map_err(|e| Error::io("read", TABLE.as_ref(), e))
}

/// Mount points at `dir` and below it, in the order in which they were made.
pub fn below(dir: &Path) -> Result<Vec<PathBuf>> {
    Ok(places(&table()?).filter(|place| place.starts_with(dir)).collect())
}

/// Unmounts all at `dir` and below it: before `dir` is removed, so that what somebody has mounted
/// there (a start that was killed, say) is not removed with it.
pub fn clear(dir: &Path) -> Result<()> {
    for place in below(dir)?.iter().rev() {
        match umount2(place, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
            Err(e) => return Err(Error::io("unmount", place, e.desc())),
        }
    }
    Ok(())
}

/// Whether something is mounted at `place`.
pub fn at(place: &Path) -> Result<bool> {
    Ok(places(&table()?).any(|p| p == place))
}

fn places(table: &[u8]) -> impl Iterator<Item = PathBuf> {
    let lines = table.split(|&b| b == b'\n');
    lines.filter_map(|line| line.split(|&b| b == b' ').nth(4)).map(unescape)
}

/// A path of the table: spaces and their like are octal there.
pub fn unescape(text: &[u8]) -> PathBuf {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        let code = tail.get(..3).and_then(|d| std::str::from_utf8(d).ok());
        let code = code.and_then(|d| u8::from_str_radix(d, 8).ok()).filter(|_| byte == b'\\');
        out.push(code.unwrap_or(byte));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    PathBuf::from(OsString::from_vec(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn places_that_are_no_text_hide_no_others() {
        let table = b"1 0 8:1 / / rw - ext4 a rw\n2 1 8:1 / /\xff\\040b rw - tmpfs b rw\n\
            3 1 8:1 / /v rw - tmpfs c rw\n";
        let all: Vec<PathBuf> = places(table).collect();
        assert_eq!(all.len(), 3);
        assert_eq!(all[1].as_os_str().as_bytes(), b"/\xff b");
        assert_eq!(all[2], Path::new("/v"));
        assert!(at(Path::new("/proc")).unwrap());
    }
}
