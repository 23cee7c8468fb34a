//! Directories, by what their names are.

use std::os::fd::{AsFd, AsRawFd};

use crate::check;

/// Names of a directory, as far as they fit: as many bytes of `buffer` as are told, for [`names`].
///
/// KERNEL: getdents64(2).
pub fn read(dir: impl AsFd, buffer: &mut [u8]) -> nix::Result<usize> {
    let dir = dir.as_fd().as_raw_fd();
    // SAFETY: the kernel writes no more than the buffer's length into it.
    check(unsafe { libc::syscall(libc::SYS_getdents64, dir, buffer.as_mut_ptr(), buffer.len()) })
        .map(|read| read as usize)
}

/// The names in what [`read`] has told.
pub fn names(told: &[u8]) -> impl Iterator<Item = &[u8]> {
    /// `struct linux_dirent64`: inode, offset, length, kind, then the name, which ends in NUL.
    const LENGTH: usize = 16;
    const NAME: usize = 19;
    let mut left = told;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes([*left.get(LENGTH)?, *left.get(LENGTH + 1)?]));
        let (entry, rest) = left.split_at_checked(length)?;
        left = rest;
        entry.get(NAME..)?.split(|b| *b == 0).next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_named() {
        let dir = std::env::temp_dir().join(format!("dhow-names-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        for name in ["a", "some name", "x".repeat(200).as_str()] {
            std::fs::write(dir.join(name), "").unwrap();
        }
        let open = std::fs::File::open(&dir).unwrap();
        let mut buffer = [0; 4096];
        let read = read(&open, &mut buffer).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        let mut all: Vec<&[u8]> = names(&buffer[..read]).collect();
        all.sort_unstable();
        assert_eq!(all, [&b"."[..], b"..", b"a", b"some name", "x".repeat(200).as_bytes()]);
    }

    #[test]
    fn what_is_cut_ends() {
        let dir = std::fs::File::open("/").unwrap();
        let mut buffer = [0; 4096];
        let read = read(&dir, &mut buffer).unwrap();
        for cut in 0..read {
            assert!(names(&buffer[..cut]).count() <= names(&buffer[..read]).count());
        }
        assert_eq!(names(&[0; 64]).count(), 0);
    }
}
