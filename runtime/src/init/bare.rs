//! `--no-pivot`: the host's bare procfs and sysfs leave the mount namespace.
//!
//! CVE: with chroot(2) alone the host's tree stays in the mount namespace, and the kernel lets
//! whoever has a procfs without masks in it mount another one: sysrq and all.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

use dhow_kernel::mount as kernel;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::Mode;

use super::child::HELD;
use super::fault::{Because, Done};
use super::mounts;
use super::procfs::Procfs;
use super::protocol::errno_of;

/// Unmounts them, or covers what may not be unmounted, but for those below `rootfs`.
pub fn hide(proc: &Procfs, rootfs: &[u8]) -> Done {
    let table = proc.file(c"self/mountinfo", OFlag::O_RDONLY).because("open", "mountinfo")?;
    let mut bytes = Vec::new();
    let read = File::from(table).read_to_end(&mut bytes).map_err(|e| errno_of(&e));
    read.because("read", "mountinfo")?;
    for place in whole(&bytes) {
        let path = place.to_bytes();
        if path.strip_prefix(rootfs).is_some_and(|rest| rest.is_empty() || rest[0] == b'/') {
            continue;
        }
        match one(&place) {
            // It lay on one that went before.
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno).because("hide from the container", path),
        }
    }
    Ok(())
}

fn one(place: &CStr) -> nix::Result<()> {
    let mount = nix::fcntl::open(place, HELD, Mode::empty())?;
    let slave = kernel::Attributes { propagation: libc::MS_SLAVE, ..Default::default() };
    kernel::set_attributes(mount.as_fd(), &slave, true)?;
    match umount2(place, MntFlags::MNT_DETACH) {
        Err(Errno::EINVAL | Errno::EPERM) => {}
        other => return other,
    }
    let cover = mounts::tmpfs(&[], 0).map_err(|(e, _)| e)?;
    kernel::move_mount(cover.as_fd(), mount.as_fd())
}

/// The places of file systems that are mounted whole, by mountinfo.
///
/// KERNEL: proc_pid_mountinfo(5): the fourth field is the root within the file system; after a
/// lone hyphen comes the type.
fn whole(table: &[u8]) -> Vec<CString> {
    let place = |line: &[u8]| {
        let fields: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
        let hyphen = fields.iter().position(|field| field == b"-")?;
        let bare =
            *fields.get(3)? == b"/" && matches!(*fields.get(hyphen + 1)?, b"proc" | b"sysfs");
        if bare { CString::new(unescaped(fields.get(4)?)).ok() } else { None }
    };
    table.split(|b| *b == b'\n').filter_map(place).collect()
}

/// Blank, tab, newline and backslash stand as three octal digits.
fn unescaped(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = (bytes[at] == b'\\').then(|| bytes.get(at + 1..at + 4)).flatten();
        let digits = digits.and_then(|digits| str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        out.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 4 } else { 1 };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_procfs_and_sysfs_are_found() {
        let table = b"1 0 0:5 / /proc rw shared:1 - proc proc rw\n\
            2 0 0:5 /sys /x/proc/sys rw - proc proc rw\n\
            3 0 0:6 / /a\\040b rw - sysfs sysfs rw\n\
            4 0 0:7 / /tmp rw master:3 - tmpfs tmpfs rw\n\
            5 0 0:5 / /\xff rw - proc proc rw\n";
        assert_eq!(whole(table), [c"/proc".to_owned(), c"/a b".to_owned(), c"/\xff".to_owned()]);
    }
}
