//! Devices of config.json for a container with its own users: nodes that only the outside may make.
//!
//! SPEC: config-linux.md §Devices: with the mode and the owner asked for, wherever they are. Root
//! of a user namespace can't make them, and the host has none, or has another owner for them.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use dhow_kernel::mount::{self as kernel, Tree};
use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, SFlag, makedev, mknodat};
use nix::unistd::{Gid, Uid, fchownat};

use crate::error::{Error, Result};
use crate::init::mounts;
use crate::plan::Plan;
use crate::validate::linux::{Device, default_devices};
use crate::validate::spec::IdMapping;

/// A mount of each device, by index in the plan's devices; `None` is for the host's own.
pub fn prepare(plan: &Plan) -> Result<Vec<Option<OwnedFd>>> {
    // The maps of a namespace that is joined are its maker's to know.
    let known = plan.bind_devices && !plan.uid_map.is_empty();
    let own = |d: &Device| d.kind != libc::S_IFIFO && !default_devices().contains(d);
    if !known || !nix::unistd::geteuid().is_root() || !plan.devices.iter().any(own) {
        return Ok(Vec::new());
    }
    let tmpfs =
        mounts::tmpfs(&[], 0).map_err(|(e, _)| Error::system("mount", "a tmpfs for devices", e))?;
    let made = plan
        .devices
        .iter()
        .enumerate()
        .map(|(n, device)| if own(device) { one(plan, n, device, &tmpfs) } else { Ok(None) });
    made.collect()
}

fn one(plan: &Plan, n: usize, device: &Device, tmpfs: &OwnedFd) -> Result<Option<OwnedFd>> {
    let system = |call: &'static str| {
        move |e| Error::system(call, format!("/{}", device.path.to_string_lossy()), e)
    };
    let ids = (host(&plan.uid_map, device.uid), host(&plan.gid_map, device.gid));
    let (Some(uid), Some(gid)) = ids else { return Ok(None) };
    let name = CString::new(n.to_string()).unwrap_or_default();
    let number = makedev(u64::from(device.major), u64::from(device.minor));
    let mode = Mode::from_bits_truncate(device.mode);
    let kind = SFlag::from_bits_truncate(device.kind);
    mknodat(tmpfs, name.as_c_str(), kind, Mode::empty(), number).map_err(system("mknod"))?;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
    fchownat(tmpfs, name.as_c_str(), Some(uid), Some(gid), flags).map_err(system("chown"))?;
    // Whatever our umask is, and after the owner, who takes set-id bits away.
    let follow = nix::sys::stat::FchmodatFlags::FollowSymlink;
    nix::sys::stat::fchmodat(tmpfs, name.as_c_str(), mode, follow).map_err(system("chmod"))?;
    // KERNEL: open_tree(2): of a detached mount only since 6.15; before, the host's must do.
    Ok(kernel::open_tree(tmpfs.as_fd(), &name, Tree::Clone).ok())
}

/// The host's number of an id inside.
fn host(map: &[IdMapping], id: u32) -> Option<u32> {
    let line = map.iter().find(|m| id.checked_sub(m.container).is_some_and(|at| at < m.size))?;
    line.host.checked_add(id - line.container)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_inside_has_a_number_outside_if_it_is_mapped() {
        let map = [
            IdMapping { container: 0, host: 1000, size: 1 },
            IdMapping { container: 5, host: 100_000, size: 10 },
        ];
        assert_eq!((host(&map, 0), host(&map, 14)), (Some(1000), Some(100_009)));
        assert_eq!((host(&map, 1), host(&map, 15)), (None, None));
    }
}
