//! Whether a program that is there can be executed: its format, its machine, its interpreter.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Read;

use nix::fcntl::OFlag;

use crate::init::root::Root;

/// What stands in its way.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// It needs another program, which has to be looked for.
    Interpreter(CString),
    /// Only some handler of the host's could execute it: why.
    Format(String),
}

/// How much of a file says what it is, interpreter included.
const HEAD: u64 = 4096;

/// Looks into the file at `path`; `None` when nothing is known to be wrong with it.
pub fn fault(root: &Root, path: &CStr) -> Option<Fault> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = File::from(root.open(path, flags).ok()?.owned());
    // It was a plain file a moment ago; a device or pipe must not be waited for.
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut head = Vec::new();
    file.take(HEAD).read_to_end(&mut head).ok()?;
    judge(&head)
}

fn judge(head: &[u8]) -> Option<Fault> {
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|b| *b == b'\n').next().unwrap_or_default().trim_ascii();
        let word = line.split(u8::is_ascii_whitespace).next().unwrap_or_default();
        let word = CString::new(word).ok()?;
        return word.to_bytes().starts_with(b"/").then_some(Fault::Interpreter(word));
    }
    let Some(elf) = Elf::read(head) else {
        let why = "is neither an ELF file nor a script with #!";
        return Some(Fault::Format(why.to_owned()));
    };
    if !native().is_none_or(|all| all.contains(&elf.machine)) {
        let why = format!("is for another machine (ELF machine {})", elf.machine);
        return Some(Fault::Format(why));
    }
    elf.interpreter().map(Fault::Interpreter)
}

/// e_machine of what this kernel executes.
fn native() -> Option<&'static [u64]> {
    match crate::seccomp::Arch::native() {
        Some(crate::seccomp::Arch::X86_64) => Some(&[62, 3]),
        Some(crate::seccomp::Arch::Aarch64) => Some(&[183, 40]),
        _ => None,
    }
}

struct Elf<'a> {
    head: &'a [u8],
    wide: bool,
    little: bool,
    machine: u64,
}

impl<'a> Elf<'a> {
    fn read(head: &'a [u8]) -> Option<Self> {
        let ident = head.strip_prefix(b"\x7fELF")?;
        let (wide, little) = (*ident.first()? == 2, *ident.get(1)? == 1);
        let mut elf = Self { head, wide, little, machine: 0 };
        elf.machine = elf.number(18, 2)?;
        Some(elf)
    }

    fn number(&self, at: usize, size: usize) -> Option<u64> {
        let bytes = self.head.get(at..at.checked_add(size)?)?;
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        let sum =
            if self.little { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) };
        Some(sum)
    }

    /// PT_INTERP, where it is in the head.
    fn interpreter(&self) -> Option<CString> {
        const PT_INTERP: u64 = 3;
        // Offsets of e_phoff, e_phentsize, e_phnum; of p_offset; and an address's size.
        let (table, size, count, offset, word) =
            if self.wide { (32, 54, 56, 8, 8) } else { (28, 42, 44, 4, 4) };
        let table = usize::try_from(self.number(table, word)?).ok()?;
        let (size, count) = (self.number(size, 2)? as usize, self.number(count, 2)? as usize);
        let entries = (0..count).map(|n| table.saturating_add(n * size));
        let mut interpreters = entries.filter(|at| self.number(*at, 4) == Some(PT_INTERP));
        let from = self.number(interpreters.next()?.checked_add(offset)?, word)?;
        let text = self.head.get(usize::try_from(from).ok()?..)?;
        CStr::from_bytes_until_nul(text).ok().map(CStr::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn scripts_and_programs_name_their_interpreter() {
        let wants = |head: &[u8]| judge(head);
        assert_eq!(wants(b"#! /bin/sh -e\n"), Some(Fault::Interpreter(c"/bin/sh".to_owned())));
        assert_eq!(wants(b"#!/usr/bin/env python\n"), {
            Some(Fault::Interpreter(c"/usr/bin/env".to_owned()))
        });
        assert!(matches!(wants(b"echo hello\n"), Some(Fault::Format(_))));
        assert!(matches!(wants(b""), Some(Fault::Format(_))));
        let own = std::fs::read("/bin/true").unwrap();
        let head = &own[..own.len().min(HEAD as usize)];
        let Some(Fault::Interpreter(loader)) = judge(head) else { panic!("/bin/true is dynamic") };
        assert!(std::path::Path::new(loader.to_str().unwrap()).exists(), "{loader:?}");
        let mut foreign = head.to_vec();
        foreign[18..20].copy_from_slice(&[0x16, 0]);
        assert!(matches!(judge(&foreign), Some(Fault::Format(why)) if why.contains("machine 22")));
    }

    proptest! {
        #[test]
        fn no_file_makes_it_panic(head in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = judge(&head);
            let _ = judge(&[&b"\x7fELF\x02\x01"[..], &head].concat());
            let _ = judge(&[&b"\x7fELF\x01\x02"[..], &head].concat());
        }
    }
}
