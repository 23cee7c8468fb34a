//! The program file itself, out of the container's reach.
//!
//! CVE: 2019-5736: a container whose entry point (or interpreter) is
//! /proc/self/exe gets hold of this very file, and as root could overwrite it.
//! So commands that enter containers run from a copy of the mount that is
//! read-only for ever: its descriptor is closed by the exec, after which no
//! one can name the mount any more to change it. Without the privilege for
//! that, from a sealed copy in memory.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use dhow_kernel::mount::{self as kernel, Tree};
use dhow_kernel::process::{Vector, fexecve};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, FcntlArg, SealFlag, fcntl, readlink};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::statvfs::{FsFlags, fstatvfs};

use crate::error::{Error, Result};
use crate::init::protocol::errno_of;
use crate::validate::mount::attr;

/// MFD_EXEC, linux/memfd.h.
const EXECUTABLE: u32 = 0x10;

const SELF: &std::ffi::CStr = c"/proc/self/exe";

/// Makes sure that this program runs from where nobody can write; may execute it anew.
pub fn ensure(args: Vec<OsString>, env: Vec<(OsString, OsString)>) -> Result<()> {
    let system = |e| Error::system("protect", "/proc/self/exe", e);
    let me = File::open("/proc/self/exe").map_err(|e| system(errno_of(&e)))?;
    if is_safe(&me).map_err(system)? {
        return Ok(());
    }
    let copy = match read_only() {
        Err(Errno::EPERM | Errno::ENOSYS | Errno::EINVAL | Errno::EACCES) => {
            in_memory(me).map_err(system)?
        }
        other => other.map_err(system)?,
    };
    let string = |s: OsString| CString::new(s.into_vec()).unwrap_or_default();
    let argv = Vector::new(args.into_iter().map(string).collect());
    let pair = |(mut key, value): (OsString, OsString)| {
        key.push("=");
        key.push(value);
        string(key)
    };
    let envp = Vector::new(env.into_iter().map(pair).collect());
    Err(system(fexecve(copy.as_fd(), &argv, &envp)))
}

/// Either kind of safe copy shows as such: that is how the second run knows.
///
/// A mount of the host's may be read-only today and writable when a container, which keeps the file,
/// tries again; the copy's is nobody's, and so the file's path there has no name in it.
fn is_safe(me: &File) -> nix::Result<bool> {
    if fstatvfs(me)?.flags().contains(FsFlags::ST_RDONLY) {
        return Ok(readlink(SELF)? == "/");
    }
    match fcntl(me, FcntlArg::F_GET_SEALS) {
        Ok(seals) => Ok(seals & SealFlag::F_SEAL_WRITE.bits() != 0),
        // Not a file in memory.
        Err(Errno::EINVAL) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn read_only() -> nix::Result<OwnedFd> {
    let tree = kernel::open_tree(AT_FDCWD, SELF, Tree::Clone)?;
    let attributes = kernel::Attributes { set: attr::RDONLY, ..Default::default() };
    kernel::set_attributes(tree.as_fd(), &attributes, false)?;
    Ok(tree)
}

fn in_memory(mut me: File) -> nix::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    // KERNEL: memfd_create(2): since 6.3 executability is asked for; before, the flag is unknown.
    let memory = memfd_create(c"dhow-runtime", flags | MFdFlags::from_bits_retain(EXECUTABLE))
        .or_else(|_| memfd_create(c"dhow-runtime", flags))?;
    let mut copy = File::from(memory);
    io::copy(&mut me, &mut copy).map_err(|e| errno_of(&e))?;
    let seals = SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_SEAL;
    fcntl(&copy, FcntlArg::F_ADD_SEALS(seals))?;
    // A file that is open for writing can't be executed: reopen it for reading.
    let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
    File::open(path).map(OwnedFd::from).map_err(|e| errno_of(&e))
}
