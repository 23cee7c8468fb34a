//! Architectures: their names in a profile, and how a call of theirs looks to
//! a filter.

/// An architecture whose calls this program can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// i386, as an x86_64 kernel also runs it.
    X86,
    /// The x32 ABI: x86_64's architecture word, marked call numbers.
    X32,
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM, as an aarch64 kernel also runs it.
    Arm,
}

/// x32's mark in a call number.
pub(super) const X32_MARK: u32 = 0x4000_0000;

/// Every name the spec lists, sorted.
pub const NAMES: [&str; 23] = [
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
];

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
        if cfg!(target_arch = "x86_64") {
            Some(Self::X86_64)
        } else if cfg!(target_arch = "aarch64") {
            Some(Self::Aarch64)
        } else {
            None
        }
    }

    /// Resolves a name of the spec, as seen on a `self` machine.
    pub(super) fn resolve(self, name: &str) -> Option<Named> {
        let arch = match name {
            "SCMP_ARCH_X86_64" => Self::X86_64,
            "SCMP_ARCH_X86" => Self::X86,
            "SCMP_ARCH_X32" => Self::X32,
            "SCMP_ARCH_AARCH64" => Self::Aarch64,
            "SCMP_ARCH_ARM" => Self::Arm,
            other if NAMES.contains(&other) => return Some(Named::Foreign),
            _ => return None,
        };
        let same_family = arch.is_x86() == self.is_x86();
        Some(if same_family { Named::Compiled(arch) } else { Named::Foreign })
    }

    const fn is_x86(self) -> bool {
        matches!(self, Self::X86_64 | Self::X86 | Self::X32)
    }

    /// `seccomp_data.arch`. KERNEL: linux/audit.h.
    pub(super) const fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// Bits of a call number that stand for the architecture.
    pub(super) const fn marker(self) -> u32 {
        if matches!(self, Self::X32) { X32_MARK } else { 0 }
    }

    /// The column in its family's table.
    pub(super) const fn column(self) -> usize {
        match self {
            Self::X86_64 | Self::Aarch64 => 0,
            Self::X86 | Self::Arm => 1,
            Self::X32 => 2,
        }
    }

    /// Whether arguments are compared in all their 64 bits.
    ///
    /// libseccomp compares 32 on x32 too: a call's `int` arguments are what
    /// profiles speak of, and their upper half is the caller's to choose.
    pub(super) const fn is_wide(self) -> bool {
        matches!(self, Self::X86_64 | Self::Aarch64)
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
        assert_eq!(Arch::X86_64.resolve("SCMP_ARCH_VAX"), None);
    }

    #[test]
    fn names_are_sorted() {
        assert!(NAMES.is_sorted());
    }
}
