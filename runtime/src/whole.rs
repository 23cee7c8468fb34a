//! Reading files that are small, mostly the kernel's: without asking for a size that they haven't
//! got, or are about to tell by their end; nor for the end, where what came tells it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use dhow_kernel::fd::Loose;

/// What is read at once.
const SOME: usize = 8192;

/// All of a file.
pub(crate) fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(SOME);
    // A reader of part of a file asks for no size.
    File::open(path)?.take(u64::MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// As [`read`], of text.
pub(crate) fn text(path: impl AsRef<Path>) -> io::Result<String> {
    let wrong = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8");
    String::from_utf8(read(path)?).map_err(wrong)
}

/// As [`read`], of a file whose end shows: `ends` judges what has come, once less came than was
/// asked for. It stays open until all such are closed.
pub(crate) fn until(
    file: File,
    bytes: &mut Vec<u8>,
    ends: impl Fn(&[u8]) -> bool,
) -> io::Result<()> {
    let file = Loose::from(OwnedFd::from(file));
    loop {
        let had = bytes.len();
        bytes.resize(had + SOME, 0);
        let read = nix::unistd::read(&file, &mut bytes[had..]);
        bytes.truncate(had + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => return Ok(()),
            Ok(n) if n < SOME && ends(bytes) => return Ok(()),
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// As [`read`], of a file of the kernel's that is one record: what fits is all there is.
///
/// KERNEL: seq_file.rst: a record that doesn't fit what is asked for is cut, and no other ends early.
pub(crate) fn record(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(SOME);
    until(File::open(path)?, &mut bytes, |_| true)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_to_its_end_whatever_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        for size in [0, 1, SOME - 1, SOME, SOME + 1, 5 * SOME + 7] {
            std::fs::write(&path, vec![b'x'; size]).unwrap();
            assert_eq!(text(&path).unwrap().len(), size);
        }
        for size in [0, 1, SOME - 1, SOME, SOME + 1, 5 * SOME + 7] {
            std::fs::write(&path, vec![b'x'; size]).unwrap();
            assert_eq!(record(&path).unwrap().len(), size);
        }
        std::fs::write(&path, [0xff]).unwrap();
        assert_eq!(text(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(!text("/proc/self/status").unwrap().is_empty());
    }
    /// A file that comes in pieces, as some file systems give theirs.
    #[test]
    fn what_has_not_ended_is_read_on() {
        use std::io::Write;
        let (reads, mut writes) = io::pipe().unwrap();
        let writer = std::thread::spawn(move || {
            for piece in ["{\"a\"", ":1", "}"] {
                writes.write_all(piece.as_bytes()).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
            writes.write_all(b"later").unwrap();
        });
        let mut bytes = Vec::new();
        let file = File::from(OwnedFd::from(reads));
        until(file, &mut bytes, |so_far| so_far.ends_with(b"}")).unwrap();
        assert_eq!(bytes, b"{\"a\":1}");
        drop(writer);
    }
}
