//! How a process ended that somebody else has waited for.

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::check;

/// The wait(2) status of a process that has ended and been reaped, by whomever; nothing before that.
///
/// KERNEL: `PIDFD_INFO_EXIT` came with Linux 6.15; older kernels answer ENOTTY or leave the bit out.
pub fn status(process: BorrowedFd<'_>) -> nix::Result<Option<i32>> {
    // SAFETY: all fields are integers, for which zero is a value.
    let mut info: libc::pidfd_info = unsafe { std::mem::zeroed() };
    info.mask = u64::from(libc::PIDFD_INFO_EXIT);
    // SAFETY: the request carries this struct's size; it is live and writable.
    check(unsafe { libc::ioctl(process.as_raw_fd(), libc::PIDFD_GET_INFO, &raw mut info) }.into())?;
    let known = info.mask & u64::from(libc::PIDFD_INFO_EXIT) != 0;
    Ok(known.then_some(info.exit_code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_reaped_childs_status_is_still_known_on_new_kernels() {
        let mut child =
            std::process::Command::new("/bin/sh").args(["-c", "exit 7"]).spawn().unwrap();
        let pid = nix::unistd::Pid::from_raw(child.id() as i32);
        let process = crate::process::pidfd_open(pid).unwrap();
        child.wait().unwrap();
        // Nothing, or an error, is what kernels before 6.15 say.
        if let Ok(Some(status)) = status(process.as_fd()) {
            assert_eq!(status, 7 << 8);
        }
    }
}
