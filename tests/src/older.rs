//! An older kernel, as far as its system calls make it: what came later answers as it would there.
//!
//! `DHOW_E2E_KERNEL=5.10` puts a seccomp filter before the commands of every case, so that what falls
//! back where a call is missing is shown on a kernel that has it. Files that came later (`cgroup.kill`)
//! and options of file systems stay: no filter sees those.

use std::cell::Cell;

use dhow_kernel::seccomp::{Instruction, set_filter};

const LOAD: u16 = 0x20; // a word of seccomp_data
const EQUAL: u16 = 0x15;
const AT_LEAST: u16 = 0x35;
const ANY_OF: u16 = 0x45;
const RETURN: u16 = 0x06;

const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;

/// Where seccomp_data has them, low words first: the call's number, and its second and third argument.
const NUMBER: u32 = 0;
const SECOND: u32 = 24;
const THIRD: u32 = 32;

/// The first call that Linux 5.10 hasn't got, epoll_pwait2: from here on all architectures count alike.
const NEWER: u32 = 441;
/// CLOSE_RANGE_CLOEXEC, of 5.11.
const CLOSE_RANGE_CLOEXEC: u32 = 4;
/// MFD_NOEXEC_SEAL and MFD_EXEC, of 6.3.
const MFD_NEWER: u32 = 0x18;

/// MOUNT_ATTR_NOSYMFOLLOW, of 5.14.
const NOSYMFOLLOW: u32 = 0x20_0000;

const fn op(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

fn filter() -> Vec<Instruction> {
    let refuse = |errno: i32| op(RETURN, ERRNO | errno.cast_unsigned(), 0, 0);
    let number = |call: nix::libc::c_long| u32::try_from(call).unwrap();
    vec![
        op(LOAD, NUMBER, 0, 0),
        op(AT_LEAST, NEWER, 0, 1),
        refuse(nix::libc::ENOSYS),
        op(EQUAL, number(nix::libc::SYS_close_range), 0, 3),
        op(LOAD, THIRD, 0, 0),
        op(ANY_OF, CLOSE_RANGE_CLOEXEC, 8, 0),
        op(RETURN, ALLOW, 0, 0),
        op(EQUAL, number(nix::libc::SYS_fsmount), 0, 3),
        op(LOAD, THIRD, 0, 0),
        op(ANY_OF, NOSYMFOLLOW, 4, 0),
        op(RETURN, ALLOW, 0, 0),
        op(EQUAL, number(nix::libc::SYS_memfd_create), 0, 3),
        op(LOAD, SECOND, 0, 0),
        op(ANY_OF, MFD_NEWER, 0, 1),
        refuse(nix::libc::EINVAL),
        op(RETURN, ALLOW, 0, 0),
    ]
}

thread_local! {
    static BEGUN: Cell<bool> = const { Cell::new(false) };
}

/// The commands that this thread starts from now on are on such a kernel, where it was asked for.
pub(crate) fn begin() {
    let Some(asked) = std::env::var_os("DHOW_E2E_KERNEL") else { return };
    assert_eq!(asked, "5.10", "DHOW_E2E_KERNEL: only 5.10 is known");
    if !BEGUN.replace(true) {
        set_filter(&filter(), 0).expect("a seccomp filter, which takes root");
    }
}
