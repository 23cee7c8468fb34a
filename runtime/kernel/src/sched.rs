//! Scheduling policy and I/O priority.

use crate::check;

/// `struct sched_attr` with the clamps of Linux 5.3, which SCHED_FLAG_UTIL_CLAMP_* want there.
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
    /// SCHED_FLAG_UTIL_CLAMP_MIN's.
    pub util_min: u32,
    /// SCHED_FLAG_UTIL_CLAMP_MAX's.
    pub util_max: u32,
}

/// sched_setattr(2) on a thread; 0 is the calling one.
pub fn set(thread: i32, attributes: Attributes) -> nix::Result<()> {
    let attr = Attributes { size: size_of::<Attributes>() as u32, ..attributes };
    // SAFETY: `attr` has the kernel's layout and carries its size.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, thread, &raw const attr, 0) }).map(drop)
}

/// ioprio_set(2) on the calling thread, class and level as ioprio_set wants them packed.
pub fn set_io_priority(class: u32, level: u32) -> nix::Result<()> {
    const WHO_PROCESS: libc::c_long = 1;
    // SAFETY: no pointers.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, class << 13 | level) })
        .map(drop)
}

/// Every CPU that a kernel can have, now or later: what is too much is cut off by it.
pub static EVERY_CPU: [u64; 1024] = [u64::MAX; 1024];

/// sched_setaffinity(2) on the calling thread; `cpus` is a bit mask.
pub fn set_affinity(cpus: &[u64]) -> nix::Result<()> {
    // SAFETY: length and pointer are of one live slice.
    check(unsafe {
        libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(cpus), cpus.as_ptr())
    })
    .map(drop)
}

#[cfg(test)]
mod tests {
    #[test]
    fn affinity_is_of_the_calling_thread_alone_and_too_many_cpus_are_cut_off() {
        let of = || {
            let text = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            text.lines().find(|l| l.starts_with("Cpus_allowed:")).unwrap().to_owned()
        };
        let before = of();
        std::thread::spawn(move || {
            super::set_affinity(&[1]).unwrap();
            let first = of();
            assert!(first.ends_with('1'), "{first}");
            super::set_affinity(&super::EVERY_CPU).unwrap();
            assert!(of() != first || before == first);
        })
        .join()
        .unwrap();
    }
}
