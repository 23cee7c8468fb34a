//! Where a file has data: files with holes are written in GNU's sparse format 1.0.

use std::fs::File;

use nix::errno::Errno;
use nix::sys::stat::FileStat;
use nix::unistd::{Whence, lseek};

use super::sparse::Segment;

/// A file in more pieces than this has its last ones joined.
const MOST: usize = 4096;

/// The pieces of a file that are data; `None` if it has no holes worth the trouble.
pub(super) fn map(file: &File, stat: &FileStat) -> nix::Result<Option<Vec<Segment>>> {
    let size = stat.st_size;
    if stat.st_blocks.saturating_mul(512) >= size {
        return Ok(None);
    }
    let mut map = Vec::new();
    let mut at = 0;
    while at < size {
        let from = match lseek(file, at, Whence::SeekData) {
            Ok(from) if from < size => from,
            // KERNEL: ENXIO: only a hole follows.
            Ok(_) | Err(Errno::ENXIO) => break,
            // Not every file system can tell.
            Err(Errno::EINVAL | Errno::EOPNOTSUPP) => return Ok(None),
            Err(e) => return Err(e),
        };
        at = match lseek(file, from, Whence::SeekHole) {
            Ok(hole) if map.len() < MOST => hole.min(size),
            Ok(_) | Err(Errno::ENXIO) => size,
            Err(e) => return Err(e),
        };
        map.push(Segment {
            offset: from.cast_unsigned(),
            length: (at - from).max(0).cast_unsigned(),
        });
    }
    Ok(Some(map))
}

/// The map as it stands before the data, in whole blocks.
pub(crate) fn table(map: &[Segment]) -> Vec<u8> {
    let numbers = map.iter().flat_map(|segment| [segment.offset, segment.length]);
    let lines = std::iter::once(map.len() as u64).chain(numbers).map(|n| format!("{n}\n"));
    let mut bytes = lines.collect::<String>().into_bytes();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}
