//! The host's procfs as a handle that is proved to be procfs; and what may be mounted onto the container's.
//!
//! CVE: 2019-16884, 2025-52881: what is written to /proc decides labels and
//! sysctls, so it goes through one descriptor of a real procfs, and never
//! across a mount or through a link that a container could have put there.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use dhow_kernel::fd::Loose;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::sys::stat::{Mode, fstat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::{Pid, write};

use super::fault::{Because, Cause, Done};
use super::root::{Root, shown};
use crate::validate::mount::Mount;

/// procfs of the runtime's own pid namespace.
#[derive(Debug)]
pub struct Procfs(OwnedFd);

/// The inode number of a procfs root.
const ROOT_INODE: u64 = 1;

impl AsFd for Procfs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Procfs> for OwnedFd {
    fn from(proc: Procfs) -> Self {
        proc.0
    }
}

impl Procfs {
    /// Opens `/proc` and checks that it is the root of a procfs.
    pub fn open() -> nix::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = open(c"/proc", flags, Mode::empty())?;
        if is_whole(fd.as_fd())? { Ok(Self(fd)) } else { Err(Errno::EXDEV) }
    }

    /// Opens a file of it.
    pub fn file(&self, path: &CStr, flags: OFlag) -> nix::Result<OwnedFd> {
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(
            ResolveFlag::RESOLVE_BENEATH
                | ResolveFlag::RESOLVE_NO_XDEV
                | ResolveFlag::RESOLVE_NO_MAGICLINKS,
        );
        openat2(&self.0, path, how)
    }

    /// Opens a namespace of a process.
    pub fn namespace(&self, pid: Pid, kind: &str) -> nix::Result<OwnedFd> {
        let dir = CString::new(format!("{pid}/ns")).unwrap_or_default();
        let dir = self.file(&dir, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        // The last step is a link to another file system by design.
        openat(&dir, kind, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
    }

    /// Writes one value to a file of it, in one write.
    pub fn write(&self, path: &CStr, value: &[u8]) -> nix::Result<()> {
        let file = Loose::from(self.file(path, OFlag::O_WRONLY)?);
        match write(&file, value)? {
            n if n == value.len() => Ok(()),
            _ => Err(Errno::EIO),
        }
    }
}

/// Whether it is the root of a procfs.
fn is_whole(fd: BorrowedFd<'_>) -> nix::Result<bool> {
    Ok(fstatfs(fd)?.filesystem_type() == PROC_SUPER_MAGIC && fstat(fd)?.st_ino == ROOT_INODE)
}

/// CVE: 2019-19921: whatever is bound onto /proc must be a procfs, whole.
pub fn guard_bind(m: &Mount, tree: BorrowedFd<'_>) -> Done {
    if m.target.as_c_str() != c"proc" {
        return Ok(());
    }
    let real = is_whole(tree).because("stat", "the bind source")?;
    if real { Ok(()) } else { Err(Cause::rule("only a procfs may be bound onto /proc")) }
}

/// The rule about /proc goes by names (validate/mount.rs); a link of the root's is a way round it.
///
/// Which procfs it is, is no matter: looked for as /proc, it may have another name just now.
pub fn guard_link(root: &Root, m: &Mount, target: BorrowedFd<'_>) -> Done {
    let named = m.target.to_bytes() == b"proc" || m.target.to_bytes().starts_with(b"proc/");
    if named {
        return Ok(());
    }
    let kind = fstatfs(target).because("statfs", shown(&m.target))?.filesystem_type();
    if kind != PROC_SUPER_MAGIC {
        return Ok(());
    }
    let id = |fd: BorrowedFd<'_>| fstat(fd).map(|stat| (stat.st_dev, stat.st_ino));
    let plain = root.open_plain(&m.target, OFlag::O_PATH).and_then(|fd| id(fd.as_fd()));
    if plain.is_ok() && plain == id(target) {
        // A procfs that config.json itself has put there.
        return Ok(());
    }
    let path = String::from_utf8_lossy(&shown(&m.target)).into_owned();
    Err(Cause::rule(format!("{path} leads to /proc: nothing may be mounted there")))
}
