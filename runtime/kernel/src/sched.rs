//! Scheduling policy and I/O priority.

use crate::check;

/// `struct sched_attr`, its first version.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Size of the structure; [`set`] fills it in.
    pub size: u32,
    /// SCHED_*.
    pub policy: u32,
    /// SCHED_FLAG_*.
    pub flags: u64,
    /// Nice value of SCHED_OTHER and SCHED_BATCH.
    pub nice: i32,
    /// Static priority of SCHED_FIFO and SCHED_RR.
    pub priority: u32,
    /// SCHED_DEADLINE, nanoseconds.
    pub runtime: u64,
    /// SCHED_DEADLINE, nanoseconds.
    pub deadline: u64,
    /// SCHED_DEADLINE, nanoseconds.
    pub period: u64,
}

/// sched_setattr(2) on the calling thread.
pub fn set(attributes: Attributes) -> nix::Result<()> {
    let attr = Attributes { size: size_of::<Attributes>() as u32, ..attributes };
    // SAFETY: `attr` has the kernel's layout and carries its size.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) }).map(drop)
}

/// ioprio_set(2) on the calling thread, class and level as ioprio_set wants them packed.
pub fn set_io_priority(class: u32, level: u32) -> nix::Result<()> {
    const WHO_PROCESS: libc::c_long = 1;
    // SAFETY: no pointers.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, class << 13 | level) })
        .map(drop)
}
