//! Reading files that are small, mostly the kernel's: without asking for a size that they haven't
//! got, or are about to tell by their end.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

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
        std::fs::write(&path, [0xff]).unwrap();
        assert_eq!(text(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(!text("/proc/self/status").unwrap().is_empty());
    }
}
