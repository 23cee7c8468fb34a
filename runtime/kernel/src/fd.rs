//! File descriptors by number.

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

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

/// A descriptor of a process that is about to execute a program, or to [`close_left`]: what has
/// served stays open until then, for each close is a call. Past a number that leaves enough for
/// others, it is closed.
///
/// It must be close-on-exec.
#[derive(Debug)]
pub struct Loose(ManuallyDrop<OwnedFd>);

/// No more than this many stay open, or a quarter of what the process may have.
const LOOSE: i32 = 128;

/// Below this what it may have isn't asked for: there is nobody who has so little.
const FEW: i32 = 32;

/// Those that stay open, a bit each.
static LEFT: [AtomicU64; LOOSE as usize / 64] = [const { AtomicU64::new(0) }; LOOSE as usize / 64];

/// Closes what was [`Loose`] and has been dropped: for a process that goes on, one call for all
/// that are next to each other.
pub fn close_left() {
    let left = |fd: u32| LEFT[fd as usize / 64].load(Ordering::Relaxed) >> (fd % 64) & 1 != 0;
    let mut fd = 0;
    while fd < LOOSE as u32 {
        let first = fd;
        while fd < LOOSE as u32 && left(fd) {
            fd += 1;
        }
        if fd > first {
            // What can't be closed stays until the process ends.
            let _ = crate::close::range(first, fd - 1);
        }
        fd += 1;
    }
}

/// Has a number closed with what is left, in a copy of the process that owns it: the copy must end
/// without dropping what it has copied.
pub fn leave(fd: RawFd) {
    match fd.cast_unsigned() {
        fd if fd < LOOSE as u32 => remember(fd),
        // What can't be closed stays until this process executes.
        fd => drop(crate::close::range(fd, fd)),
    }
}

fn remember(fd: u32) {
    LEFT[fd as usize / 64].fetch_or(1 << (fd % 64), Ordering::Relaxed);
}

/// Those of a range aren't left any more: they are closed.
pub(crate) fn forget(first: u32, last: u32) {
    for fd in first..=last.min(LOOSE as u32 - 1) {
        LEFT[fd as usize / 64].fetch_and(!(1 << (fd % 64)), Ordering::Relaxed);
    }
}

impl Drop for Loose {
    fn drop(&mut self) {
        static MOST: AtomicI32 = AtomicI32::new(0);
        let mut most = MOST.load(Ordering::Relaxed);
        if most == 0 && self.0.as_raw_fd() >= FEW {
            let own = crate::process::rlimit(libc::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft / 4);
            most = i32::try_from(own).map_or(LOOSE, |own| own.clamp(FEW, LOOSE));
            MOST.store(most, Ordering::Relaxed);
        }
        if self.0.as_raw_fd() >= most.max(FEW) {
            // SAFETY: dropped once, here.
            unsafe { ManuallyDrop::drop(&mut self.0) };
            return;
        }
        remember(self.0.as_raw_fd().cast_unsigned());
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

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn what_is_left_is_closed_at_once_and_nothing_else() {
        // In a process of its own: descriptors are everybody's.
        let outcome = match crate::process::fork(&crate::process::Fork::default()).unwrap() {
            crate::process::Side::Parent(_, child) => loop {
                if let Some(code) = crate::process::reap(child.as_fd()).unwrap() {
                    break code;
                }
                std::thread::yield_now();
            },
            crate::process::Side::Child => {
                let open = || OwnedFd::from(File::open("/dev/null").unwrap());
                let (kept, left, also) = (open(), open(), open());
                let numbers = [left.as_raw_fd(), also.as_raw_fd()];
                drop((Loose::from(left), Loose::from(also)));
                let before = numbers.iter().all(|fd| is_open(*fd));
                close_left();
                let after = numbers.iter().any(|fd| is_open(*fd));
                let again = open();
                close_left();
                let well = before && !after && is_open(kept.as_raw_fd());
                let well = well && is_open(again.as_raw_fd());
                crate::process::exit_now(i32::from(!well))
            }
        };
        assert_eq!(outcome, 0);
    }
}
