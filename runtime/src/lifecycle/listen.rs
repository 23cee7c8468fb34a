//! Descriptors handed through: `--preserve-fds` and systemd's socket activation.

use std::ffi::CString;

use crate::error::{Error, Result};
use crate::plan::Plan;

/// Checks that what is to be kept is open, before anything of ours can be taken for it.
pub fn handed(preserve: u32, listen: u32) -> Result<()> {
    for n in 0..preserve.saturating_add(listen) {
        if !dhow_kernel::fd::is_open(3i32.saturating_add_unsigned(n)) {
            let why = format!("please check that the file descriptor {} is open", 3 + n);
            return Err(Error::rule(format!("--preserve-fds {preserve}: {why}")));
        }
    }
    Ok(())
}

/// Lets the program inherit what was [`handed`], and tells it of activation.
///
/// SPEC: sd_listen_fds(3): the activated descriptors come first, from 3 on.
pub fn pass(plan: &mut Plan, preserve: u32, listen: u32) -> Result<()> {
    for n in 0..preserve + listen {
        dhow_kernel::fd::set_cloexec(3 + n as i32, false)
            .map_err(|e| Error::system("keep descriptor", (3 + n).to_string(), e))?;
    }
    if listen > 0 {
        for text in [format!("LISTEN_FDS={listen}"), "LISTEN_PID=1".to_owned()] {
            plan.process.env.push(CString::new(text).unwrap_or_default());
        }
    }
    Ok(())
}
