//! The mounts of a container without a mount namespace: a failed start takes them away again.

use std::ffi::{CStr, CString};
use std::os::fd::AsRawFd;

use nix::fcntl::open;
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::Mode;

use crate::init::child::HELD;
use crate::plan::{Pivot, Plan};

/// What lay on the root before; nothing is kept for a container with its own mounts.
#[derive(Debug)]
pub struct Before(Option<(CString, String)>);

impl Before {
    /// Looks.
    pub fn look(plan: &Plan) -> Self {
        let chroot = plan.pivot == Pivot::Chroot;
        Self(chroot.then(|| (plan.rootfs.clone(), mount(&plan.rootfs))))
    }

    /// Unmounts what has come over it since.
    pub fn restore(&self) {
        if let Some((rootfs, before)) = &self.0
            && mount(rootfs) != *before
        {
            // The start has failed; that is what is to be told.
            let _ = umount2(rootfs.as_c_str(), MntFlags::MNT_DETACH);
        }
    }
}

/// KERNEL: proc_pid_fdinfo(5): `mnt_id` is the mount that a descriptor lies on.
fn mount(path: &CStr) -> String {
    let Ok(fd) = open(path, HELD, Mode::empty()) else { return String::new() };
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()));
    let info = info.unwrap_or_default();
    info.lines().find(|line| line.starts_with("mnt_id")).unwrap_or_default().to_owned()
}
