//! File descriptors by number.

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

use crate::check;

/// Marks every descriptor from `first` up close-on-exec.
///
/// KERNEL: close_range(2), CLOSE_RANGE_CLOEXEC since 5.11.
pub fn cloexec_from(first: u32) -> nix::Result<()> {
    // SAFETY: no pointers; flags on descriptors break no owner's assumption.
    check(unsafe {
        libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
    })
    .map(drop)
    .or_else(|errno| match errno {
        nix::errno::Errno::EINVAL => one_by_one(first),
        other => Err(other),
    })
}

/// Each that there could be: /proc may be another's, and the limit may be lower than what is open.
fn one_by_one(first: u32) -> nix::Result<()> {
    const MOST: u64 = 1 << 20;
    let (_, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)?;
    let most = RawFd::try_from(hard.clamp(1 << 16, MOST)).unwrap_or(RawFd::MAX);
    let all = first.cast_signed()..most;
    all.filter(|fd| is_open(*fd)).try_for_each(|fd| set_cloexec(fd, true))
}

/// Sets or clears close-on-exec on one descriptor.
pub fn set_cloexec(fd: RawFd, on: bool) -> nix::Result<()> {
    let flags = if on { libc::FD_CLOEXEC } else { 0 };
    // SAFETY: no pointers.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, flags) }.into()).map(drop)
}

/// Whether `fd` is open in this process.
pub fn is_open(fd: RawFd) -> bool {
    // SAFETY: no pointers; F_GETFD changes nothing.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

/// Takes ownership of an inherited descriptor (from `--preserve-fds`, a
/// message or the environment); EBADF when it isn't open.
///
/// The caller must be the only one in the process to adopt that number.
pub fn adopt(fd: RawFd) -> nix::Result<OwnedFd> {
    if fd < 0 || !is_open(fd) {
        return Err(nix::errno::Errno::EBADF);
    }
    // SAFETY: it is open (checked), and the caller promises to be its only owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes descriptor number `to` a copy of `from` that survives exec.
pub fn place(from: BorrowedFd<'_>, to: RawFd) -> nix::Result<()> {
    if from.as_raw_fd() == to {
        return set_cloexec(to, false);
    }
    // SAFETY: no pointers; the caller chose `to` as a number it gives away.
    check(unsafe { libc::dup2(from.as_raw_fd(), to) }.into()).map(drop)
}

/// A descriptor of a process that is about to execute a program: what has served stays open until
/// then, for each close is a call. Past a number that leaves enough for others, it is closed.
///
/// It must be close-on-exec.
#[derive(Debug)]
pub struct Loose(ManuallyDrop<OwnedFd>);

/// No more than this many stay open, or a quarter of what the process may have.
const LOOSE: i32 = 128;

impl Drop for Loose {
    fn drop(&mut self) {
        static MOST: AtomicI32 = AtomicI32::new(0);
        let mut most = MOST.load(Ordering::Relaxed);
        if most == 0 {
            let own = crate::process::rlimit(libc::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft / 4);
            most = i32::try_from(own).map_or(LOOSE, |own| own.clamp(1, LOOSE));
            MOST.store(most, Ordering::Relaxed);
        }
        if self.0.as_raw_fd() >= most {
            // SAFETY: dropped once, here.
            unsafe { ManuallyDrop::drop(&mut self.0) };
        }
    }
}

impl Loose {
    /// One that is closed when it is dropped.
    pub fn owned(mut self) -> OwnedFd {
        // SAFETY: taken out once, and not touched again: it is forgotten.
        let fd = unsafe { ManuallyDrop::take(&mut self.0) };
        std::mem::forget(self);
        fd
    }
}

impl From<OwnedFd> for Loose {
    fn from(fd: OwnedFd) -> Self {
        Self(ManuallyDrop::new(fd))
    }
}

impl AsFd for Loose {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Loose {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
