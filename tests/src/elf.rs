//! Just enough of ELF to tell whether a program needs a loader.

use std::path::Path;

/// Whether the program names an interpreter (`PT_INTERP`), so isn't static. 64-bit ELF only.
pub fn needs_loader(path: &Path) -> bool {
    const PT_INTERP: u32 = 3;
    let bytes = std::fs::read(path).unwrap();
    assert!(bytes.starts_with(b"\x7fELF\x02\x01"), "{} is no 64-bit ELF file", path.display());
    let half = |at: usize| usize::from(u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap()));
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let start = u64::from_le_bytes(bytes[32..40].try_into().unwrap()) as usize;
    (0..half(56)).any(|i| word(start + i * half(54)) == PT_INTERP)
}
