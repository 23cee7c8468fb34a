//! System call numbers of the families that most machines aren't: read from
//! [text](../other.txt) when first asked for, and only built in where a
//! machine of theirs, or a test, can ask.
//!
//! A line is a name and its number on loongarch64, m68k, mips, mips64,
//! mips64n32, parisc, parisc64, ppc, ppc64, riscv64, s390, s390x and sh,
//! without the architecture's base; `-` where there is none. The byte order
//! changes no number.

use std::sync::OnceLock;

use super::ABSENT;

/// Architectures on a line.
pub(super) const COLUMNS: usize = 13;

type Line = (&'static str, [i32; COLUMNS]);

/// The lines, sorted by name.
pub(super) fn table() -> &'static [Line] {
    static TABLE: OnceLock<Vec<Line>> = OnceLock::new();
    TABLE.get_or_init(|| include_str!("other.txt").lines().map(line).collect())
}

fn line(text: &'static str) -> Line {
    let mut words = text.split(' ');
    let name = words.next().unwrap_or_default();
    let number = |word: Option<&str>| word.and_then(|word| word.parse().ok()).unwrap_or(ABSENT);
    (name, std::array::from_fn(|_| number(words.next())))
}
