//! What a compiled filter says of a call.

use dhow_kernel::seccomp::Instruction;

use super::action;
use super::arch::Arch;
use super::compile::Filter;

impl Filter {
    /// Whether it lets this machine's call number `nr` through, and asks nobody.
    pub fn lets(&self, nr: libc::c_long, args: [u64; 3]) -> bool {
        let Some(arch) = Arch::native() else { return false };
        let args = [args[0], args[1], args[2], 0, 0, 0];
        let answer = run(&self.program, Call { arch, nr: nr as u32, args });
        answer == action::ALLOW || answer == action::LOG
    }
}

/// A call as a filter sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub arch: Arch,
    pub nr: u32,
    pub args: [u64; 6],
}

/// What a program of [`emit`](super::emit)'s answers.
///
/// KERNEL: Documentation/networking/filter.rst, the part that filters use.
pub(super) fn run(program: &[Instruction], call: Call) -> u32 {
    let word = |at: u32| match at {
        0 => call.nr,
        4 => call.arch.audit(),
        16..64 if at.is_multiple_of(4) => {
            let upper = (at % 8 == 4) != call.arch.is_big_endian();
            let arg = call.args[at as usize / 8 - 2];
            if upper { (arg >> 32) as u32 } else { arg as u32 }
        }
        _ => panic!("load at {at}"),
    };
    let (mut a, mut pc) = (0_u32, 0);
    loop {
        let i = program[pc];
        pc += 1;
        let taken = match i.code {
            0x20 => {
                a = word(i.k);
                continue;
            }
            0x54 => {
                a &= i.k;
                continue;
            }
            0x05 => {
                pc += i.k as usize;
                continue;
            }
            0x06 => return i.k,
            0x15 => a == i.k,
            0x25 => a > i.k,
            0x35 => a >= i.k,
            other => panic!("instruction {other:#x}"),
        };
        pc += usize::from(if taken { i.jt } else { i.jf });
    }
}

#[cfg(test)]
mod tests {
    use super::super::compile;

    #[test]
    fn a_call_is_let_through_by_its_number_and_its_arguments() {
        let profile = serde_json::json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["setsid"], "action": "SCMP_ACT_LOG"},
            {"names": ["mkdirat"], "action": "SCMP_ACT_NOTIFY"},
            {"names": ["ioctl"], "action": "SCMP_ACT_ALLOW",
             "args": [{"index": 1, "value": 7, "op": "SCMP_CMP_EQ"}]}],
            "listenerPath": "/l"});
        let text = profile.to_string();
        let filter = compile(&serde_json::from_str(&text).unwrap()).unwrap().unwrap();
        assert!(filter.lets(libc::SYS_read, [0; 3]) && filter.lets(libc::SYS_setsid, [0; 3]));
        assert!(filter.lets(libc::SYS_ioctl, [0, 7, 0]));
        assert!(!filter.lets(libc::SYS_ioctl, [7, 0, 0]));
        assert!(!filter.lets(libc::SYS_mkdirat, [0; 3]) && !filter.lets(libc::SYS_clone, [0; 3]));
    }
}
