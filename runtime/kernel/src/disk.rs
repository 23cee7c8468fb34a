//! What of a file is on the disk.

use std::os::fd::{AsFd, AsRawFd};

use crate::check;

/// Begins to write `length` bytes from `from` on to the disk, and doesn't wait for them.
///
/// KERNEL: sync_file_range(2), SYNC_FILE_RANGE_WRITE: neither metadata nor the disk's own cache. What it says of a
/// fault is no proof of anything; fsync(2) in the end is.
pub fn begin_to_write(file: impl AsFd, from: u64, length: u64) -> nix::Result<()> {
    let fd = file.as_fd().as_raw_fd();
    let (from, length) = (from.cast_signed(), length.cast_signed());
    // SAFETY: no pointers; the kernel checks the range.
    let begun = unsafe { libc::sync_file_range(fd, from, length, libc::SYNC_FILE_RANGE_WRITE) };
    check(begun.into()).map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::OwnedFd;

    #[test]
    fn files_are_begun_with_and_pipes_are_not() {
        let path = std::env::temp_dir().join(format!("dhow-disk-{}", std::process::id()));
        let mut file = File::create(&path).unwrap();
        file.write_all(&[7; 10_000]).unwrap();
        assert_eq!(super::begin_to_write(&file, 0, 10_000), Ok(()));
        assert_eq!(super::begin_to_write(&file, 5000, 1 << 40), Ok(()));
        std::fs::remove_file(&path).unwrap();
        let (pipe, _) = std::io::pipe().unwrap();
        let refused = super::begin_to_write(OwnedFd::from(pipe), 0, 1);
        assert_eq!(refused, Err(nix::errno::Errno::ESPIPE));
    }
}
