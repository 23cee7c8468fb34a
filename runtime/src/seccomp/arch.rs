//! Architectures: their names in a profile, and how a call of theirs looks to
//! a filter.

/// An architecture of the spec, in the order of [`NAMES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "each is the spec's word for it")]
pub enum Arch {
    Aarch64,
    Arm,
    Loongarch64,
    M68k,
    Mips,
    Mips64,
    Mips64n32,
    Mipsel,
    Mipsel64,
    Mipsel64n32,
    Parisc,
    Parisc64,
    Ppc,
    Ppc64,
    Ppc64le,
    Riscv64,
    S390,
    S390x,
    Sh,
    Sheb,
    X32,
    X86,
    X86_64,
}

/// x32's mark in a call number.
pub(super) const X32_MARK: u32 = 0x4000_0000;

/// Architectures whose calls one kernel may show to a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Arm,
    Loongarch,
    M68k,
    Mips,
    Mipsel,
    Parisc,
    Powerpc,
    Powerpcle,
    Riscv,
    S390,
    Sh,
    Sheb,
    X86,
}

/// What there is to know of one.
struct Facts {
    arch: Arch,
    name: &'static str,
    family: Family,
    /// `seccomp_data.arch`. KERNEL: linux/audit.h: the ELF machine, 64 bits as
    /// 0x80000000, little endian as 0x40000000.
    audit: u32,
    /// The column in the family's table.
    column: usize,
    /// What its call numbers start at.
    base: u32,
}

const fn facts(
    arch: Arch,
    name: &'static str,
    family: Family,
    audit: u32,
    column: usize,
    base: u32,
) -> Facts {
    Facts { arch, name, family, audit, column, base }
}

#[rustfmt::skip]
const FACTS: [Facts; 23] = [
    facts(Arch::Aarch64, "SCMP_ARCH_AARCH64", Family::Arm, 0xc000_00b7, 0, 0),
    facts(Arch::Arm, "SCMP_ARCH_ARM", Family::Arm, 0x4000_0028, 1, 0),
    facts(Arch::Loongarch64, "SCMP_ARCH_LOONGARCH64", Family::Loongarch, 0xc000_0102, 0, 0),
    facts(Arch::M68k, "SCMP_ARCH_M68K", Family::M68k, 0x0000_0004, 1, 0),
    facts(Arch::Mips, "SCMP_ARCH_MIPS", Family::Mips, 0x0000_0008, 2, 4000),
    facts(Arch::Mips64, "SCMP_ARCH_MIPS64", Family::Mips, 0x8000_0008, 3, 5000),
    facts(Arch::Mips64n32, "SCMP_ARCH_MIPS64N32", Family::Mips, 0xa000_0008, 4, 6000),
    facts(Arch::Mipsel, "SCMP_ARCH_MIPSEL", Family::Mipsel, 0x4000_0008, 2, 4000),
    facts(Arch::Mipsel64, "SCMP_ARCH_MIPSEL64", Family::Mipsel, 0xc000_0008, 3, 5000),
    facts(Arch::Mipsel64n32, "SCMP_ARCH_MIPSEL64N32", Family::Mipsel, 0xe000_0008, 4, 6000),
    facts(Arch::Parisc, "SCMP_ARCH_PARISC", Family::Parisc, 0x0000_000f, 5, 0),
    facts(Arch::Parisc64, "SCMP_ARCH_PARISC64", Family::Parisc, 0x8000_000f, 6, 0),
    facts(Arch::Ppc, "SCMP_ARCH_PPC", Family::Powerpc, 0x0000_0014, 7, 0),
    facts(Arch::Ppc64, "SCMP_ARCH_PPC64", Family::Powerpc, 0x8000_0015, 8, 0),
    facts(Arch::Ppc64le, "SCMP_ARCH_PPC64LE", Family::Powerpcle, 0xc000_0015, 8, 0),
    facts(Arch::Riscv64, "SCMP_ARCH_RISCV64", Family::Riscv, 0xc000_00f3, 9, 0),
    facts(Arch::S390, "SCMP_ARCH_S390", Family::S390, 0x0000_0016, 10, 0),
    facts(Arch::S390x, "SCMP_ARCH_S390X", Family::S390, 0x8000_0016, 11, 0),
    // libseccomp's names: without a suffix the little-endian one.
    facts(Arch::Sh, "SCMP_ARCH_SH", Family::Sh, 0x4000_002a, 12, 0),
    facts(Arch::Sheb, "SCMP_ARCH_SHEB", Family::Sheb, 0x0000_002a, 12, 0),
    facts(Arch::X32, "SCMP_ARCH_X32", Family::X86, 0xc000_003e, 2, X32_MARK),
    facts(Arch::X86, "SCMP_ARCH_X86", Family::X86, 0x4000_0003, 1, 0),
    facts(Arch::X86_64, "SCMP_ARCH_X86_64", Family::X86, 0xc000_003e, 0, 0),
];

/// Every name the spec lists, sorted.
pub const NAMES: [&str; 23] = {
    let mut names = [""; 23];
    let mut at = 0;
    while at < 23 {
        names[at] = FACTS[at].name;
        at += 1;
    }
    names
};

/// The name of the architecture that has a word for itself; x32, which has x86_64's, has none.
pub(super) fn of_audit(word: u32) -> Option<&'static str> {
    let own = |facts: &&Facts| facts.audit == word && facts.arch != Arch::X32;
    FACTS.iter().find(own).map(|facts| facts.name)
}

/// What a profile's name of an architecture means on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    /// Its calls get rules.
    Compiled(Arch),
    /// This machine's kernel never shows a filter a call of it, so rules for
    /// it would be dead code.
    Foreign,
}

impl Arch {
    /// The architecture this program was built for.
    pub const fn native() -> Option<Self> {
        let little = cfg!(target_endian = "little");
        Some(if cfg!(target_arch = "x86_64") {
            Self::X86_64
        } else if cfg!(target_arch = "aarch64") {
            Self::Aarch64
        } else if cfg!(target_arch = "riscv64") {
            Self::Riscv64
        } else if cfg!(target_arch = "s390x") {
            Self::S390x
        } else if cfg!(target_arch = "powerpc64") {
            if little { Self::Ppc64le } else { Self::Ppc64 }
        } else if cfg!(target_arch = "loongarch64") {
            Self::Loongarch64
        } else if cfg!(target_arch = "mips64") {
            if little { Self::Mipsel64 } else { Self::Mips64 }
        } else if cfg!(target_arch = "mips") {
            if little { Self::Mipsel } else { Self::Mips }
        } else if cfg!(target_arch = "powerpc") {
            Self::Ppc
        } else if cfg!(target_arch = "m68k") {
            Self::M68k
        } else if cfg!(target_arch = "arm") {
            Self::Arm
        } else if cfg!(target_arch = "x86") {
            Self::X86
        } else {
            return None;
        })
    }

    /// Resolves a name of the spec, as seen on a `self` machine.
    pub(super) fn resolve(self, name: &str) -> Option<Named> {
        let at = FACTS.binary_search_by(|facts| facts.name.cmp(name)).ok()?;
        let arch = FACTS[at].arch;
        Some(if arch.family() == self.family() { Named::Compiled(arch) } else { Named::Foreign })
    }

    const fn facts(self) -> &'static Facts {
        const TABLE: &[Facts; 23] = &FACTS;
        &TABLE[self as usize]
    }

    /// Its family.
    pub(super) const fn family(self) -> Family {
        self.facts().family
    }

    /// `seccomp_data.arch`.
    pub(super) const fn audit(self) -> u32 {
        self.facts().audit
    }

    /// What is added to a table's number to get that of `seccomp_data.nr`.
    pub(super) const fn base(self) -> u32 {
        self.facts().base
    }

    /// The column in its family's table.
    pub(super) const fn column(self) -> usize {
        self.facts().column
    }

    /// Whether arguments are compared in all their 64 bits.
    ///
    /// libseccomp compares 32 on x32 and n32 too: a call's `int` arguments are
    /// what profiles speak of, and their upper half is the caller's to choose.
    pub(super) const fn is_wide(self) -> bool {
        self.audit() & 0x8000_0000 != 0
            && !matches!(self, Self::X32 | Self::Mips64n32 | Self::Mipsel64n32)
    }

    /// Whether a word's upper half comes first in memory.
    pub(super) const fn is_big_endian(self) -> bool {
        self.audit() & 0x4000_0000 == 0
    }

    /// The numbers of `socketcall` and `ipc`, where sockets and System V IPC
    /// are also reached by one call for many.
    pub(super) const fn multiplexers(self) -> Option<(u32, u32)> {
        match self.family() {
            Family::X86 if !matches!(self, Self::X86) => None,
            Family::X86
            | Family::S390
            | Family::Powerpc
            | Family::Powerpcle
            | Family::M68k
            | Family::Sh
            | Family::Sheb => Some((102, 117)),
            _ if matches!(self, Self::Mips | Self::Mipsel) => Some((4102, 4117)),
            _ => None,
        }
    }

    /// A call number that stands for another one, given in a register: those
    /// the kernel doesn't know keep it.
    ///
    /// As runc: `setup`, call 0 of s390, is what a call too large for the
    /// instruction looks like when it is unknown.
    pub(super) const fn indirect(self) -> Option<u32> {
        if matches!(self, Self::S390 | Self::S390x) { Some(0) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_architecture_is_known_and_gets_no_rules() {
        assert_eq!(Arch::X86_64.resolve("SCMP_ARCH_S390X"), Some(Named::Foreign));
        assert_eq!(Arch::X86_64.resolve("SCMP_ARCH_ARM"), Some(Named::Foreign));
        assert_eq!(Arch::Aarch64.resolve("SCMP_ARCH_ARM"), Some(Named::Compiled(Arch::Arm)));
        assert_eq!(Arch::Ppc64le.resolve("SCMP_ARCH_PPC64"), Some(Named::Foreign));
        assert_eq!(Arch::X86_64.resolve("SCMP_ARCH_VAX"), None);
    }

    #[test]
    fn names_are_sorted_and_facts_are_in_the_enums_order() {
        assert!(NAMES.is_sorted());
        for (at, facts) in FACTS.iter().enumerate() {
            assert_eq!(facts.arch as usize, at);
        }
    }

    #[test]
    fn words_are_the_audit_systems() {
        // KERNEL: linux/audit.h, linux/elf-em.h.
        for (arch, elf, wide, little) in [
            (Arch::Loongarch64, 258, true, true),
            (Arch::M68k, 4, false, false),
            (Arch::Parisc64, 15, true, false),
            (Arch::Ppc, 20, false, false),
            (Arch::Ppc64le, 21, true, true),
            (Arch::Riscv64, 243, true, true),
            (Arch::S390x, 22, true, false),
            (Arch::Sheb, 42, false, false),
        ] {
            assert_eq!(arch.audit() & 0xffff, elf);
            assert_eq!((arch.is_wide(), !arch.is_big_endian()), (wide, little));
        }
        assert!(!Arch::Mips64n32.is_wide() && !Arch::X32.is_wide() && Arch::X86_64.is_wide());
    }
}
