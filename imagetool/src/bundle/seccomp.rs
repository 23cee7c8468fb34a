//! The default seccomp profile: allows what docker's allows, as a table of our own.
//!
//! Facts from moby's profile (moby/profiles, seccomp/default.json, June 2026): everything
//! is refused with EPERM but what is listed; some calls come with a capability; the rest is
//! rules on arguments. `clone3` answers ENOSYS, so that a libc falls back to `clone`, whose
//! flags can be looked at. io_uring is not listed. CVE: AF_ALG (38) and AF_VSOCK (40)
//! sockets are refused ("Copy Fail" wrote page cache shared by containers through AF_ALG).

use std::iter;

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompBuilder, LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
};

/// Allowed to everyone, on whatever architecture has them.
const ALWAYS: &str = "
    accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown
    chown32 clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime
    clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range connect
    copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old
    epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit
    exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod
    fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr
    flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate
    ftruncate64 futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat
    get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid getegid32 geteuid
    geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid
    getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit
    getrusage getsid getsockname getsockopt gettid gettimeofday getuid getuid32 getxattr
    getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel
    io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ioctl
    ioprio_get ioprio_set ipc kill landlock_add_rule landlock_create_ruleset
    landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount listxattr
    listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 madvise
    map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat
    mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive
    mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget
    msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat
    _newselect open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc
    pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64
    process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read readahead readlink
    readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr
    removexattrat rename renameat renameat2 restart_syscall riscv_hwprobe rmdir rseq
    rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
    rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max
    sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
    sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr
    sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop
    semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto set_robust_list
    set_thread_area set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32
    setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid
    setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid setsockopt setuid
    setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd
    signalfd4 sigprocmask sigreturn socketpair splice stat stat64 statfs statfs64
    statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time
    timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime
    timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
    timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat
    uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write
    writev
    process_vm_readv process_vm_writev ptrace";

/// Allowed on some architectures (as `std::env::consts::ARCH` calls them).
const BY_ARCH: &[(&[&str], &str)] = &[
    (&["powerpc64"], "sync_file_range2 swapcontext"),
    (
        &["arm", "aarch64"],
        "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls",
    ),
    (&["x86_64"], "arch_prctl"),
    (&["x86_64", "x86"], "modify_ldt"),
    (&["s390x"], "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr"),
    (&["riscv64"], "riscv_flush_icache"),
];

/// Allowed with a capability.
const BY_CAP: &[(&str, &str)] = &[
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "CAP_SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie
        lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount
        open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog
        umount umount2 unshare",
    ),
    ("CAP_SYS_BOOT", "reboot"),
    ("CAP_SYS_CHROOT", "chroot"),
    ("CAP_SYS_MODULE", "delete_module init_module finit_module"),
    ("CAP_SYS_PACCT", "acct"),
    ("CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise"),
    ("CAP_SYS_RAWIO", "iopl ioperm"),
    ("CAP_SYS_TIME", "settimeofday stime clock_settime clock_settime64"),
    ("CAP_SYS_TTY_CONFIG", "vhangup"),
    ("CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("CAP_SYSLOG", "syslog"),
    ("CAP_BPF", "bpf"),
    ("CAP_PERFMON", "perf_event_open"),
];

/// The personalities that change nothing dangerous: PER_LINUX, PER_LINUX32,
/// UNAME26 with either, and "tell me".
const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}: all must be clear.
const NAMESPACES: u64 = 0x7e02_0000;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// The default profile for a container with these capabilities in its bounding set
/// (`CAP_SYS_ADMIN`, …), on this machine's architecture.
pub fn profile(caps: &[&str]) -> LinuxSeccomp {
    for_arch(caps, std::env::consts::ARCH)
}

fn for_arch(caps: &[&str], arch: &str) -> LinuxSeccomp {
    use LinuxSeccompOperator::{ScmpCmpEq, ScmpCmpLt, ScmpCmpMaskedEq};
    let mut allowed: Vec<&str> = ALWAYS.split_whitespace().collect();
    for (arches, names) in BY_ARCH {
        if arches.contains(&arch) {
            allowed.extend(names.split_whitespace());
        }
    }
    for (cap, names) in BY_CAP {
        if caps.contains(cap) {
            allowed.extend(names.split_whitespace());
        }
    }
    allowed.sort_unstable();
    allowed.dedup();
    let mut rules = vec![allow(&allowed, None)];
    // All families but AF_ALG (38) and AF_VSOCK (40). Rules of one call are alternatives.
    // KERNEL: socket(2) reads 32 bits and a filter 64, so "above 40" would let 38 + 2^32 in:
    // what is allowed is named, some way beyond the families of Linux 6.18 (AF_MCTP, 45).
    // A mask of the upper half would do too, but jq and its like spoil numbers above 2^53.
    rules.push(allow(&["socket"], Some(arg(0, ScmpCmpLt, 38, None))));
    for family in iter::once(39).chain(41..48) {
        rules.push(allow(&["socket"], Some(arg(0, ScmpCmpEq, family, None))));
    }
    // The old way of 32-bit programs hides the family behind a pointer: SYS_SOCKET (1) is
    // refused there, and every libc has socket(2) itself since Linux 4.3. DIFFERS: docker allows it.
    for call in 2..=20 {
        rules.push(allow(&["socketcall"], Some(arg(0, ScmpCmpEq, call, None))));
    }
    for persona in PERSONALITIES {
        rules.push(allow(&["personality"], Some(arg(0, ScmpCmpEq, persona, None))));
    }
    if !caps.contains(&"CAP_SYS_ADMIN") {
        // KERNEL: clone(2): s390 takes the flags second.
        let flags = usize::from(arch == "s390x");
        rules.push(allow(&["clone"], Some(arg(flags, ScmpCmpMaskedEq, NAMESPACES, Some(0)))));
        let errno = LinuxSeccompAction::ScmpActErrno;
        rules.push(rule(&["clone3"], errno, Some(ENOSYS), None));
    }
    build(
        LinuxSeccompBuilder::default()
            .default_action(LinuxSeccompAction::ScmpActErrno)
            .default_errno_ret(EPERM)
            .architectures(arches(arch))
            .syscalls(rules)
            .build(),
    )
}

/// The native architecture first, then those it can run.
fn arches(arch: &str) -> Vec<Arch> {
    match arch {
        "x86_64" => vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32],
        "aarch64" => vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm],
        "s390x" => vec![Arch::ScmpArchS390x, Arch::ScmpArchS390],
        "riscv64" => vec![Arch::ScmpArchRiscv64],
        _ => vec![Arch::ScmpArchNative],
    }
}

fn allow(names: &[&str], arg: Option<LinuxSeccompArg>) -> LinuxSyscall {
    rule(names, LinuxSeccompAction::ScmpActAllow, None, arg)
}

fn rule(
    names: &[&str],
    action: LinuxSeccompAction,
    errno: Option<u32>,
    arg: Option<LinuxSeccompArg>,
) -> LinuxSyscall {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut rule = LinuxSyscallBuilder::default().names(names).action(action);
    if let Some(errno) = errno {
        rule = rule.errno_ret(errno);
    }
    if let Some(arg) = arg {
        rule = rule.args(vec![arg]);
    }
    build(rule.build())
}

fn arg(index: usize, op: LinuxSeccompOperator, value: u64, two: Option<u64>) -> LinuxSeccompArg {
    let arg = LinuxSeccompArgBuilder::default().index(index).op(op).value(value);
    build(match two {
        Some(two) => arg.value_two(two).build(),
        None => arg.build(),
    })
}

/// oci-spec's builders of these types have defaults for every field.
fn build<T: Default>(built: Result<T, oci_spec::OciSpecError>) -> T {
    built.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules<'a>(profile: &'a LinuxSeccomp, name: &str) -> Vec<&'a LinuxSyscall> {
        let all = profile.syscalls().as_ref().unwrap();
        all.iter().filter(|s| s.names().iter().any(|n| n == name)).collect()
    }

    #[test]
    fn without_capabilities() {
        let p = for_arch(&[], "x86_64");
        assert_eq!(p.default_action(), LinuxSeccompAction::ScmpActErrno);
        for denied in ["mount", "bpf", "io_uring_setup", "unshare", "keyctl", "swapoff", "reboot"] {
            assert!(rules(&p, denied).is_empty(), "{denied}");
        }
        for allowed in ["read", "openat2", "ptrace", "arch_prctl", "clone"] {
            assert_eq!(rules(&p, allowed).len(), 1, "{allowed}");
        }
        assert_eq!(rules(&p, "clone3")[0].errno_ret(), Some(38));
        assert_eq!(rules(&p, "personality").len(), 5);
    }

    fn allowed(profile: &LinuxSeccomp, name: &str, value: u64) -> bool {
        rules(profile, name).iter().any(|r| {
            let arg = r.args().as_ref().unwrap()[0];
            match arg.op() {
                LinuxSeccompOperator::ScmpCmpLt => value < arg.value(),
                LinuxSeccompOperator::ScmpCmpEq => value == arg.value(),
                LinuxSeccompOperator::ScmpCmpMaskedEq => {
                    value & arg.value() == arg.value_two().unwrap()
                }
                other => panic!("{other:?}"),
            }
        })
    }

    #[test]
    fn sockets_of_af_alg_and_af_vsock_are_refused() {
        let p = for_arch(&["CAP_SYS_ADMIN"], "x86_64");
        let refused = |name: &str, end: u64| -> Vec<u64> {
            (0..end).filter(|&n| !allowed(&p, name, n)).collect()
        };
        assert_eq!(refused("socket", 48), [38, 40]);
        assert_eq!(refused("socketcall", 21), [0, 1]);
        for n in 0..64 {
            assert!(!allowed(&p, "socket", n | 1 << 32), "{n}");
            assert!(!allowed(&p, "socketcall", n | 1 << 32), "{n}");
        }
    }

    #[test]
    fn capabilities_open_their_calls() {
        let p = for_arch(&["CAP_SYS_ADMIN", "CAP_SYS_TIME"], "aarch64");
        assert!(rules(&p, "clone").len() == 1 && rules(&p, "clone")[0].args().is_none());
        assert_eq!(rules(&p, "clone3")[0].action(), LinuxSeccompAction::ScmpActAllow);
        assert!(!rules(&p, "clock_settime").is_empty() && rules(&p, "arch_prctl").is_empty());
        assert_eq!(
            rules(&for_arch(&[], "s390x"), "clone")[0].args().as_ref().unwrap()[0].index(),
            1
        );
    }

    #[test]
    fn the_json_is_what_the_runtime_spec_says() {
        let json = serde_json::to_value(for_arch(&[], "x86_64")).unwrap();
        assert_eq!(json["defaultAction"], "SCMP_ACT_ERRNO");
        // A config.json that has been through jq 1.6 is still the same.
        for rule in json["syscalls"].as_array().unwrap() {
            for arg in rule["args"].as_array().into_iter().flatten() {
                for key in ["value", "valueTwo"] {
                    assert!(arg[key].as_u64().unwrap_or_default() < 1 << 53, "{rule}");
                }
            }
        }
        assert_eq!(json["architectures"][0], "SCMP_ARCH_X86_64");
        let clone = json["syscalls"].as_array().unwrap().iter().find(|s| s["names"][0] == "clone");
        assert_eq!(clone.unwrap()["args"][0]["op"], "SCMP_CMP_MASKED_EQ");
        assert_eq!(clone.unwrap()["args"][0]["valueTwo"], 0);
    }
}
