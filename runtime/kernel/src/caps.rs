//! capset(2), the bounding set and the ambient set, as bit masks (bit n = capability n).
//!
//! Why not the `caps` crate (0.5): its sets are hash sets filled by one call a capability,
//! in the child between clone and exec; here a set is one call. The tests hold the table
//! of names against it.

use crate::check;

/// The name of every capability of Linux 6.18, in order of their numbers, capabilities(7).
pub const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The number of CAP_SYS_ADMIN.
pub const SYS_ADMIN: u8 = 21;

/// The three sets of capset(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sets {
    /// What the thread may use now.
    pub effective: u64,
    /// What it may make effective.
    pub permitted: u64,
    /// What survives an exec of a file with inheritable bits.
    pub inheritable: u64,
}

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const VERSION_3: u32 = 0x2008_0522;

/// Sets the calling thread's three sets at once.
pub fn set(sets: Sets) -> nix::Result<()> {
    let header = Header { version: VERSION_3, pid: 0 };
    let part = |shift: u32| Data {
        effective: (sets.effective >> shift) as u32,
        permitted: (sets.permitted >> shift) as u32,
        inheritable: (sets.inheritable >> shift) as u32,
    };
    let data = [part(0), part(32)];
    // SAFETY: both pointers are to live values of the layout version 3 asks for.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) }).map(drop)
}

/// Reads the calling thread's three sets.
pub fn get() -> nix::Result<Sets> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let mut data = [const { Data { effective: 0, permitted: 0, inheritable: 0 } }; 2];
    // SAFETY: both pointers are to live, writable values of version 3's layout.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) })?;
    let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    Ok(Sets {
        effective: join(data[0].effective, data[1].effective),
        permitted: join(data[0].permitted, data[1].permitted),
        inheritable: join(data[0].inheritable, data[1].inheritable),
    })
}

/// Whether `cap` is in the bounding set; EINVAL when the kernel doesn't know it.
pub fn bounded(cap: u8) -> nix::Result<bool> {
    // SAFETY: no pointers.
    check(unsafe { libc::prctl(libc::PR_CAPBSET_READ, u64::from(cap), 0, 0, 0) }.into())
        .map(|answer| answer == 1)
}

/// Drops `cap` from the bounding set.
pub fn drop_bounding(cap: u8) -> nix::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, u64::from(cap), 0, 0, 0) }.into()).map(drop)
}

/// Empties the ambient set.
pub fn clear_ambient() -> nix::Result<()> {
    let what = libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong;
    // SAFETY: no pointers.
    check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, what, 0, 0, 0) }.into()).map(drop)
}

/// Raises `cap` in the ambient set; it must be permitted and inheritable.
pub fn raise_ambient(cap: u8) -> nix::Result<()> {
    let what = libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong;
    // SAFETY: no pointers.
    check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, what, u64::from(cap), 0, 0) }.into()).map(drop)
}

/// Keeps permitted capabilities across the next change of user id.
pub fn keep(on: bool) -> nix::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, u64::from(on), 0, 0, 0) }.into()).map(drop)
}
