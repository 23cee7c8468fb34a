//! Checksums of files' contents, taken while the files are made: whoever asks later whether a
//! file is still what it was need not unpack it again.

use std::collections::HashSet;
use std::hash::Hasher as _;

use twox_hash::XxHash3_64;

/// No more are kept: 32 MiB. Files beyond it are simply not known.
const MOST: usize = 2 << 20;
/// Of more files with attributes it is forgotten which they are.
const MOST_MARKED: usize = 1 << 16;

/// Checksums by inode.
#[derive(Clone, Debug, Default)]
pub struct Sums {
    seed: u64,
    all: Vec<(u64, u64)>,
    sorted: bool,
    marked: HashSet<u64>,
}

/// A checksum being taken.
pub type Sum = XxHash3_64;

impl Sums {
    /// None yet. The seed keeps those who write files from making them look alike.
    pub fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// What the checksums are taken with.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Begins one.
    pub fn begin(&self) -> Sum {
        XxHash3_64::with_seed(self.seed)
    }

    /// Keeps a file's. A later file with the same inode replaces an earlier one.
    pub(super) fn add(&mut self, inode: u64, sum: &Sum) {
        if self.all.len() < MOST {
            self.all.push((inode, number(sum)));
            self.sorted = false;
        }
    }

    /// Notes that something has attributes.
    pub(super) fn mark(&mut self, inode: u64) {
        if self.marked.len() < MOST_MARKED {
            self.marked.insert(inode);
        }
    }

    /// Whether something that is no directory was given no attributes.
    pub fn is_bare(&self, inode: u64) -> bool {
        self.marked.len() < MOST_MARKED && !self.marked.contains(&inode)
    }

    /// A file's; 0 if it isn't known.
    pub fn of(&mut self, inode: u64) -> u64 {
        if !self.sorted {
            self.all.sort_by_key(|(inode, _)| *inode);
            self.sorted = true;
        }
        let end = self.all.partition_point(|(i, _)| *i <= inode);
        self.all[..end].last().filter(|(i, _)| *i == inode).map_or(0, |(_, sum)| *sum)
    }
}

/// A finished checksum, which is never 0.
pub fn number(sum: &Sum) -> u64 {
    sum.finish().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_file_of_an_inode_counts() {
        let mut sums = Sums::new(7);
        for (inode, text) in [(5, "a"), (3, "b"), (5, "c")] {
            let mut sum = sums.begin();
            sum.write(text.as_bytes());
            sums.add(inode, &sum);
        }
        let mut c = sums.begin();
        c.write(b"c");
        assert_eq!(sums.of(5), number(&c));
        assert_ne!(sums.of(3), 0);
        assert_eq!(sums.of(4), 0);
    }
}
