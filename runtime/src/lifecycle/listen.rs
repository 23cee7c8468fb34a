//! Descriptors handed through: `--preserve-fds` and systemd's socket activation.

use std::ffi::CString;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::error::{Error, Result};
use crate::plan::Plan;

/// More than Linux lets a process have open, unless its administrator says otherwise.
const MOST: u32 = 1 << 20;

/// Keeps the numbers from 3 on for what the caller handed over: where nothing is open, nothing of
/// ours may ever be, for the program would inherit it. Called before anything is opened.
///
/// DIFFERS: to runc a number that isn't open is an error; crun, and podman's --preserve-fds, take
/// the count as "up to".
pub fn handed(preserve: u32, listen: u32) -> Result<()> {
    let count = preserve.saturating_add(listen);
    if count > MOST {
        let why = format!("a process has no more than {MOST} descriptors");
        return Err(Error::rule(format!("--preserve-fds {preserve}: {why}")));
    }
    if count == 0 {
        return Ok(());
    }
    loop {
        // KERNEL: open(2): the lowest number that is free.
        let nobodys = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC).map_err(|e| {
            let why = match e {
                Errno::EMFILE => "leaves the runtime no descriptor (ulimit -n)",
                e => e.desc(),
            };
            Error::rule(format!("--preserve-fds {preserve}: {why}"))
        })?;
        if nobodys.as_raw_fd() >= 3 + count.cast_signed() {
            return Ok(());
        }
        // It ends with this process, and with the program's execution in others.
        let _ = OwnedFd::from(nobodys).into_raw_fd();
    }
}

/// Tells the program of what was [`handed`] by socket activation.
///
/// SPEC: sd_listen_fds(3): the activated descriptors come first, from 3 on.
pub fn tell(plan: &mut Plan, listen: u32) {
    if listen > 0 {
        for text in [format!("LISTEN_FDS={listen}"), "LISTEN_PID=1".to_owned()] {
            plan.process.env.push(CString::new(text).unwrap_or_default());
        }
    }
}
