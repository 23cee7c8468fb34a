//! System call names and numbers, and which of them i386 multiplexes.
//!
//! The tables follow the kernel's headers up to 6.18, with what is already
//! assigned above (`listns`, `rseq_slice_yield`). A name that none of them
//! has is skipped by the compiler, so profiles may be newer than this program.

mod arm;
#[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
mod other;
mod x86;

use super::arch::{Arch, Family};

/// Marks a cell of a table: the architecture has no such call.
const ABSENT: i32 = -1;

/// A name's numbers in one family of architectures.
#[derive(Clone, Copy)]
pub(super) struct Numbers(&'static [i32]);

impl Numbers {
    /// The call's number as it appears in `seccomp_data.nr`.
    pub(super) fn on(self, arch: Arch) -> Option<u32> {
        let nr = u32::try_from(self.0[arch.column()]).ok()?;
        Some(nr + arch.base())
    }
}

/// Finds a name in the tables of `native`'s family.
pub(super) fn find(native: Arch, name: &str) -> Option<Numbers> {
    fn look<const N: usize>(
        table: &'static [(&'static str, [i32; N])],
        name: &str,
    ) -> Option<Numbers> {
        let at = table.binary_search_by(|(known, _)| (*known).cmp(name)).ok()?;
        Some(Numbers(&table[at].1))
    }
    match native.family() {
        Family::X86 => look(&x86::TABLE, name),
        Family::Arm => look(&arm::TABLE, name),
        #[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
        _ => look(other::table(), name),
        #[cfg(not(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64")))))]
        _ => None,
    }
}

/// A call that i386, and others like it, also reach through `socketcall(2)` or `ipc(2)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Multiplexed {
    /// Whether by `ipc`, not by `socketcall`.
    pub ipc: bool,
    /// The multiplexer's first argument.
    pub call: u64,
    /// Which bits of the first argument the kernel looks at.
    pub mask: u64,
}

const SOCKETCALL: [&str; 20] = [
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];

const IPC: [(&str, u64); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

/// The multiplexed form of `name`, if there is one.
pub(super) fn multiplexed(name: &str) -> Option<Multiplexed> {
    // Every such name starts with one of these; most names of a profile don't.
    if !matches!(
        name.as_bytes().first(),
        Some(b's' | b'b' | b'c' | b'l' | b'a' | b'g' | b'r' | b'm')
    ) {
        return None;
    }
    if let Some(at) = SOCKETCALL.iter().position(|known| *known == name) {
        // KERNEL: net/socket.c takes the whole word for the call's number.
        return Some(Multiplexed { ipc: false, call: at as u64 + 1, mask: u64::MAX });
    }
    // DIFFERS: libseccomp compares the whole word, so a version in the upper
    // half slips past its rules; the kernel (ipc/syscall.c) looks at the lower.
    let (_, call) = IPC.iter().find(|(known, _)| *known == name)?;
    Some(Multiplexed { ipc: true, call: *call, mask: 0xffff })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_by_name() {
        assert!(x86::TABLE.is_sorted_by(|a, b| a.0 < b.0));
        assert!(arm::TABLE.is_sorted_by(|a, b| a.0 < b.0));
        assert!(other::table().is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn numbers_are_the_kernels() {
        let nr = |arch, name| find(arch, name).and_then(|found| found.on(arch));
        assert_eq!(nr(Arch::X86_64, "read"), Some(0));
        assert_eq!(nr(Arch::X86_64, "file_setattr"), Some(469));
        assert_eq!(nr(Arch::X86, "socketcall"), Some(102));
        assert_eq!(nr(Arch::X86, "ipc"), Some(117));
        assert_eq!(nr(Arch::X32, "execve"), Some(0x4000_0000 + 520));
        assert_eq!(nr(Arch::Aarch64, "open"), None);
        assert_eq!(nr(Arch::Arm, "set_tls"), Some(0xf_0005));
        assert_eq!(nr(Arch::X86_64, "no_such_call"), None);
        // KERNEL: arch/*/kernel/syscalls/*.tbl, scripts/syscall.tbl.
        assert_eq!(nr(Arch::Riscv64, "riscv_hwprobe"), Some(258));
        assert_eq!(nr(Arch::Loongarch64, "write"), Some(64));
        assert_eq!(nr(Arch::S390x, "seccomp"), Some(348));
        assert_eq!(nr(Arch::S390, "ipc"), Some(117));
        assert_eq!(nr(Arch::Ppc64le, "swapcontext"), Some(249));
        assert_eq!(nr(Arch::Mips, "write"), Some(4004));
        assert_eq!(nr(Arch::Mipsel64, "write"), Some(5001));
        assert_eq!(nr(Arch::Mips64n32, "clone3"), Some(6435));
        assert_eq!(nr(Arch::M68k, "atomic_barrier"), Some(336));
        assert_eq!(nr(Arch::Parisc, "bind"), Some(22));
        assert_eq!(nr(Arch::Sheb, "cacheflush"), Some(123));
    }

    #[test]
    fn lines_of_the_text_have_a_number_for_every_architecture() {
        for line in include_str!("syscalls/other.txt").lines() {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(words.len(), other::COLUMNS + 1, "{line}");
            assert!(words[1..].iter().all(|w| *w == "-" || w.parse::<u16>().is_ok()), "{line}");
        }
    }

    #[test]
    fn multiplexers_are_the_tables() {
        for name in super::super::ARCHITECTURES {
            for native in [
                Arch::X86_64,
                Arch::Aarch64,
                Arch::S390x,
                Arch::Mips64,
                Arch::Mipsel64,
                Arch::Ppc64,
                Arch::Ppc64le,
                Arch::M68k,
                Arch::Sh,
                Arch::Sheb,
                Arch::Parisc64,
                Arch::Riscv64,
                Arch::Loongarch64,
            ] {
                let Some(super::super::arch::Named::Compiled(arch)) = native.resolve(name) else {
                    continue;
                };
                let nr = |call| find(native, call).and_then(|found| found.on(arch));
                let both = nr("socketcall").zip(nr("ipc"));
                assert_eq!(arch.multiplexers(), both, "{name}");
            }
        }
    }

    fn number(arch: Arch, name: &str) -> Option<u32> {
        find(arch, name).and_then(|found| found.on(arch))
    }

    #[test]
    fn arm64_has_the_table_of_all_young_architectures() {
        // KERNEL: scripts/syscall.tbl is arm64's, riscv64's and loongarch64's alike; what one alone
        // has lies between 244 and 259, or goes back to before riscv64 and loongarch64.
        let mut same = 0;
        for (name, _) in &arm::TABLE {
            let Some(arm64) = number(Arch::Aarch64, name) else { continue };
            for other in [Arch::Riscv64, Arch::Loongarch64] {
                if let Some(theirs) = number(other, name) {
                    assert_eq!(arm64, theirs, "{name}");
                    same += 1;
                }
            }
        }
        assert!(same > 600, "{same}");
    }

    #[test]
    fn calls_since_5_1_have_one_number_everywhere() {
        let mut same = 0;
        for (name, _) in &x86::TABLE {
            let Some(nr @ 424..) = number(Arch::X86_64, name) else { continue };
            for other in [Arch::Aarch64, Arch::Arm, Arch::X86, Arch::Riscv64, Arch::S390x] {
                assert!(number(other, name).is_none_or(|theirs| theirs == nr), "{name}");
                same += 1;
            }
        }
        assert!(same > 150, "{same}");
    }

    /// The programs without a C library have numbers of their own, which this machine's compiler
    /// looks at for this machine only.
    #[test]
    fn numbers_of_the_bare_programs_are_the_tables() {
        let sources =
            [include_str!("../../kernel/bare.rs"), include_str!("../../kernel/bare_process.rs")];
        let mut held = 0;
        for source in sources {
            let mut arch = None;
            for line in source.lines().map(str::trim) {
                match line {
                    "#[cfg(target_arch = \"x86_64\")]" => arch = Some(Arch::X86_64),
                    "#[cfg(target_arch = \"aarch64\")]" => arch = Some(Arch::Aarch64),
                    // What follows is nobody's, or everybody's.
                    "}" => arch = None,
                    _ => {}
                }
                let line = line.trim_start_matches("pub ");
                let Some((name, nr)) = line.strip_prefix("const ").and_then(|rest| {
                    let (name, rest) = rest.split_once(": usize = ")?;
                    Some((name, rest.trim_end_matches(';').parse::<u32>().ok()?))
                }) else {
                    continue;
                };
                let Some(arch) = arch else { continue };
                let name = match name.to_lowercase() {
                    name if name.starts_with("sig") => format!("rt_{name}"),
                    name => name,
                };
                assert_eq!(number(arch, &name), Some(nr), "{name} on {arch:?}");
                held += 1;
            }
        }
        assert_eq!(held, 2 * (6 + 8 + 1));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn numbers_agree_with_libc() {
        for (name, nr) in [
            ("clone3", libc::SYS_clone3),
            ("openat2", libc::SYS_openat2),
            ("mount_setattr", libc::SYS_mount_setattr),
            ("landlock_restrict_self", libc::SYS_landlock_restrict_self),
            ("io_uring_setup", libc::SYS_io_uring_setup),
            ("pidfd_getfd", libc::SYS_pidfd_getfd),
        ] {
            let found = find(Arch::X86_64, name).and_then(|found| found.on(Arch::X86_64));
            assert_eq!(found.map(i64::from), Some(nr), "{name}");
        }
    }

    #[test]
    fn i386_multiplexes_sockets_and_ipc() {
        assert_eq!(multiplexed("socket").map(|m| (m.ipc, m.call)), Some((false, 1)));
        assert_eq!(multiplexed("sendmmsg").map(|m| (m.ipc, m.call)), Some((false, 20)));
        assert_eq!(multiplexed("shmctl").map(|m| (m.ipc, m.call)), Some((true, 24)));
        assert_eq!(multiplexed("read"), None);
    }
}
