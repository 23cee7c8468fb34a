//! fuse-overlayfs(1): an ordinary user's overlays where the kernel makes none: before Linux 5.11, and
//! on a file system that takes no upper directory, as an overlay is.
//!
//! The program serves a mount that we make, and doesn't see it: it is in a mount namespace of its
//! own, a copy of ours from before the mount was attached. So all is as with the kernel's: when the
//! last namespace goes that has the mount, however that comes, the program ends.

use std::ffi::{CStr, CString};
use std::fmt::Write;
use std::fs::{File, metadata};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use dhow_kernel::mount as kernel;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount as mount_by_path, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::overlay::Overlay;
use crate::rootless;

/// Its name, and its package's.
const PROGRAM: &str = "fuse-overlayfs";

/// Mounts an overlay by it; `why` the kernel mounted none is the error where that can't be, either.
pub(crate) fn mount<P: AsRef<Path>>(
    overlay: &Overlay<'_, P>,
    target: &Path,
    why: Errno,
) -> nix::Result<()> {
    let program = rootless::program(PROGRAM).ok_or(why)?;
    let options = options(overlay).ok_or(why)?;
    let device = File::options().read(true).write(true).open("/dev/fuse").map_err(|_| why)?;
    let mounted = made(overlay.source, &device, overlay.upper.is_none())?;
    // Only a thread of its own has another mount namespace; what it starts is in that, too.
    let begun = std::thread::scope(|scope| {
        let begin = || -> std::io::Result<()> {
            unshare(CloneFlags::CLONE_NEWNS)?;
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount_by_path(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
            // As libfuse has it: a mount that is there already is named by the device.
            Command::new(program)
                .args(["-f", "-o", &options, "/dev/fd/0"])
                .stdin(device)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .env_clear()
                .current_dir("/")
                .process_group(0)
                .spawn()
                .map(drop)
        };
        scope.spawn(begin).join()
    });
    if !matches!(begun, Ok(Ok(()))) {
        return Err(why);
    }
    let place = File::options()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW)
        .open(target)
        .map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))?;
    kernel::move_mount(mounted.as_fd(), place.as_fd())?;
    // The kernel answers when the program has said hello, or has ended.
    metadata(target).map(drop).map_err(|_| {
        let _ = umount2(target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
        why
    })
}

/// A mount that nobody serves yet, and that is nowhere yet.
fn made(source: &CStr, device: &File, read_only: bool) -> nix::Result<std::os::fd::OwnedFd> {
    let context = kernel::fsopen(c"fuse")?;
    let number = CString::new(device.as_raw_fd().to_string()).map_err(|_| Errno::EINVAL)?;
    for (key, value) in [
        (c"source", source),
        (c"subtype", c"fuse-overlayfs"),
        (c"fd", &number),
        // KERNEL: fuse.rst: octal.
        (c"rootmode", c"40000"),
        (c"user_id", c"0"),
        (c"group_id", c"0"),
    ] {
        kernel::fsconfig_string(context.as_fd(), key, value)?;
    }
    for flag in [c"default_permissions", c"allow_other"] {
        kernel::fsconfig_flag(context.as_fd(), flag)?;
    }
    kernel::fsconfig_create(context.as_fd())?;
    kernel::fsmount(context.as_fd(), if read_only { libc::MOUNT_ATTR_RDONLY } else { 0 })
}

/// Its `-o`; nothing for paths that can't be said there.
fn options<P: AsRef<Path>>(overlay: &Overlay<'_, P>) -> Option<String> {
    let plain = |path: &Path| {
        let text = path.to_str()?;
        (!text.contains([',', ':', '\\'])).then(|| text.to_owned())
    };
    let lower: Option<Vec<String>> = overlay.lower.iter().map(|dir| plain(dir.as_ref())).collect();
    let mut text = format!("lowerdir={}", lower?.join(":"));
    if let Some((upper, work)) = overlay.upper {
        // What is written is in the upper directory at once: who looks there next doesn't wait for the
        // kernel to write it back, which a lazy unmount leaves for later.
        let (upper, work) = (plain(upper)?, plain(work)?);
        let _ = write!(text, ",upperdir={upper},workdir={work},writeback=0");
        if overlay.volatile {
            text.push_str(",volatile");
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn options_name_the_directories_if_they_can() {
        let of = |lower: &[&str], upper| {
            let lower: Vec<PathBuf> = lower.iter().map(PathBuf::from).collect();
            options(&Overlay { source: c"x", lower: &lower, upper, volatile: true })
        };
        assert_eq!(of(&["/a", "/b"], None).unwrap(), "lowerdir=/a:/b");
        let own = Some((Path::new("/u"), Path::new("/w")));
        assert_eq!(
            of(&["/a"], own).unwrap(),
            "lowerdir=/a,upperdir=/u,workdir=/w,writeback=0,volatile"
        );
        assert_eq!(of(&["/a:b"], None), None);
        assert_eq!(of(&["/a"], Some((Path::new("/u,x"), Path::new("/w")))), None);
    }
}
